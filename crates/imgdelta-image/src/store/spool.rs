//! Archives that cannot be read in place: compressed files, pipes, standard input.
//!
//! They are copied to a temporary file without a name, decompressed on the way. Never interprets what
//! it copies.

use crate::envelope::Compression;
use imgdelta_core::{
    Error, Result,
    scratch::{Scratch, ScratchFile},
};
use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::fs::FileTypeExt,
    path::Path,
};
use zlib_rs::{Inflate, InflateFlush, Status};

/// Opens an archive that has to be copied, or returns `None` if the file can be read in place.
pub(super) fn open(path: &Path, scratch: &Scratch) -> Result<Option<ScratchFile>> {
    let place = path.display();
    if path == Path::new(STANDARD_INPUT) {
        return copy(io::stdin().lock(), "standard input", scratch).map(Some);
    }
    // Other errors are those of reading in place.
    let Ok(found) = path.metadata() else { return Ok(None) };
    let is_pipe = found.file_type().is_fifo();
    if !found.is_file() && !is_pipe {
        return Ok(None);
    }
    // A pipe waits for its writer.
    let file = File::open(path).map_err(Error::io(&place))?;
    if is_pipe {
        return copy(file, &place.to_string(), scratch).map(Some);
    }
    let mut start = BufReader::new(file);
    let bytes = start.fill_buf().map_err(Error::io(&place))?;
    match Compression::of(bytes) {
        Compression::None => Ok(None),
        _ => copy(start, &place.to_string(), scratch).map(Some),
    }
}

/// Copies a stream to a temporary file, and decompresses it if it is compressed.
fn copy(reader: impl Read, place: &str, scratch: &Scratch) -> Result<ScratchFile> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, CountedReader { reader, scratch });
    let start = reader.fill_buf().map_err(Error::io(place))?;
    if start.is_empty() {
        return Err(Error::bad_input(place, "empty, not an archive of images"));
    }
    let mut file = scratch.file()?;
    let unread = |error: io::Error| Error::io(place)(error);
    let damaged = |error: io::Error| Error::bad_input_because(place, "damaged compression", error);
    match Compression::of(start) {
        Compression::None => pump(&mut reader, &mut file, unread, scratch)?,
        Compression::Gzip => {
            pump(&mut GzipReader { reader, inflater: None }, &mut file, damaged, scratch)?;
        }
        Compression::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(reader).map_err(Error::io(place))?;
            pump(&mut decoder, &mut file, damaged, scratch)?;
        }
    }
    Ok(file)
}

fn pump(
    reader: &mut dyn Read,
    file: &mut ScratchFile,
    failed: impl Fn(io::Error) -> Error,
    scratch: &Scratch,
) -> Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        let count = match reader.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            outcome => outcome.map_err(&failed)?,
        };
        if count == 0 {
            return Ok(());
        }
        file.write_all(&buffer[..count]).map_err(Error::io(scratch.place()))?;
    }
}

/// A reader whose bytes raise the ceiling of temporary files, so that an archive that expands without
/// end meets it.
struct CountedReader<'a, R> {
    reader: R,
    scratch: &'a Scratch,
}

impl<R: Read> Read for CountedReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.scratch.raise((count as u64).saturating_mul(SCRATCH_PER_BYTE));
        Ok(count)
    }
}

/// The content of gzip members, one after another.
struct GzipReader<R> {
    reader: R,
    /// The state of the current member; none between members.
    inflater: Option<Inflate>,
}

impl<R: BufRead> Read for GzipReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let bytes = self.reader.fill_buf()?;
            if bytes.is_empty() {
                let is_whole = self.inflater.is_none();
                return if is_whole { Ok(0) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
            let inflater =
                self.inflater.get_or_insert_with(|| Inflate::new(true, GZIP_WINDOW_BITS));
            let before = (inflater.total_in(), inflater.total_out());
            let status = inflater
                .decompress(bytes, buffer, InflateFlush::NoFlush)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.as_str()))?;
            let moved = |now: u64, before: u64| {
                usize::try_from(now - before).expect("at most a buffer's length")
            };
            let consumed = moved(inflater.total_in(), before.0);
            let produced = moved(inflater.total_out(), before.1);
            self.reader.consume(consumed);
            if status == Status::StreamEnd {
                self.inflater = None;
            } else if consumed == 0 && produced == 0 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "deflate stream is stuck"));
            }
            if produced > 0 || buffer.is_empty() {
                return Ok(produced);
            }
        }
    }
}

/// 15 bits, and 16 for zlib's reading of gzip's header and checksum.
const GZIP_WINDOW_BITS: u8 = 15 + 16;

/// The name of standard input.
pub(super) const STANDARD_INPUT: &str = "-";
const BUFFER_BYTES: usize = 256 << 10;
/// Bytes of a temporary file for each byte of a compressed archive, besides the free ones. Layers
/// expand three or four times.
const SCRATCH_PER_BYTE: u64 = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::source::{RangeReader, ReadAt};
    use imgdelta_core::limits::Ceiling;
    use imgdelta_testkit::gzip;
    use std::sync::Arc;

    fn content(file: ScratchFile) -> Vec<u8> {
        let size = file.size_bytes().unwrap();
        let mut bytes = Vec::new();
        RangeReader::new(Arc::new(file), 0, size).read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn compressed_archives_and_pipes_are_copied_and_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(dir.path());
        let bytes = [b"archive".repeat(1000), vec![0; 1000]].concat();
        let path = dir.path().join("a");
        // Members follow each other, also empty ones.
        let members = [gzip(&bytes[..10]), gzip(b""), gzip(&bytes[10..])].concat();
        for packed in [gzip(&bytes), members, zstd::encode_all(&bytes[..], 1).unwrap()] {
            std::fs::write(&path, packed).unwrap();
            assert_eq!(content(open(&path, &scratch).unwrap().unwrap()), bytes);
        }
        std::fs::write(&path, &bytes).unwrap();
        assert!(open(&path, &scratch).unwrap().is_none());
        assert!(open(&dir.path().join("none"), &scratch).unwrap().is_none());
        assert!(open(dir.path(), &scratch).unwrap().is_none());
        assert_eq!(content(copy(&bytes[..], "x", &scratch).unwrap()), bytes);
    }

    #[test]
    fn an_archive_that_expands_without_end_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::new(dir.path()).ceiling(Ceiling::fixed(1 << 20));
        let bomb = gzip(&vec![0; 64 << 20]);
        assert!(bomb.len() < 1 << 20);
        copy(&bomb[..], "bomb", &scratch).unwrap_err();
        let mut cut = gzip(b"archive");
        cut.truncate(12);
        let error = copy(&cut[..], "cut", &scratch).unwrap_err().to_string();
        assert!(error.starts_with("cut: damaged compression"), "{error}");
        let error = copy(&b""[..], "empty", &scratch).unwrap_err().to_string();
        assert!(error.contains("empty, not an archive"), "{error}");
    }
}
