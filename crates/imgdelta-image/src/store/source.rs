//! Positioned reads from a file or from memory.
//!
//! Several threads read archives in place through one source. Nothing is cached.

use imgdelta_core::scratch::ScratchFile;
use std::{
    fmt,
    fs::File,
    io::{self, Read},
    sync::Arc,
};

/// A source of bytes that is read at any offset, without a cursor.
pub trait ReadAt: Send + Sync + fmt::Debug {
    /// Reads up to `buffer.len()` bytes at `offset`; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Returns the number of bytes.
    fn size_bytes(&self) -> io::Result<u64>;

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
