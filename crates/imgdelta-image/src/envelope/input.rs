//! A blob's stored bytes for a decoder: buffered, hashed, counted.
//!
//! Every byte is hashed exactly once, when it enters the buffer. Never decodes.

use super::DecodeError;
use imgdelta_core::{
    Algorithm, Error, Result,
    progress::Progress,
    verify::{BlobCheck, VerifiedBlob},
};
use std::io::{ErrorKind, Read};

pub(super) struct BlobInput<'a> {
    blob: Box<dyn Read + Send>,
    check: BlobCheck,
    progress: &'a dyn Progress,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// The offset of the buffer's first byte in the blob.
    offset: u64,
    is_at_end: bool,
    has_failed: bool,
}

impl<'a> BlobInput<'a> {
    pub(super) fn new(
        blob: Box<dyn Read + Send>,
        check: BlobCheck,
        progress: &'a dyn Progress,
    ) -> Self {
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Self {
            blob,
            check,
            progress,
            buffer,
            start: 0,
            end: 0,
            offset: 0,
            is_at_end: false,
            has_failed: false,
        }
    }

    /// Returns the buffered bytes, and reads more if there are none; empty at the blob's end.
    pub(super) fn fill(&mut self) -> Result<&[u8]> {
        if self.start == self.end {
            self.read_more()?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    /// Returns at least `count` bytes without consuming them; fewer only before the blob's end.
    pub(super) fn peek(&mut self, count: usize) -> Result<&[u8]> {
        debug_assert!(count < BUFFER_BYTES, "a peek fits the buffer");
        while self.end - self.start < count && !self.is_at_end {
            self.read_more()?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    /// Marks bytes as used.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end, "at most the buffered bytes");
    }

    /// Takes one byte, or nothing at the blob's end.
    pub(super) fn byte(&mut self) -> Result<Option<u8>> {
        let byte = self.fill()?.first().copied();
        self.start += usize::from(byte.is_some());
        Ok(byte)
    }

    /// Returns the hash function of the blob's digest.
    pub(super) fn algorithm(&self) -> Algorithm {
        self.check.digest().algorithm()
    }

    /// Returns the offset of the next byte in the blob.
    pub(super) fn position(&self) -> u64 {
        self.offset + self.start as u64
    }

    /// True if the blob could not be read. Its digest is unknown then.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Returns the error for bytes that do not decode at this position.
    pub(super) fn malformed(&self, what: impl std::fmt::Display) -> DecodeError {
        DecodeError::Malformed { what: what.to_string(), offset: self.position() }
    }

    /// Reads and hashes the rest, and compares the whole blob with its digest and size.
    pub(super) fn finish(mut self) -> Result<VerifiedBlob> {
        while !self.is_at_end {
            self.start = self.end;
            self.read_more()?;
        }
        self.check.finish()
    }

    fn read_more(&mut self) -> Result<()> {
        self.progress.check()?;
        self.buffer.copy_within(self.start..self.end, 0);
        self.offset += self.start as u64;
        self.end -= self.start;
        self.start = 0;
        let count = loop {
            match self.blob.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(count) => break count,
                Err(error) => {
                    self.has_failed = true;
                    return Err(Error::io(self.check.place())(error));
                }
            }
        };
        self.is_at_end = count == 0;
        self.check.update(&self.buffer[self.end..self.end + count])?;
        self.end += count;
        self.progress.advance(count as u64);
        Ok(())
    }
}

/// Half of a second-level cache on the measured machine; larger gained nothing, smaller costs calls.
const BUFFER_BYTES: usize = 256 << 10;
