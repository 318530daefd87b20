//! A context mixer: it predicts every bit from many contexts at once. Small output, slow,
//! symmetric. Never takes more than 40 MiB of memory besides the stream; callers bound the stream's
//! length.
//!
//! Each context (the last one to six bytes, earlier bytes, the current number) counts the bits that
//! followed it. A weighted sum mixes their odds; the weights shift towards contexts that were
//! right. An arithmetic coder spends the bits that the sum leaves open. A pointer to the last
//! occurrence of the preceding bytes is one more input. All arithmetic is on integers, so every
//! machine predicts the same.
//!
//! Packing and unpacking take about 1.5 microseconds a byte; zstd unpacks in a few nanoseconds. The
//! result is about a tenth smaller than zstd's. It is larger for long repeats that lie far apart.

// Odds have at most 17 bits, and sums are clamped to 12 bits before they are narrowed.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "see above"
)]

use crate::arithmetic::{BitCoder, BitDecoder, BitEncoder, mixed, squash, stretch};

/// Packs a stream.
pub fn pack(raw: &[u8]) -> Vec<u8> {
    let mut coder = BitEncoder::new(raw.len() / 3);
    let mut model = BitModel::new(raw.len());
    model.code(&mut coder, raw.len(), |at| raw[at]);
    coder.finish()
}

/// Unpacks a stream of exactly `len` bytes; missing bytes read as zero.
pub fn unpack(packed: &[u8], len: usize) -> Vec<u8> {
    let mut model = BitModel::new(len);
    model.code(&mut BitDecoder::new(packed), len, |_| 0);
    model.seen
}

/// Contexts that are looked up in tables.
const CONTEXTS: usize = 10;

/// All inputs: each context twice (odds, and odds by confidence), the match, and a constant.
const INPUTS: usize = CONTEXTS * 2 + 2;

/// Predictions for half a byte in one context: a check, then one for each prefix of the half.
type PredictionLine = [u16; 16];

/// Most lines of all contexts together: 32 MiB.
const MAX_LINES: usize = 1 << 20;

/// The bytes so far and the state that predicts the next bit.
struct BitModel {
    seen: Vec<u8>,
    lines: Vec<PredictionLine>,
    /// Line of each context for the current half byte.
    current: [usize; CONTEXTS],
    hashes: [u32; CONTEXTS],
    /// Bits of the current byte after a leading one.
    partial: u32,
    inputs: [i32; INPUTS],
    weights: Vec<[i32; INPUTS]>,
    /// The two weight sets in use, and the prediction of each.
    sets: [usize; 2],
    predictions: [u32; 2],
    /// Last position of each sequence of four bytes.
    places: Vec<u32>,
    matched: usize,
    match_len: usize,
    match_odds: Vec<u16>,
    refined: Vec<u16>,
    refining: usize,
    mixed: u32,
    /// Bytes of the current number, and the number before it.
    number: u32,
    number_before: u32,
}

impl BitModel {
    fn new(len: usize) -> Self {
        let lines = (len * CONTEXTS).next_power_of_two().clamp(1 << 8, MAX_LINES);
        let places = len.next_power_of_two().clamp(1 << 8, 1 << 18);
        let mut model = Self {
            seen: Vec::with_capacity(len),
            lines: vec![FRESH; lines],
            current: [0; CONTEXTS],
            hashes: [0; CONTEXTS],
            partial: 1,
            inputs: [0; INPUTS],
            weights: vec![[FIRST_WEIGHT; INPUTS]; MATCH_SETS + 256],
            sets: [0; 2],
            predictions: [0; 2],
            places: vec![0; places],
            matched: 0,
            match_len: 0,
            match_odds: vec![1 << 15; 64],
            refined: (0..1024 * 33)
                .map(|i| squash((i % 33 - 16) * 128).min(65_535) as u16)
                .collect(),
            refining: 0,
            mixed: 0,
            number: 0,
            number_before: 0,
        };
        model.contexts();
        model
    }

    /// Codes `len` bytes; the writing side takes each from `byte`.
    fn code(&mut self, coder: &mut impl BitCoder, len: usize, byte: impl Fn(usize) -> u8) {
        for at in 0..len {
            let byte = byte(at);
            for place in (0..8).rev() {
                let odds = self.odds();
                let bit = coder.code(u32::from(byte >> place & 1), odds);
                self.learn(bit);
            }
            self.step();
        }
    }

    /// Returns the odds, of 65,536, that the next bit is set.
    fn odds(&mut self) -> u32 {
        let within = self.within();
        for i in 0..CONTEXTS {
            let slot = self.lines[self.current[i]][within];
            let count = usize::from(slot & 15);
            let odds = stretch(slot.into());
            self.inputs[2 * i] = if count == 0 { 0 } else { odds };
            self.inputs[2 * i + 1] = (odds * SURE[count]) >> 4;
        }
        let expected = self.expected();
        self.inputs[2 * CONTEXTS] = 0;
        if let Some(bit) = expected {
            let odds = stretch(self.match_odds[self.match_len.min(63)].into());
            self.inputs[2 * CONTEXTS] = if bit == 1 { odds } else { -odds };
        }
        self.inputs[2 * CONTEXTS + 1] = 256;
        let set = expected.map_or(0, |bit| 1 + 2 * (self.match_len.min(31) / 4) + bit as usize);
        self.sets = [set, MATCH_SETS + self.partial as usize];
        let mut sum = 0;
        for (predictions, &set) in self.predictions.iter_mut().zip(&self.sets) {
            let products = self.inputs.iter().zip(&self.weights[set]);
            let total: i64 =
                products.map(|(&input, &weight)| i64::from(input) * i64::from(weight)).sum();
            let total = ((total >> 16) as i32).clamp(-2047, 2047);
            *predictions = squash(total);
            sum += total;
        }
        let total = sum >> 1;
        let last = self.seen.last().copied().unwrap_or(0);
        let context =
            (u32::from(last).wrapping_mul(0x9E5) ^ self.partial.wrapping_mul(4)) as usize & 1023;
        let place = (total + 2048) as usize;
        self.refining = context * 33 + place / 128;
        let part = (place % 128) as u32;
        let (left, right) = (self.refined[self.refining], self.refined[self.refining + 1]);
        let refined = (u32::from(left) * (128 - part) + u32::from(right) * part) >> 7;
        if part >= 64 {
            self.refining += 1;
        }
        self.mixed = squash(total);
        (self.mixed * 3 + refined).div_ceil(4).clamp(24, 65_536 - 24)
    }

    /// Updates the model with the actual bit.
    fn learn(&mut self, bit: u32) {
        let within = self.within();
        for &line in &self.current {
            let slot = &mut self.lines[line][within];
            let count = usize::from(*slot & 15);
            let odds = i32::from(*slot >> 4);
            let wanted = if bit == 1 { 4095 } else { 0 };
            let odds = odds + (((wanted - odds) * RATES[count] + 128) >> 8);
            *slot = (odds as u16) << 4 | (count + 1).min(LIMIT) as u16;
        }
        if let Some(expected) = self.expected() {
            let odds = &mut self.match_odds[self.match_len.min(63)];
            if expected == bit {
                *odds += (65_535 - *odds) >> 6;
            } else {
                *odds -= *odds >> 6;
                self.match_len = 0;
            }
        }
        for (predictions, &set) in self.predictions.iter().zip(&self.sets) {
            let error = (bit << 16) as i32 - *predictions as i32;
            for (weight, &input) in self.weights[set].iter_mut().zip(&self.inputs) {
                let more = (input * (error >> 2) + (1 << 12)) >> 13;
                *weight = (*weight + more).clamp(-MOST_WEIGHT, MOST_WEIGHT);
            }
        }
        let refined = &mut self.refined[self.refining];
        *refined = if bit == 1 {
            *refined + ((65_535 - *refined) >> 6)
        } else {
            *refined - (*refined >> 6)
        };
        self.partial = self.partial << 1 | bit;
        if self.partial >= 16 && self.partial < 32 {
            self.look_up(self.partial);
        }
    }

    /// Advances to the next byte.
    fn step(&mut self) {
        let byte = self.partial as u8;
        self.partial = 1;
        self.seen.push(byte);
        if byte < 0x80 {
            self.number_before = self.number << 8 | u32::from(byte);
            self.number = 0;
        } else {
            self.number = (self.number << 8 | u32::from(byte)) & 0xff_ffff;
        }
        let len = self.seen.len();
        if self.match_len > 0 {
            self.matched += 1;
            self.match_len += 1;
        }
        if let Some(last) = self.seen.last_chunk::<5>() {
            let hash =
                mixed(u32::from_le_bytes([last[0], last[1], last[2], last[3]]), u32::from(last[4]));
            let mask = self.places.len() - 1;
            let place = &mut self.places[hash as usize >> 8 & mask];
            if self.match_len == 0 {
                let before = *place as usize;
                let common = self.seen[..before].iter().rev().zip(self.seen.iter().rev()).take(32);
                self.match_len = common.take_while(|(a, b)| a == b).count();
                self.matched = before;
                if self.match_len < 5 {
                    self.match_len = 0;
                }
            }
            *place = len as u32;
        }
        self.contexts();
    }

    /// Hashes all contexts for the next byte.
    fn contexts(&mut self) {
        let back = |n: usize| {
            let len = self.seen.len();
            if n <= len { u32::from(self.seen[len - n]) } else { 0 }
        };
        let last4 = back(4) << 24 | back(3) << 16 | back(2) << 8 | back(1);
        let contexts = [
            0,
            last4 & 0xff,
            last4 & 0xffff,
            last4 & 0xff_ffff,
            last4,
            mixed(last4, back(5) << 8 | back(6)),
            last4 & 0x00ff_ff00,
            mixed(self.number, self.number_before),
            // The upper bits of an instruction's bytes are its operation, the lower ones its
            // registers.
            mixed(last4 & 0xf8f8_f8f8, 9),
            mixed(last4 & 0xff00_00ff, 10),
        ];
        for (i, (hash, context)) in self.hashes.iter_mut().zip(contexts).enumerate() {
            *hash = mixed(context, i as u32 + 1);
        }
        self.look_up(0);
    }

    /// Finds the lines for this half of a byte, or clears old ones.
    fn look_up(&mut self, half: u32) {
        for (current, &hash) in self.current.iter_mut().zip(&self.hashes) {
            let hash = mixed(hash, half);
            let check = (hash & 0xffff) as u16;
            let first = hash as usize >> 8 & (self.lines.len() - 1);
            let second = first ^ 1;
            *current = if self.lines[first][0] == check {
                first
            } else if self.lines[second][0] == check {
                second
            } else {
                // The first bit's count shows how often the line was used.
                let worse = if self.lines[first][1] & 15 <= self.lines[second][1] & 15 {
                    first
                } else {
                    second
                };
                self.lines[worse] = FRESH;
                self.lines[worse][0] = check;
                worse
            };
        }
    }

    /// Index of the next bit's prediction in a line.
    fn within(&self) -> usize {
        let done = self.partial.ilog2() & 3;
        (1 << done | self.partial & ((1 << done) - 1)) as usize
    }

    /// Returns the bit that followed the last occurrence of the preceding bytes.
    fn expected(&self) -> Option<u32> {
        if self.match_len == 0 {
            return None;
        }
        let byte = u32::from(self.seen[self.matched]) | 256;
        let done = self.partial.ilog2();
        (byte >> (8 - done) == self.partial).then_some(byte >> (7 - done) & 1)
    }
}

const FRESH: PredictionLine = [1 << 15; 16];
const FIRST_WEIGHT: i32 = 1 << 13;

/// Hostile bytes can teach any weights; the limit keeps sums from overflowing.
const MOST_WEIGHT: i32 = 1 << 22;

const MATCH_SETS: usize = 32;

/// Counts stop here, so that recent bits weigh more than old ones.
const LIMIT: usize = 15;

/// Share of the distance, of 256, by which odds move after each number of bits.
const RATES: [i32; 16] = [128, 90, 64, 50, 42, 36, 31, 27, 25, 23, 21, 20, 19, 18, 17, 16];

/// Confidence in a context after each number of bits, of 16.
const SURE: [i32; 16] = [0, 4, 6, 8, 10, 11, 12, 13, 14, 14, 15, 15, 15, 16, 16, 16];

#[cfg(test)]
mod tests {
    use super::*;

    /// Instructions and numbers, similar to those in real streams.
    fn samples() -> Vec<Vec<u8>> {
        let mut state = 1_u32;
        let mut next = move |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % below
        };
        let words =
            (0..5000).flat_map(|i| [0x48, 0x89, next(4) as u8 * 8, (i / 100) as u8]).collect();
        let noise = (0..3000).map(|_| next(256) as u8).collect();
        vec![Vec::new(), vec![0], vec![255; 3], vec![7; 50_000], words, noise]
    }

    #[test]
    fn streams_come_back() {
        for raw in samples() {
            assert_eq!(unpack(&pack(&raw), raw.len()), raw);
        }
    }

    #[test]
    fn predictable_bytes_take_little_room() {
        let lengths: Vec<usize> = samples().iter().map(|raw| pack(raw).len()).collect();
        assert!(lengths[3] < 60, "{lengths:?}");
        assert!(lengths[4] < 1500, "{lengths:?}");
        assert!(lengths[5] < 3100, "{lengths:?}");
    }

    #[test]
    fn predictions_are_the_same_everywhere() {
        // Bytes of the first version: a change here is a change of the format.
        let raw = b"what was seen before is seen again, what was seen before is seen again";
        assert_eq!(pack(raw), PACKED);
    }

    #[test]
    fn any_bytes_unpack_to_something() {
        for raw in samples() {
            assert_eq!(unpack(&raw, 2000).len(), 2000);
        }
    }

    #[test]
    fn weights_stay_within_their_limit_whatever_they_learn() {
        for (bit, limit) in [(1, MOST_WEIGHT), (0, -MOST_WEIGHT)] {
            let mut model = BitModel::new(16);
            for weights in &mut model.weights {
                *weights = [limit; INPUTS];
            }
            model.odds();
            // The prediction is as wrong as can be, and every input was right.
            model.predictions = if bit == 1 { [0; 2] } else { [65_535; 2] };
            model.inputs = [2047; INPUTS];
            let sets = model.sets;
            model.learn(bit);
            for set in sets {
                assert_eq!(model.weights[set], [limit; INPUTS], "bit {bit}");
            }
        }
    }

    const PACKED: [u8; 33] = [
        146, 62, 223, 12, 44, 106, 71, 80, 26, 137, 173, 36, 238, 177, 131, 194, 57, 9, 105, 6,
        230, 227, 201, 153, 68, 27, 126, 165, 254, 192, 232, 131, 136,
    ];
}
