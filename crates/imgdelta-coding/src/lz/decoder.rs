//! Unpacks a code behind its prefix.
//! Never makes more bytes than were asked for, and never reads before the prefix.

use crate::{
    error::LzError,
    lz::{
        model::{
            ALIGN_BITS, FIRST_DIRECT_SLOT, LEAST_RANGE, LengthModel, LiteralModel, MIN_MATCH,
            Model, PROBABILITY_BITS, Probability, State, length_class, low_bits_at, slot_base,
        },
        places::{PlaceReader, RawKind},
    },
};

/// Most raw bytes for each packed one: more are refused before any work.
pub const MAX_EXPANSION: u64 = 4096;

/// Returns `bytes`, which hold the prefix, with the `raw_len` bytes that `packed` stands for.
///
/// The work is linear in `raw_len`, whatever the packed bytes are.
pub fn unpack(
    packed: &[u8],
    mut bytes: Vec<u8>,
    raw_len: usize,
    kind: RawKind,
) -> Result<Vec<u8>, LzError> {
    let limit = (packed.len() as u64).saturating_mul(MAX_EXPANSION);
    if raw_len as u64 > limit {
        return Err(error("raw bytes of an LZ code", limit, raw_len as u64));
    }
    let mut at = bytes.len();
    let end = at + raw_len;
    bytes.reserve_exact(raw_len);
    bytes.resize(end, 0);
    let mut bits = BitReader::new(packed);
    let mut model = Box::new(Model::new(kind));
    let mut places = PlaceReader::new(kind);
    let mut state = State::FIRST;
    let mut distances = [1_usize; 4];
    while at < end {
        let (row, place) = (state.row(), places.place());
        if !bits.take(&mut model.is_match[row][place]) {
            let probabilities = &mut model.literals[place];
            let literal = if state.is_after_literal() {
                bits.literal(probabilities)
            } else {
                // The symbol before was a match, whose distance was checked.
                bits.literal_unlike(probabilities, bytes[at - distances[0]])
            };
            bytes[at] = literal;
            places.step(literal);
            at += 1;
            state = state.after_literal();
            continue;
        }
        let mut len = 1;
        if bits.take(&mut model.is_repeat[row]) {
            let mut is_long = true;
            if bits.take(&mut model.is_older[row]) {
                let which = if !bits.take(&mut model.is_second_older[row]) {
                    1
                } else if bits.take(&mut model.is_third_older[row]) {
                    3
                } else {
                    2
                };
                distances[..=which].rotate_right(1);
            } else {
                is_long = bits.take(&mut model.is_long_repeat[row][place]);
            }
            if is_long {
                len = bits.length(&mut model.repeat_lengths);
                state = state.after_repeat();
            } else {
                state = state.after_short_repeat();
            }
        } else {
            len = bits.length(&mut model.match_lengths);
            distances.rotate_right(1);
            distances[0] = bits.distance(&mut model, len);
            state = state.after_match();
        }
        if len > end - at {
            return Err(error("length of a match", (end - at) as u64, len as u64));
        }
        copy(&mut bytes, at, distances[0], len)?;
        places.read(&bytes[at..at + len]);
        at += len;
    }
    match packed.len().saturating_sub(bits.read) {
        0 => Ok(bytes),
        left => Err(error("bytes behind an LZ code", 0, left as u64)),
    }
}

#[cold]
fn error(what: &'static str, expected: u64, found: u64) -> LzError {
    LzError { what, expected, found }
}

/// Copies `len` bytes to `at` from `distance` bytes before; both places may overlap.
#[inline]
fn copy(bytes: &mut [u8], at: usize, distance: usize, len: usize) -> Result<(), LzError> {
    let Some(start) = at.checked_sub(distance) else {
        return Err(error("distance of a match", at as u64, distance as u64));
    };
    if distance >= len {
        bytes.copy_within(start..start + len, at);
    } else {
        for step in 0..len {
            bytes[at + step] = bytes[start + step];
        }
    }
    Ok(())
}

/// Reads bits; missing bytes read as zero.
struct BitReader<'a> {
    packed: &'a [u8],
    /// Bytes read so far, missing ones included.
    read: usize,
    range: u32,
    code: u32,
}

impl<'a> BitReader<'a> {
    fn new(packed: &'a [u8]) -> Self {
        let mut reader = Self { packed, read: 0, range: u32::MAX, code: 0 };
        (0..4).for_each(|_| reader.shift());
        reader
    }

    #[inline]
    fn shift(&mut self) {
        let next = self.packed.get(self.read).copied().unwrap_or(0);
        self.read += 1;
        self.code = self.code << 8 | u32::from(next);
    }

    #[inline]
    fn widen(&mut self) {
        if self.range < LEAST_RANGE {
            self.range <<= 8;
            self.shift();
        }
    }

    /// Reads a bit and moves its probability.
    #[inline]
    fn take(&mut self, probability: &mut Probability) -> bool {
        let zero = (self.range >> PROBABILITY_BITS) * u32::from(probability.value());
        let bit = self.code >= zero;
        if bit {
            self.range -= zero;
            self.code -= zero;
        } else {
            self.range = zero;
        }
        probability.learn(bit);
        self.widen();
        bit
    }

    /// Reads a literal in the context of the byte before it alone.
    #[inline]
    fn literal(&mut self, probabilities: &mut LiteralModel) -> u8 {
        let mut tree = 1;
        while tree < 0x100 {
            tree = tree << 1 | usize::from(self.take(&mut probabilities[tree]));
        }
        tree as u8
    }

    /// Reads a literal in the context of `other`, until a bit differs from it.
    #[inline]
    fn literal_unlike(&mut self, probabilities: &mut LiteralModel, other: u8) -> u8 {
        let (mut tree, mut other) = (1, usize::from(other));
        let mut alike = 0x100;
        while tree < 0x100 {
            other <<= 1;
            let expected = other & alike;
            let bit = usize::from(self.take(&mut probabilities[alike + expected + tree]));
            tree = tree << 1 | bit;
            if bit << 8 & alike != expected {
                alike = 0;
            }
        }
        tree as u8
    }

    /// Reads a tree of bits, the highest first.
    #[inline]
    fn tree<const N: usize>(&mut self, probabilities: &mut [Probability; N]) -> usize {
        let mut tree = 1;
        while tree < N {
            tree = tree << 1 | usize::from(self.take(&mut probabilities[tree]));
        }
        tree - N
    }

    #[inline]
    fn length(&mut self, model: &mut LengthModel) -> usize {
        MIN_MATCH
            + if !self.take(&mut model.is_long) {
                self.tree(&mut model.low)
            } else if !self.take(&mut model.is_longest) {
                8 + self.tree(&mut model.middle)
            } else {
                16 + self.tree(&mut model.high)
            }
    }

    fn distance(&mut self, model: &mut Model, len: usize) -> usize {
        let slot = self.tree(&mut model.slots[length_class(len)]);
        let (bits, mut distance) = slot_base(slot);
        if slot >= FIRST_DIRECT_SLOT {
            let mut direct = 0_u32;
            for _ in ALIGN_BITS..bits {
                self.range >>= 1;
                let bit = u32::from(self.code >= self.range);
                self.code -= self.range * bit;
                direct = direct << 1 | bit;
                self.widen();
            }
            let low = self.reversed(&mut model.align, 0, ALIGN_BITS);
            distance = distance.wrapping_add(direct << ALIGN_BITS).wrapping_add(low);
        } else if bits > 0 {
            distance += self.reversed(&mut model.low_bits, low_bits_at(slot), bits);
        }
        (distance as usize).saturating_add(1)
    }

    /// Reads a tree of bits, the lowest first.
    #[inline]
    fn reversed(&mut self, probabilities: &mut [Probability], at: usize, bits: u32) -> u32 {
        let (mut tree, mut number) = (1, 0);
        for place in 0..bits {
            let bit = u32::from(self.take(&mut probabilities[at + tree]));
            tree = tree << 1 | bit as usize;
            number |= bit << place;
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_raw_bytes_than_packed_ones_can_stand_for_take_no_memory() {
        let refused = unpack(&[0; 3], Vec::new(), usize::MAX, RawKind::Bytes).unwrap_err();
        let what = "raw bytes of an LZ code";
        let found = usize::MAX as u64;
        assert_eq!(refused, LzError { what, expected: 3 * MAX_EXPANSION, found });
        assert_eq!(unpack(&[], Vec::new(), 1, RawKind::Bytes).unwrap_err().expected, 0);
        assert_eq!(unpack(&[], b"prefix".to_vec(), 0, RawKind::Bytes).unwrap(), b"prefix");
        assert!(unpack(&[0], Vec::new(), MAX_EXPANSION as usize, RawKind::Bytes).is_ok());
    }

    #[test]
    fn packed_bytes_that_are_left_over_are_refused() {
        // Four bytes are read before the first bit.
        assert!(unpack(&[0; 4], Vec::new(), 0, RawKind::Bytes).is_ok());
        let refused = unpack(&[0; 5], Vec::new(), 0, RawKind::Bytes).unwrap_err();
        assert_eq!(refused, LzError { what: "bytes behind an LZ code", expected: 0, found: 1 });
    }

    #[test]
    fn a_match_before_the_prefix_is_refused() {
        // The highest code: every bit is 1, which is the third repeat from one byte back.
        let refused = unpack(&[0xff; 9], Vec::new(), 300, RawKind::Bytes).unwrap_err();
        assert_eq!(refused, LzError { what: "distance of a match", expected: 0, found: 1 });
    }

    #[test]
    fn a_match_that_is_longer_than_the_rest_is_refused() {
        let refused = unpack(&[0xff; 9], b"x".to_vec(), 100, RawKind::Bytes).unwrap_err();
        assert_eq!(refused, LzError { what: "length of a match", expected: 100, found: 273 });
    }
}
