//! A stream put together from its frames and the files of the layer.
//! Never compares a digest, which the reader of the stream does.

use crate::{
    MAGIC, MOST_PACKED_BYTES,
    files::{DiskFiles, LayerFiles},
    members::{LatestMember, PlacedMember},
    part_limits,
    placed::{PlacedStream, PlacedStreamBuilder},
};
use imgdelta_core::{Context, Error, Limits, Result};
use imgdelta_image::tarscan::TarScanner;
use imgdelta_layer::headers::HeaderReader;
use std::{
    fmt,
    io::{self, BufReader, ErrorKind, Read},
};

/// Frames whose head was read.
pub struct FrameReader {
    input: BufReader<Box<dyn Read + Send>>,
    place: String,
    snapshot: String,
    stream_bytes: u64,
}

impl FrameReader {
    /// Opens frames of a stream of a known length. `place` names them in errors.
    pub fn open(
        frames: impl Read + Send + 'static,
        stream_bytes: u64,
        place: impl Into<String>,
    ) -> Result<Self> {
        let input = BufReader::new(Box::new(frames) as Box<dyn Read + Send>);
        Self::with_snapshot(input, stream_bytes, place.into(), String::new())
    }

    pub(crate) fn with_snapshot(
        mut input: BufReader<Box<dyn Read + Send>>,
        stream_bytes: u64,
        place: String,
        snapshot: String,
    ) -> Result<Self> {
        let mut magic = [0; MAGIC.len()];
        input.read_exact(&mut magic).map_err(Error::io(&place))?;
        if magic != *MAGIC {
            return Err(Error::bad_input(place, "not frames of this version"));
        }
        Ok(Self { input, place, snapshot, stream_bytes })
    }

    /// Returns the name of the snapshot that has the files; empty if the frames name none.
    pub fn snapshot(&self) -> &str {
        &self.snapshot
    }

    /// Returns the length of the stream.
    pub fn stream_bytes(&self) -> u64 {
        self.stream_bytes
    }

    /// Returns the stream to be read at any offset, with the content of files in place. Decodes the
    /// frames, and opens no file.
    pub fn place(self, files: impl DiskFiles + 'static, context: &Context) -> Result<PlacedStream> {
        let mut builder = PlacedStreamBuilder::new(context)?;
        let place = self.place.clone();
        self.assemble(NoFiles).place_parts(&mut builder, &place)?;
        Ok(builder.finish(files))
    }

    /// Returns the stream, with the content of files from a place.
    pub fn assemble(self, files: impl LayerFiles + 'static) -> AssembledStream {
        AssembledStream {
            input: self.input,
            place: self.place,
            files: Box::new(files),
            columns: None,
            scanner: TarScanner::new(&Limits::default()),
            latest: LatestMember::default(),
            gap: Vec::new(),
            gap_at: 0,
            file: None,
            at: 0,
            left_bytes: self.stream_bytes,
            is_ended: false,
        }
    }
}

impl fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameReader").field("place", &self.place).finish_non_exhaustive()
    }
}

/// A layer's stream, put together while it is read.
pub struct AssembledStream {
    input: BufReader<Box<dyn Read + Send>>,
    place: String,
    files: Box<dyn LayerFiles>,
    /// The columns of the current part.
    columns: Option<HeaderReader<'static>>,
    /// Finds the members of the stream, as the encoder did.
    scanner: TarScanner,
    latest: LatestMember,
    gap: Vec<u8>,
    /// Bytes of the gap that were read.
    gap_at: usize,
    /// The file that is read after the gap, with the bytes that are left.
    file: Option<(Box<dyn Read + Send>, u64)>,
    /// Offset of the end of the gap in the stream.
    at: u64,
    /// Bytes of the stream that are still to be decoded.
    left_bytes: u64,
    is_ended: bool,
}

/// Stands for files that are not read.
struct NoFiles;

impl LayerFiles for NoFiles {
    fn open(&self, _: &[u8], _: u64) -> io::Result<Box<dyn Read + Send>> {
        Ok(Box::new(io::empty()))
    }
}

impl AssembledStream {
    /// Decodes all frames, and passes the parts of the stream on.
    fn place_parts(mut self, builder: &mut PlacedStreamBuilder, place: &str) -> Result<()> {
        while !self.is_ended {
            self.advance().map_err(Error::io(place))?;
            builder.gap(&self.gap)?;
            self.gap.clear();
            let Some((_, bytes)) = self.file.take() else { continue };
            let member = self.latest.0.as_ref();
            let member = member.ok_or_else(|| Error::bad_input(place, "a file without a name"))?;
            builder.file(member.path.as_bytes(), bytes)?;
            self.at += bytes;
            // The scan counts content, and does not look at it.
            let mut left = bytes;
            while left > 0 {
                let count = left.min(ZEROS.len() as u64);
                self.scanner
                    .feed(&ZEROS[..usize::try_from(count).unwrap_or(0)], &mut self.latest)?;
                left -= count;
            }
        }
        Ok(())
    }

    /// Decodes the next gap and opens the file behind it. Called when both are used up.
    fn advance(&mut self) -> io::Result<()> {
        self.gap_at = 0;
        self.gap.clear();
        let Some(columns) = &mut self.columns else { return self.next_part() };
        let mut no_base = |_, _: &mut [u8]| Err(Error::bad_input("frames", "they name a base"));
        let payload = columns.next(&mut no_base, &mut self.gap);
        let Some(payload) = payload.map_err(|error| self.malformed(error))? else {
            self.columns = None;
            return self.take_gap();
        };
        self.take_gap()?;
        if payload.bytes == 0 {
            return Ok(());
        }
        let member = self.latest.0.as_ref();
        let end = self.at.checked_add(payload.bytes);
        let file = member.filter(|member| Some(member.payload.end) == end);
        let Some(PlacedMember { path, .. }) = file.filter(|file| file.payload.start == self.at)
        else {
            return Err(self.damaged("a payload that belongs to no file"));
        };
        let Some(left_bytes) = self.left_bytes.checked_sub(payload.bytes) else {
            return Err(self.damaged("they describe more than the stream"));
        };
        let opened = self.files.open(path.as_bytes(), payload.bytes)?;
        self.left_bytes = left_bytes;
        self.file = Some((opened, payload.bytes));
        Ok(())
    }

    /// Counts and scans the gap that was decoded.
    fn take_gap(&mut self) -> io::Result<()> {
        let bytes = self.gap.len() as u64;
        let Some(left_bytes) = self.left_bytes.checked_sub(bytes) else {
            self.gap.clear();
            return Err(self.damaged("they describe more than the stream"));
        };
        self.left_bytes = left_bytes;
        self.at += bytes;
        let scanned = self.scanner.feed(&self.gap, &mut self.latest);
        scanned.map_err(|error| self.malformed(error))
    }

    /// Unpacks the columns of the next part, or reads the end.
    fn next_part(&mut self) -> io::Result<()> {
        let mut length = [0; 4];
        self.input.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length);
        if length == 0 {
            let mut stream_bytes = [0; 8];
            self.input.read_exact(&mut stream_bytes)?;
            if self.left_bytes > 0 || u64::from_le_bytes(stream_bytes) != self.at {
                return Err(self.damaged("they do not add up to the stream"));
            }
            self.is_ended = true;
            return Ok(());
        }
        if length > MOST_PACKED_BYTES {
            return Err(self.damaged("a part is too long"));
        }
        let mut packed = Vec::new();
        (&mut self.input).take(u64::from(length)).read_to_end(&mut packed)?;
        if packed.len() as u64 != u64::from(length) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let columns = HeaderReader::open(&packed, &part_limits());
        self.columns = Some(columns.map_err(|error| self.malformed(error))?);
        Ok(())
    }

    fn damaged(&self, what: &str) -> io::Error {
        io::Error::other(Error::bad_input(&self.place, what))
    }

    fn malformed(&self, error: Error) -> io::Error {
        io::Error::other(Error::bad_input_because(&self.place, "damaged frames", error))
    }
}

impl Read for AssembledStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let rest = &self.gap[self.gap_at..];
            if !rest.is_empty() {
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                self.gap_at += count;
                return Ok(count);
            }
            if let Some((file, left_bytes)) = &mut self.file {
                let room = usize::try_from(*left_bytes).unwrap_or(usize::MAX).min(buffer.len());
                let count = file.read(&mut buffer[..room])?;
                if count == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                *left_bytes -= count as u64;
                if *left_bytes == 0 {
                    self.file = None;
                }
                self.at += count as u64;
                let scanned = self.scanner.feed(&buffer[..count], &mut self.latest);
                scanned.map_err(|error| self.malformed(error))?;
                return Ok(count);
            }
            if self.is_ended {
                return Ok(0);
            }
            self.advance()?;
        }
    }
}

impl fmt::Debug for AssembledStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssembledStream").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Content of files that are not read.
static ZEROS: [u8; 4 << 10] = [0; 4 << 10];
