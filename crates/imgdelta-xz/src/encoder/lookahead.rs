//! The bytes that the encoder works on, and how far they were searched.
//! Never chooses a symbol.

use super::{
    finder::{Match, PlaceIndex, common},
    settings::EncoderSettings,
};
use crate::state::{MAX_CHUNK_PACKED, MAX_MATCH};

/// Bytes of the stream: behind the window, in it, and ahead.
pub(super) struct Lookahead {
    pub(super) buffer: Vec<u8>,
    /// The first byte that was not searched.
    pub(super) at: usize,
    /// Bytes before `at` that have no symbol yet.
    pub(super) ahead: usize,
    /// Bytes of the stream before the buffer.
    pub(super) dropped: u64,
    pub(super) nice_len: usize,
    index: PlaceIndex,
    /// Bytes before the first one without a symbol that must stay.
    kept: usize,
    unused: Vec<Match>,
}

impl Lookahead {
    pub(super) fn new(settings: &EncoderSettings) -> Self {
        let effort = settings.effort;
        let nice_len = effort.nice_len();
        Self {
            buffer: Vec::new(),
            at: 0,
            ahead: 0,
            dropped: 0,
            nice_len,
            index: PlaceIndex::new(effort.finder, settings.window, nice_len, effort.depth()),
            kept: settings.window as usize + 2 * MAX_CHUNK_PACKED,
            unused: Vec::new(),
        }
    }

    /// Adds bytes of the stream, and drops those that no match may reach any more.
    pub(super) fn push(&mut self, plain: &[u8]) {
        let needless = self.at.saturating_sub(self.kept);
        if needless > (self.kept / 2).max(LEAST_DROPPED) {
            self.buffer.drain(..needless);
            self.at -= needless;
            self.dropped += needless as u64;
            self.index.slide(needless);
        }
        self.buffer.extend_from_slice(plain);
    }

    /// Bytes that were not searched.
    #[inline]
    pub(super) fn left(&self) -> usize {
        self.buffer.len() - self.at
    }

    /// Index of the first byte without a symbol.
    #[inline]
    pub(super) fn next(&self) -> usize {
        self.at - self.ahead
    }

    /// Position in the stream of the first byte without a symbol.
    #[inline]
    pub(super) fn position(&self) -> u64 {
        self.dropped + self.next() as u64
    }

    /// Searches at the next byte, and returns the length of the longest match, or 0.
    ///
    /// A match of `nice_len` counts as long as it really is; in `found` it has that length.
    #[inline]
    pub(super) fn find(&mut self, found: &mut Vec<Match>) -> usize {
        self.index.find(&self.buffer, self.at, found);
        let mut longest = 0;
        if let Some(last) = found.last() {
            longest = last.len;
            if longest == self.nice_len {
                let limit = self.left().min(MAX_MATCH);
                let start = self.at - last.distance as usize - 1;
                longest = common(&self.buffer, start, self.at, longest, limit);
            }
        }
        self.at += 1;
        self.ahead += 1;
        longest
    }

    /// Adds the next bytes to the index.
    #[inline]
    pub(super) fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.index.skip(&self.buffer, self.at, &mut self.unused);
            self.at += 1;
        }
        self.ahead += count;
    }

    /// Returns how long the bytes at `at` repeat those `distance + 1` before; 0 if less than two.
    #[inline]
    pub(super) fn repeated(&self, at: usize, distance: u32, limit: usize) -> usize {
        let start = at - distance as usize - 1;
        if self.buffer[start..start + 2] != self.buffer[at..at + 2] {
            return 0;
        }
        common(&self.buffer, start, at, 2, limit)
    }
}

/// Moving bytes costs less when it is done rarely.
const LEAST_DROPPED: usize = 1 << 20;
