//! The range coder of the encoder.
//! Never knows what a bit means.
//!
//! The range is widened before a bit and not behind it, as in liblzma: the encoder ends a chunk by
//! the number of bytes that are out, so the moment matters.

use crate::state::{LEAST_RANGE, PROBABILITY_BITS, RATE};

/// Writes bits with probabilities.
pub(super) struct RangeEncoder {
    /// Bytes of the chunk so far.
    pub(super) out: Vec<u8>,
    low: u64,
    range: u32,
    cache: u8,
    /// Bytes that a carry may still change.
    held_bytes: u64,
}

impl RangeEncoder {
    pub(super) fn new() -> Self {
        Self { out: Vec::new(), low: 0, range: u32::MAX, cache: 0, held_bytes: 1 }
    }

    /// Returns the bytes that the chunk would have if it ended now.
    #[inline]
    pub(super) fn bytes_at_end(&self) -> usize {
        self.out.len() + self.held_bytes as usize + 4
    }

    #[inline]
    fn shift(&mut self) {
        if self.low < 0xff00_0000 || self.low > u64::from(u32::MAX) {
            let carry = (self.low >> 32) as u8;
            self.out.push(self.cache.wrapping_add(carry));
            for _ in 1..self.held_bytes {
                self.out.push(0xff_u8.wrapping_add(carry));
            }
            self.held_bytes = 0;
            self.cache = (self.low >> 24) as u8;
        }
        self.held_bytes += 1;
        self.low = (self.low & 0x00ff_ffff) << 8;
    }

    #[inline]
    fn widen(&mut self) {
        if self.range < LEAST_RANGE {
            self.shift();
            self.range <<= 8;
        }
    }

    /// Writes a bit and moves its probability.
    #[inline]
    pub(super) fn bit(&mut self, probability: &mut u16, bit: bool) {
        self.widen();
        let zero = (self.range >> PROBABILITY_BITS) * u32::from(*probability);
        if bit {
            self.low += u64::from(zero);
            self.range -= zero;
            *probability -= *probability >> RATE;
        } else {
            self.range = zero;
            *probability += ((1 << PROBABILITY_BITS) - *probability) >> RATE;
        }
    }

    /// Writes the low `bits` bits of a symbol, the highest first, by a tree of probabilities.
    #[inline]
    pub(super) fn tree(&mut self, probabilities: &mut [u16], bits: u32, symbol: u32) {
        let mut node = 1;
        for shift in (0..bits).rev() {
            let bit = symbol >> shift & 1;
            self.bit(&mut probabilities[node], bit == 1);
            node = node << 1 | bit as usize;
        }
    }

    /// Writes the low `bits` bits of a symbol, the lowest first, by a tree of probabilities.
    #[inline]
    pub(super) fn reverse_tree(&mut self, probabilities: &mut [u16], bits: u32, symbol: u32) {
        let mut node = 1;
        for shift in 0..bits {
            let bit = symbol >> shift & 1;
            self.bit(&mut probabilities[node], bit == 1);
            node = node << 1 | bit as usize;
        }
    }

    /// Writes the low `bits` bits of a value without a model.
    #[inline]
    pub(super) fn direct(&mut self, value: u32, bits: u32) {
        for shift in (0..bits).rev() {
            self.widen();
            self.range >>= 1;
            if value >> shift & 1 == 1 {
                self.low += u64::from(self.range);
            }
        }
    }

    /// Ends the chunk, whose bytes are in `out`, and makes ready for another one.
    pub(super) fn finish(&mut self) {
        self.widen();
        (0..5).for_each(|_| self.shift());
        (self.low, self.range, self.cache, self.held_bytes) = (0, u32::MAX, 0, 1);
    }

    /// Drops the bytes of the chunk.
    pub(super) fn clear(&mut self) {
        *self = Self { out: std::mem::take(&mut self.out), ..Self::new() };
        self.out.clear();
    }
}
