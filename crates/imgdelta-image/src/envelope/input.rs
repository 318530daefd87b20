//! A blob's stored bytes on their way to a decoder: buffered, checked, counted.
//!
//! Every byte is hashed exactly once, when it enters the buffer. Decodes nothing.

use super::Fault;
use imgdelta_core::{
    Algorithm, Error, Result,
    progress::Progress,
    verify::{BlobCheck, VerifiedBlob},
};
use std::io::{ErrorKind, Read};

pub(super) struct Input<'a> {
    blob: Box<dyn Read + Send>,
    check: BlobCheck,
    progress: &'a dyn Progress,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Where in the blob the buffer's first byte lies.
    offset: u64,
    is_at_end: bool,
}

impl<'a> Input<'a> {
    pub(super) fn new(
        blob: Box<dyn Read + Send>,
        check: BlobCheck,
        progress: &'a dyn Progress,
    ) -> Self {
        let buffer = vec![0; BUFFER_BYTES].into_boxed_slice();
        Self { blob, check, progress, buffer, start: 0, end: 0, offset: 0, is_at_end: false }
    }

    /// Returns the bytes at hand, reading more if there are none; empty at the blob's end.
    pub(super) fn fill(&mut self) -> Result<&[u8]> {
        if self.start == self.end {
            self.read_more()?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    /// Returns at least `count` bytes without consuming them, or all there are before the end.
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
        debug_assert!(self.start <= self.end, "no more than was lent");
    }

    /// Takes one byte, or nothing at the blob's end.
    pub(super) fn byte(&mut self) -> Result<Option<u8>> {
        let byte = self.fill()?.first().copied();
        self.start += usize::from(byte.is_some());
        Ok(byte)
    }

    /// Returns the function that the blob is hashed with.
    pub(super) fn algorithm(&self) -> Algorithm {
        self.check.digest().algorithm()
    }

    /// Returns where in the blob the next byte lies.
    pub(super) fn position(&self) -> u64 {
        self.offset + self.start as u64
    }

    /// Makes the fault that the bytes do not decode, here.
    pub(super) fn broken(&self, what: impl std::fmt::Display) -> Fault {
        Fault::Broken { what: what.to_string(), offset: self.position() }
    }

    /// Reads and hashes what is left and compares the whole blob with its digest and size.
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
                outcome => break outcome.map_err(Error::io(self.check.place()))?,
            }
        };
        self.is_at_end = count == 0;
        self.check.update(&self.buffer[self.end..self.end + count])?;
        self.end += count;
        self.progress.advance(count as u64);
        Ok(())
    }
}

/// Half a core's second-level cache here; larger gained nothing, smaller costs calls.
const BUFFER_BYTES: usize = 256 << 10;
