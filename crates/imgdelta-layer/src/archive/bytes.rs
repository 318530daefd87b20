//! A range of an address space, as an archive that is read by offset.
//!
//! Reads no more than it is asked for. Knows no format.

use imgdelta_core::{Error, Result, progress::Progress};
use imgdelta_image::volume::Space;
use std::ops::Range;

/// A range of an address space.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a> {
    space: &'a Space,
    address: u64,
    bytes: u64,
}

impl<'a> Slice<'a> {
    /// Takes a range; reading fails where it leaves the space.
    pub fn new(space: &'a Space, address: u64, bytes: u64) -> Self {
        Self { space, address, bytes }
    }

    /// Returns its length.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads a range of it, which the caller bounds; nothing where it ends before.
    pub fn read(&self, at: u64, count: u64) -> Result<Option<Vec<u8>>> {
        if at.checked_add(count).is_none_or(|end| end > self.bytes) {
            return Ok(None);
        }
        let mut bytes = vec![0; length(count)];
        self.space.read_exact_at(self.address + at, &mut bytes)?;
        Ok(Some(bytes))
    }

    /// Hands a range to `each` in pieces, until it returns `false`.
    pub fn pieces(
        &self,
        range: Range<u64>,
        progress: &dyn Progress,
        each: &mut dyn FnMut(&[u8]) -> Result<bool>,
    ) -> Result<()> {
        if range.end > self.bytes {
            let what = format!("{} bytes of an archive end before {}", self.bytes, range.end);
            return Err(Error::bad_input("base", what));
        }
        let mut buffer = vec![0; length(range.end - range.start).min(super::PIECE_BYTES)];
        let mut at = range.start;
        while at < range.end {
            progress.check()?;
            let count = length(range.end - at).min(buffer.len());
            self.space.read_exact_at(self.address + at, &mut buffer[..count])?;
            if !each(&buffer[..count])? {
                return Ok(());
            }
            at += count as u64;
        }
        Ok(())
    }
}

/// A length as memory counts.
pub(super) fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Reads numbers from the front of bytes; `None` where they end.
pub(super) struct Front<'a>(pub(super) &'a [u8]);

impl<'a> Front<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (found, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(found)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.bytes(1).map(|bytes| bytes[0])
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        let (found, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_le_bytes(*found))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        let (found, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*found))
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        let (found, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*found))
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let (value, count) = imgdelta_format::varint::take(self.0)?;
        self.0 = &self.0[count..];
        Some(value)
    }
}
