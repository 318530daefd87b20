//! The bytes of an archive, read by offset from an address space or from memory.
//! Reads no more than it is asked for; knows no format.

use imgdelta_core::{Error, Result, progress::Progress};
use imgdelta_image::volume::AddressSpace;
use std::ops::Range;

/// The bytes of an archive.
#[derive(Clone, Copy, Debug)]
pub struct ArchiveBytes<'a> {
    holder: ArchiveHolder<'a>,
    bytes: u64,
}

/// The place of an archive's bytes.
#[derive(Clone, Copy, Debug)]
enum ArchiveHolder<'a> {
    /// A space, from this address on.
    Space(&'a AddressSpace, u64),
    Memory(&'a [u8]),
}

impl<'a> ArchiveBytes<'a> {
    /// Selects a range of `space`. Reads fail where the range leaves the space.
    pub fn new(space: &'a AddressSpace, address: u64, bytes: u64) -> Self {
        Self { holder: ArchiveHolder::Space(space, address), bytes }
    }

    /// Takes an archive that is in memory.
    pub fn in_memory(bytes: &'a [u8]) -> Self {
        Self { holder: ArchiveHolder::Memory(bytes), bytes: bytes.len() as u64 }
    }

    /// Returns the length of the range.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reads `count` bytes at `at`; `None` if they exceed the range. The caller bounds `count`.
    pub fn read(&self, at: u64, count: u64) -> Result<Option<Vec<u8>>> {
        if at.checked_add(count).is_none_or(|end| end > self.bytes) {
            return Ok(None);
        }
        let mut bytes = vec![0; length(count)];
        self.fill(at, &mut bytes)?;
        Ok(Some(bytes))
    }

    /// Passes a range to `each` in pieces, until `each` returns `false`.
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
            self.fill(at, &mut buffer[..count])?;
            if !each(&buffer[..count])? {
                return Ok(());
            }
            at += count as u64;
        }
        Ok(())
    }

    /// Fills `buffer` with bytes that lie within the archive.
    fn fill(&self, at: u64, buffer: &mut [u8]) -> Result<()> {
        match self.holder {
            ArchiveHolder::Space(space, address) => space.read_exact_at(address + at, buffer),
            ArchiveHolder::Memory(bytes) => {
                let at = length(at);
                buffer.copy_from_slice(&bytes[at..at + buffer.len()]);
                Ok(())
            }
        }
    }
}

/// Returns a length as a `usize`, or the largest one if it does not fit.
pub(super) fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
