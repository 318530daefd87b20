//! An adaptive binary range coder for bits and numbers.
//!
//! The same model code encodes and decodes: coding a bit takes the bit to write, and returns the
//! bit that was written or read. Never fails while coding: a decoder without input reads zeros,
//! and [`RangeDecoder::is_exhausted`] reports it.

/// The probability that a bit is zero, in 1/65536.
#[derive(Clone, Copy)]
pub(super) struct BitProbability(u16);

impl BitProbability {
    pub(super) const EVEN: Self = Self(1 << 15);

    /// Adapts the probability to `bit`.
    #[inline]
    fn learn(&mut self, bit: bool) {
        if bit {
            self.0 -= self.0 >> RATE;
        } else {
            self.0 += (u16::MAX - self.0) >> RATE;
        }
    }
}

/// Shift of each adaptation. It is slow, because all blocks of an encoder are alike.
const RATE: u32 = 5;
const TOP: u32 = 1 << 24;

/// One direction of coding.
pub(super) trait BitCoder {
    /// Codes one bit. A decoder ignores the argument.
    fn bit(&mut self, prob: &mut BitProbability, bit: bool) -> bool;

    /// Codes the low bits of a number through a binary tree of `probs`.
    fn tree(&mut self, probs: &mut [BitProbability], number: usize) -> usize {
        let bits = probs.len().ilog2();
        let mut node = 1;
        for shift in (0..bits).rev() {
            let bit = self.bit(&mut probs[node], number >> shift & 1 != 0);
            node = node << 1 | usize::from(bit);
        }
        node - probs.len()
    }

    /// Codes a number: its number of bits, then the bits below the first.
    fn number(&mut self, probs: &mut NumberModel, number: u32) -> u32 {
        let plus = u64::from(number) + 1;
        let bits = self.tree(&mut probs.bits, plus.ilog2() as usize) as u32;
        let mut value = 1u64;
        for shift in (0..bits.min(32)).rev() {
            let slot = (bits.min(32) as usize) * 4 + (shift as usize).min(3);
            let bit = self.bit(&mut probs.low[slot.min(131)], plus >> shift & 1 != 0);
            value = value << 1 | u64::from(bit);
        }
        (value - 1) as u32
    }
}

/// The probabilities of a number below 2^32.
pub(super) struct NumberModel {
    bits: [BitProbability; 64],
    low: [BitProbability; 132],
}

impl NumberModel {
    pub(super) fn new() -> Self {
        Self { bits: [BitProbability::EVEN; 64], low: [BitProbability::EVEN; 132] }
    }
}

/// The encoding direction.
pub(super) struct RangeEncoder {
    low: u64,
    range: u32,
    held: u8,
    held_count: u64,
    bytes: Vec<u8>,
}

impl RangeEncoder {
    pub(super) fn new() -> Self {
        Self { low: 0, range: u32::MAX, held: 0, held_count: 0, bytes: Vec::new() }
    }

    /// Returns the number of bytes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    fn shift(&mut self) {
        if self.low < 0xff00_0000 || self.low > 0xffff_ffff {
            let carry = (self.low >> 32) as u8;
            if self.held_count > 0 {
                self.bytes.push(self.held.wrapping_add(carry));
                for _ in 1..self.held_count {
                    self.bytes.push(0xffu8.wrapping_add(carry));
                }
            }
            self.held = (self.low >> 24) as u8;
            self.held_count = 0;
        }
        self.held_count += 1;
        self.low = (self.low & 0xff_ffff) << 8;
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        for _ in 0..5 {
            self.shift();
        }
        // A decoder reads zeros behind the end.
        while self.bytes.last() == Some(&0) {
            self.bytes.pop();
        }
        self.bytes
    }
}

impl BitCoder for RangeEncoder {
    #[inline]
    fn bit(&mut self, prob: &mut BitProbability, bit: bool) -> bool {
        let bound = (self.range >> 16) * u32::from(prob.0.max(32));
        if bit {
            self.low += u64::from(bound);
            self.range -= bound;
        } else {
            self.range = bound;
        }
        prob.learn(bit);
        while self.range < TOP {
            self.range <<= 8;
            self.shift();
        }
        bit
    }
}

/// The decoding direction.
pub(super) struct RangeDecoder {
    bytes: Vec<u8>,
    read: usize,
    range: u32,
    code: u32,
}

impl RangeDecoder {
    pub(super) fn new(bytes: Vec<u8>, start: usize) -> Self {
        let mut reader = Self { bytes, read: start, range: u32::MAX, code: 0 };
        for _ in 0..4 {
            reader.code = reader.code << 8 | reader.next();
        }
        reader
    }

    fn next(&mut self) -> u32 {
        let byte = self.bytes.get(self.read).copied().unwrap_or(0);
        self.read += 1;
        u32::from(byte)
    }

    /// True if more zeros were read behind the end than any encoder drops.
    pub(super) fn is_exhausted(&self) -> bool {
        self.read > self.bytes.len() + 64
    }
}

impl BitCoder for RangeDecoder {
    #[inline]
    fn bit(&mut self, prob: &mut BitProbability, _: bool) -> bool {
        let bound = (self.range >> 16) * u32::from(prob.0.max(32));
        let bit = self.code >= bound;
        if bit {
            self.code -= bound;
            self.range -= bound;
        } else {
            self.range = bound;
        }
        prob.learn(bit);
        while self.range < TOP {
            self.range <<= 8;
            self.code = self.code << 8 | self.next();
        }
        bit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let numbers: Vec<u32> = (0..5000u32)
            .map(|i| i.wrapping_mul(0x9e37_79b9) >> (i % 32))
            .chain([u32::MAX])
            .collect();
        let mut writer = RangeEncoder::new();
        let mut probs = NumberModel::new();
        for &number in &numbers {
            writer.number(&mut probs, number);
        }
        let mut reader = RangeDecoder::new(writer.finish(), 0);
        let mut probs = NumberModel::new();
        for &number in &numbers {
            assert_eq!(reader.number(&mut probs, 0), number);
        }
        assert!(!reader.is_exhausted());
    }
}
