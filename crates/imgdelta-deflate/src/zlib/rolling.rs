//! The ends of blocks that `gzip --rsyncable` adds, by the sum of the last bytes.
//!
//! A chunk ends where the sum of the last 4096 bytes is a multiple of 4096. The block then ends behind
//! the token that contains this byte, and the next block starts at a full byte. So a change of the
//! plain bytes changes only the blocks near it. Never writes anything.

use crate::window::WindowBuffer;

/// The sum of the last bytes, and the end of the chunk.
#[derive(Default)]
pub(super) struct RollingSum {
    sum: u64,
    /// Index of the chunk's last byte, once it was found.
    chunk_end: Option<usize>,
}

/// Bytes of the sum.
const SUMMED_BYTES: usize = 4096;

impl RollingSum {
    /// Takes the bytes from `start` to `end` of the buffer.
    pub(super) fn roll(&mut self, bytes: &WindowBuffer, start: usize, end: usize) {
        for index in start..end {
            self.sum = self.sum.wrapping_add(u64::from(bytes[index]));
            let Some(oldest) = index.checked_sub(SUMMED_BYTES) else { continue };
            self.sum = self.sum.wrapping_sub(u64::from(bytes[oldest]));
            if self.chunk_end.is_none() && self.sum.is_multiple_of(SUMMED_BYTES as u64) {
                self.chunk_end = Some(index);
            }
        }
    }

    /// True once if the chunk ends before `index`.
    pub(super) fn ends_before(&mut self, index: usize) -> bool {
        let is_due = self.chunk_end.is_some_and(|end| index > end);
        if is_due {
            self.chunk_end = None;
        }
        is_due
    }

    /// Moves the end of the chunk with the buffer.
    pub(super) fn slide(&mut self, bytes: usize) {
        self.chunk_end = self.chunk_end.map(|end| end.saturating_sub(bytes));
    }
}
