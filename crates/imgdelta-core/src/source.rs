//! Positioned reads from a file or from memory.
//!
//! Several threads read archives in place through one source. Nothing is cached.

use crate::scratch::ScratchFile;
use std::{
    fmt,
    fs::File,
    io::{self, Read},
    sync::Arc,
    time::SystemTime,
};

/// A source of bytes that is read at any offset, without a cursor.
pub trait ReadAt: Send + Sync + fmt::Debug {
    /// Reads up to `buffer.len()` bytes at `offset`; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Returns the number of bytes.
    fn size_bytes(&self) -> io::Result<u64>;

    /// Returns the file that has exactly these bytes and is written once, so that it may be mapped.
    ///
    /// By default none.
    fn mappable(&self) -> Option<&File> {
        None
    }

    /// Fails if another program has changed the bytes since they were opened, as far as it shows.
    fn check_unchanged(&self) -> io::Result<()> {
        Ok(())
    }

    /// Fills `buffer` with the bytes at `offset`; fails if the source ends before.
    fn fill_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read_at(buffer, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    offset += count as u64;
                    buffer = &mut buffer[count..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self, buffer, offset)
    }

    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// A file of a content-addressed store, which is written once under a name of its own.
#[derive(Debug)]
pub struct BlobFile {
    file: File,
    /// Length and time of the last change when it was opened.
    opened: (u64, Option<SystemTime>),
}

impl BlobFile {
    /// Takes a file that was opened.
    pub fn new(file: File) -> io::Result<Self> {
        let opened = state(&file)?;
        Ok(Self { file, opened })
    }
}

fn state(file: &File) -> io::Result<(u64, Option<SystemTime>)> {
    let metadata = file.metadata()?;
    Ok((metadata.len(), metadata.modified().ok()))
}

impl ReadAt for BlobFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        ReadAt::read_at(&self.file, buffer, offset)
    }

    fn size_bytes(&self) -> io::Result<u64> {
        ReadAt::size_bytes(&self.file)
    }

    fn mappable(&self) -> Option<&File> {
        Some(&self.file)
    }

    fn check_unchanged(&self) -> io::Result<()> {
        if state(&self.file)? == self.opened {
            return Ok(());
        }
        Err(io::Error::other("the file changed while it was read"))
    }
}

impl ReadAt for ScratchFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        ReadAt::read_at(&**self, buffer, offset)
    }

    fn size_bytes(&self) -> io::Result<u64> {
        ReadAt::size_bytes(&**self)
    }
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..));
        rest.unwrap_or_default().read(buffer)
    }

    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

/// A range of a source, read at any offset.
#[derive(Debug)]
pub struct SourceRange {
    source: Arc<dyn ReadAt>,
    offset: u64,
    size_bytes: u64,
}

impl SourceRange {
    /// Takes the range of `size_bytes` bytes at `offset`.
    pub fn new(source: Arc<dyn ReadAt>, offset: u64, size_bytes: u64) -> Self {
        Self { source, offset, size_bytes }
    }
}

impl ReadAt for SourceRange {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest_bytes = self.size_bytes.saturating_sub(offset);
        let room = usize::try_from(rest_bytes).unwrap_or(usize::MAX).min(buffer.len());
        if room == 0 {
            return Ok(0);
        }
        self.source.read_at(&mut buffer[..room], self.offset.saturating_add(offset))
    }

    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.size_bytes)
    }
}

/// Reads a range of a source once, front to back.
#[derive(Debug)]
pub struct RangeReader {
    source: Arc<dyn ReadAt>,
    offset: u64,
    rest_bytes: u64,
}

impl RangeReader {
    /// Starts at `offset` and ends after `size_bytes` bytes, or where the source ends.
    pub fn new(source: Arc<dyn ReadAt>, offset: u64, size_bytes: u64) -> Self {
        Self { source, offset, rest_bytes: size_bytes }
    }
}

impl Read for RangeReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = usize::try_from(self.rest_bytes).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.source.read_at(&mut buffer[..room], self.offset)?;
        self.offset += count as u64;
        self.rest_bytes -= count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_range_has_its_own_offsets_and_its_own_end() {
        let whole: Arc<dyn ReadAt> = Arc::new(b"0123456789".to_vec());
        let range = SourceRange::new(whole, 3, 4);
        let mut buffer = [0; 8];
        assert_eq!(range.read_at(&mut buffer, 1).unwrap(), 3);
        assert_eq!(&buffer[..3], b"456");
        assert_eq!(range.read_at(&mut buffer, 4).unwrap(), 0);
        assert_eq!(range.read_at(&mut buffer, u64::MAX).unwrap(), 0);
        assert!(range.fill_at(&mut buffer[..4], 1).is_err());
        assert_eq!(range.size_bytes().unwrap(), 4);
        assert!(range.mappable().is_none());
    }

    #[test]
    fn a_blob_that_grows_is_noticed() {
        let mut file = tempfile::tempfile().unwrap();
        let blob = BlobFile::new(file.try_clone().unwrap()).unwrap();
        blob.check_unchanged().unwrap();
        file.write_all(b"more").unwrap();
        assert!(blob.check_unchanged().is_err());
    }
}
