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

/// Packs a stream.
pub fn pack(raw: &[u8]) -> Vec<u8> {
    let mut model = BitModel::new(raw.len());
    let mut coder = BitEncoder { low: 0, high: u32::MAX, out: Vec::with_capacity(raw.len() / 3) };
    for &byte in raw {
        for place in (0..8).rev() {
            let bit = u32::from(byte >> place & 1);
            coder.put(bit, model.odds());
            model.learn(bit);
        }
        model.step();
    }
    coder.finish()
}

/// Unpacks a stream of exactly `len` bytes; missing bytes read as zero.
pub fn unpack(packed: &[u8], len: usize) -> Vec<u8> {
    let mut model = BitModel::new(len);
    let mut coder = BitDecoder { low: 0, high: u32::MAX, word: 0, rest: packed.iter() };
    (0..4).for_each(|_| coder.shift());
    for _ in 0..len {
        for _ in 0..8 {
            let bit = coder.take(model.odds());
            model.learn(bit);
        }
        model.step();
    }
    model.seen
}

/// Divides the range from `low` to `high` by `odds` of 65,536.
fn middle(low: u32, high: u32, odds: u32) -> u32 {
    low + ((u64::from(high - low) * u64::from(odds)) >> 16) as u32
}

/// The range to which the bits written so far have narrowed.
struct BitEncoder {
    low: u32,
    high: u32,
    out: Vec<u8>,
}

impl BitEncoder {
    fn put(&mut self, bit: u32, odds: u32) {
        let middle = middle(self.low, self.high, odds);
        if bit == 1 {
            self.high = middle;
        } else {
            self.low = middle + 1;
        }
        while (self.low ^ self.high) >> 24 == 0 {
            self.out.push((self.high >> 24) as u8);
            self.low <<= 8;
            self.high = self.high << 8 | 0xff;
        }
    }

    /// Missing bytes read as zero, so one byte within the range identifies it.
    fn finish(mut self) -> Vec<u8> {
        if self.low > 0 {
            self.out.push((self.high >> 24) as u8);
        }
        while self.out.last() == Some(&0) {
            self.out.pop();
        }
        self.out
    }
}

/// The decoder's side of [`BitEncoder`].
struct BitDecoder<'a> {
    low: u32,
    high: u32,
    word: u32,
    rest: std::slice::Iter<'a, u8>,
}

impl BitDecoder<'_> {
    fn shift(&mut self) {
        self.word = self.word << 8 | u32::from(self.rest.next().copied().unwrap_or(0));
    }

    fn take(&mut self, odds: u32) -> u32 {
        let middle = middle(self.low, self.high, odds);
        let bit = u32::from(self.word <= middle);
        if bit == 1 {
            self.high = middle;
        } else {
            self.low = middle + 1;
        }
        while (self.low ^ self.high) >> 24 == 0 {
            self.low <<= 8;
            self.high = self.high << 8 | 0xff;
            self.shift();
        }
        bit
    }
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
    stretched: Vec<i16>,
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
            stretched: stretched(),
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

    /// Returns the odds, of 65,536, that the next bit is set.
    fn odds(&mut self) -> u32 {
        let within = self.within();
        for i in 0..CONTEXTS {
            let slot = self.lines[self.current[i]][within];
            let count = usize::from(slot & 15);
            let odds = i32::from(self.stretched[usize::from(slot >> 4)]);
            self.inputs[2 * i] = if count == 0 { 0 } else { odds };
            self.inputs[2 * i + 1] = (odds * SURE[count]) >> 4;
        }
        let expected = self.expected();
        self.inputs[2 * CONTEXTS] = 0;
        if let Some(bit) = expected {
            let odds = i32::from(
                self.stretched[usize::from(self.match_odds[self.match_len.min(63)] >> 4)],
            );
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

/// Hashes two numbers into one.
fn mixed(a: u32, b: u32) -> u32 {
    let product = (u64::from(a) << 32 | u64::from(b)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((product ^ product >> 29).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 32) as u32
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

/// Returns odds of 65,536 for a logarithm of odds in units of 1/256.
fn squash(stretched: i32) -> u32 {
    let place = (stretched.clamp(-2047, 2047) + 2048) as usize;
    let (left, right) = (SQUASHED[place / 32], SQUASHED[place / 32 + 1]);
    let part = (place % 32) as u32;
    (left * (32 - part) + right * part) >> 5
}

/// The inverse of [`squash`], for odds of 4,096.
fn stretched() -> Vec<i16> {
    let mut table = vec![2047; 4096];
    let mut next = 0;
    for stretched in -2047..=2047_i16 {
        let odds = squash(stretched.into()) as usize >> 4;
        while next <= odds {
            table[next] = stretched;
            next += 1;
        }
    }
    table
}

/// The logistic function at every thirty-second position from -2048 to 2048.
const SQUASHED: [u32; 129] = [
    22, 25, 28, 32, 36, 41, 47, 53, 60, 68, 77, 87, 98, 111, 126, 143, 162, 184, 208, 236, 267,
    302, 342, 387, 439, 497, 562, 636, 720, 815, 922, 1042, 1179, 1333, 1506, 1701, 1921, 2168,
    2446, 2758, 3108, 3500, 3938, 4427, 4971, 5577, 6249, 6992, 7812, 8714, 9702, 10782, 11955,
    13226, 14595, 16062, 17625, 19282, 21025, 22849, 24743, 26695, 28693, 30723, 32768, 34813,
    36843, 38841, 40793, 42687, 44511, 46254, 47911, 49474, 50941, 52310, 53581, 54754, 55834,
    56822, 57724, 58544, 59287, 59959, 60565, 61109, 61598, 62036, 62428, 62778, 63090, 63368,
    63615, 63835, 64030, 64203, 64357, 64494, 64614, 64721, 64816, 64900, 64974, 65039, 65097,
    65149, 65194, 65234, 65269, 65300, 65328, 65352, 65374, 65393, 65410, 65425, 65438, 65449,
    65459, 65468, 65476, 65483, 65489, 65495, 65500, 65504, 65508, 65511, 65514,
];

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
