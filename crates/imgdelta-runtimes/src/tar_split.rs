//! Streams of layers put together from tar-split and unpacked files, as podman, CRI-O and docker keep
//! them. Never compares the digest of a stream, which the reader of the stream does.
//!
//! tar-split is a gzip file with a line of JSON for each record. A segment holds bytes of the stream,
//! such as headers and padding. A member names a file, whose bytes come at this place; its checksum
//! finds the file that is not the layer's.

use crate::layer_files;
use base64::{Engine, prelude::BASE64_STANDARD};
use flate2::bufread::MultiGzDecoder;
use imgdelta_core::{
    Context, Error, Result,
    crc64::Crc64,
    path::{LayerPath, escaped},
};
use imgdelta_frames::{PlacedStream, PlacedStreamBuilder};
use serde::Deserialize;
use std::{
    borrow::Cow,
    fmt,
    fs::File,
    io::{self, BufRead, BufReader, ErrorKind, Read},
    os::fd::OwnedFd,
    path::Path,
};

/// The records of one layer.
pub(crate) struct TarSplit {
    place: String,
    lines: BufReader<MultiGzDecoder<BufReader<File>>>,
    line: Vec<u8>,
}

/// A record of a layer.
enum Record {
    /// Bytes of the stream.
    Segment(Vec<u8>),
    /// A file with content.
    Member { path: LayerPath, bytes: u64, checksum: Option<u64> },
}

#[derive(Deserialize)]
struct RecordFields<'a> {
    #[serde(rename = "type")]
    kind: u64,
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    /// A name that is not text, in base64.
    #[serde(borrow, default)]
    name_raw: Option<Cow<'a, str>>,
    #[serde(default)]
    size: Option<u64>,
    #[serde(borrow, default)]
    payload: Option<Cow<'a, str>>,
}

impl TarSplit {
    /// Reads records from a gzip file; errors name it `place`.
    pub fn new(file: File, place: String) -> Self {
        let lines = BufReader::new(MultiGzDecoder::new(BufReader::new(file)));
        Self { place, lines, line: Vec::new() }
    }

    /// Returns the length of the stream. Reads all records.
    pub fn stream_bytes(mut self) -> Result<u64> {
        let mut total = 0_u64;
        loop {
            let bytes = match self.next().map_err(Error::io(&self.place))? {
                None => return Ok(total),
                Some(Record::Segment(bytes)) => bytes.len() as u64,
                Some(Record::Member { bytes, .. }) => bytes,
            };
            total = total.saturating_add(bytes);
        }
    }

    /// Returns the stream, with files below the directory of the unpacked layer. `name` names the
    /// layer in errors.
    pub fn assemble(self, directory: &Path, name: &str) -> Result<SplitStream> {
        Ok(SplitStream {
            directory: layer_files::open_directory(directory)?,
            name: format!("{name}, files in {}", directory.display()),
            records: self,
            part: SplitPart::None,
        })
    }

    /// Returns the stream to be read at any offset, with files below the directory of the unpacked
    /// layer. Reads all records, and opens no file. Checksums of files are not compared.
    pub fn place(mut self, directory: &Path, context: &Context) -> Result<PlacedStream> {
        let files = layer_files::open_directory(directory)?;
        let mut builder = PlacedStreamBuilder::new(context)?;
        while let Some(record) = self.next().map_err(Error::io(&self.place))? {
            match record {
                Record::Segment(bytes) => builder.gap(&bytes)?,
                Record::Member { path, bytes, .. } => builder.file(path.as_bytes(), bytes)?,
            }
        }
        Ok(builder.finish(files))
    }

    /// Returns the next record with bytes; `None` at the end.
    fn next(&mut self) -> io::Result<Option<Record>> {
        loop {
            self.line.clear();
            let count =
                (&mut self.lines).take(MOST_LINE_BYTES).read_until(b'\n', &mut self.line)?;
            if count == 0 {
                return Ok(None);
            }
            if count as u64 == MOST_LINE_BYTES {
                return Err(self.damaged("a record is too long"));
            }
            let record = parse(&self.line).map_err(|what| self.damaged(&what))?;
            if record.is_some() {
                return Ok(record);
            }
        }
    }

    fn damaged(&self, what: &str) -> io::Error {
        let what = format!("not records of tar-split: {what}");
        io::Error::other(Error::bad_input(&self.place, what))
    }
}

/// Reads a line; `None` for a record without bytes.
fn parse(line: &[u8]) -> std::result::Result<Option<Record>, String> {
    // A list would be read as the fields in their order.
    if line.first() != Some(&b'{') {
        return Err("a line is not a record".into());
    }
    let fields: RecordFields<'_> =
        serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let decoded = |text: &str| BASE64_STANDARD.decode(text).map_err(|error| error.to_string());
    let payload = fields.payload.as_deref().map(decoded).transpose()?.unwrap_or_default();
    match (fields.kind, fields.size.unwrap_or(0)) {
        (MEMBER, 0) => Ok(None),
        (MEMBER, bytes) => {
            let raw = fields.name_raw.as_deref().map(decoded).transpose()?;
            let name = fields.name.unwrap_or_default();
            let path = LayerPath::parse(raw.as_deref().unwrap_or(name.as_bytes()));
            let checksum = <[u8; 8]>::try_from(payload).ok().map(u64::from_be_bytes);
            Ok(Some(Record::Member { path, bytes, checksum }))
        }
        (SEGMENT, _) => Ok(Some(Record::Segment(payload)).filter(|_| fields.payload.is_some())),
        (kind, _) => Err(format!("a record of kind {kind}")),
    }
}

impl fmt::Debug for TarSplit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TarSplit").field("place", &self.place).finish_non_exhaustive()
    }
}

/// A layer's stream, put together while it is read.
pub(crate) struct SplitStream {
    directory: OwnedFd,
    /// The layer, in errors.
    name: String,
    records: TarSplit,
    part: SplitPart,
}

/// The source of the next bytes.
enum SplitPart {
    /// The next record says so.
    None,
    Segment {
        bytes: Vec<u8>,
        at: usize,
    },
    File {
        file: File,
        path: LayerPath,
        left_bytes: u64,
        checksum: Option<u64>,
        found: Crc64,
    },
    End,
}

impl SplitStream {
    fn next_part(&mut self) -> io::Result<SplitPart> {
        Ok(match self.records.next()? {
            None => SplitPart::End,
            Some(Record::Segment(bytes)) => SplitPart::Segment { bytes, at: 0 },
            Some(Record::Member { path, bytes, checksum }) => {
                let file = layer_files::open_file(&self.directory, path.as_bytes(), bytes);
                let file = file.map_err(|what| self.unlike(&path, &what))?;
                let found = Crc64::new();
                SplitPart::File { file, path, left_bytes: bytes, checksum, found }
            }
        })
    }

    fn unlike(&self, path: &LayerPath, what: &str) -> io::Error {
        let what = format!("file {:?}: {what}", escaped(path.as_bytes()));
        io::Error::other(Error::bad_input(&self.name, what))
    }
}

impl Read for SplitStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match &mut self.part {
                SplitPart::None => self.part = self.next_part()?,
                SplitPart::End => return Ok(0),
                SplitPart::Segment { bytes, at } => {
                    let count = (&bytes[*at..]).read(buffer)?;
                    *at += count;
                    if count > 0 {
                        return Ok(count);
                    }
                    self.part = SplitPart::None;
                }
                SplitPart::File { file, left_bytes, found, .. } if *left_bytes > 0 => {
                    let room = usize::try_from(*left_bytes).unwrap_or(usize::MAX).min(buffer.len());
                    let count = file.read(&mut buffer[..room])?;
                    if count == 0 {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                    found.update(&buffer[..count]);
                    *left_bytes -= count as u64;
                    return Ok(count);
                }
                SplitPart::File { .. } => {
                    let part = std::mem::replace(&mut self.part, SplitPart::None);
                    let SplitPart::File { path, checksum, found, .. } = part else { continue };
                    if checksum.is_some_and(|checksum| checksum != found.finish()) {
                        return Err(self.unlike(&path, OTHER_CONTENT));
                    }
                }
            }
        }
    }
}

impl fmt::Debug for SplitStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SplitStream").field("name", &self.name).finish_non_exhaustive()
    }
}

const OTHER_CONTENT: &str =
    "its content is not the layer's; it was changed, or the layer has this path twice";

/// Kinds of records.
const MEMBER: u64 = 1;
const SEGMENT: u64 = 2;

/// Most bytes of a line. A segment holds the headers of one member, or zeros at the end of the stream,
/// of which writers put a megabyte into one line.
const MOST_LINE_BYTES: u64 = 64 << 20;

#[cfg(test)]
mod tests;
