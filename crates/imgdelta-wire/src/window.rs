//! An index of every eight bytes in a small window of the base.
//! Never kept from one window to the next, except for its memory.
//!
//! Gaps between copies are searched in windows of a few kilobytes, so building the index is nearly
//! all the work. It takes two stores a byte: each position links to the one before with the same
//! hash. A search follows that list, newest first, and stops after a few.

#![allow(clippy::cast_possible_truncation, reason = "a hash is cut to a place on purpose")]

/// Bytes of a seed.
pub const SEED: usize = 8;

/// Most positions to try for one seed: in repeats, the rest are not better.
const WALKED: usize = 8;

/// The end of a list.
const NONE: u32 = u32::MAX;

/// Positions of each eight bytes in a window.
#[derive(Debug, Default)]
pub struct WindowIndex {
    /// Newest position of each hash.
    heads: Vec<u32>,
    /// The position before each one with the same hash.
    before: Vec<u32>,
    shift: u32,
}

impl WindowIndex {
    /// Indexes `bytes`.
    pub fn build(&mut self, bytes: &[u8]) {
        let bits = (bytes.len() / 2).max(16).next_power_of_two().trailing_zeros();
        self.shift = 64 - bits;
        self.heads.clear();
        self.heads.resize(1 << bits, NONE);
        self.before.clear();
        for (at, seed) in bytes.windows(SEED).enumerate() {
            let hash = seed.first_chunk().map_or(0, |seed| self.hash(*seed));
            let head = &mut self.heads[hash];
            self.before.push(*head);
            *head = at as u32;
        }
    }

    /// Returns positions where the eight bytes at the front of `bytes` may be.
    #[inline]
    pub fn find(&self, bytes: &[u8]) -> impl Iterator<Item = usize> {
        let head = bytes.first_chunk().map_or(NONE, |seed| self.heads[self.hash(*seed)]);
        let next = |&at: &u32| Some(self.before[at as usize]).filter(|&at| at != NONE);
        let places = std::iter::successors(Some(head).filter(|&at| at != NONE), next);
        places.take(WALKED).map(|at| at as usize)
    }

    #[inline]
    fn hash(&self, seed: [u8; SEED]) -> usize {
        (u64::from_le_bytes(seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize
    }
}
