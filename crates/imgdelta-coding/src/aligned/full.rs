//! The full path: the eight bits of a byte, each predicted from many contexts.
//! Never takes more memory than its tables, whose size follows from the number of bytes.

use super::{
    Kind,
    contexts::{self, COUNT, Guesses, Scene, length_class},
    history::History,
    states::{self, Rate, Rates, Refinement, States},
    sum::Mixer,
};
use crate::arithmetic::{BitCoder, mixed, stretch};

/// The knowledge of a context about half a byte: a check, then a state for each prefix of the half.
type Line = [u8; 16];

/// Most lines of all contexts together: 32 MiB.
const MOST_LINES: usize = 1 << 21;

/// Places that predict a byte.
const GUESSES: usize = 4;

/// Two inputs for each context and each place that predicts a byte, a constant, and one that is unused.
const INPUTS: usize = 2 * (COUNT + GUESSES) + 2;

const FIRST_WEIGHT: i32 = 183_500;

/// The bits of a rate that is learnt for each state, and of others.
const LIMIT: u32 = 255;

/// Rows of the weight sets: by the bits so far, by the match, by the place in the instruction, and by
/// the bits that are predicted.
const ROWS: [usize; 4] = [512, 256, 1024, 2048];

pub(super) struct Full {
    lines: Vec<Line>,
    current: [usize; COUNT],
    hashes: [u32; COUNT],
    states: States,
    /// The rate of each state in each context.
    worth: Vec<[Rate; 256]>,
    /// The rate of each place that predicts a byte, by its record.
    records: Vec<[Rate; 2048]>,
    mixer: Mixer<INPUTS, 4>,
    by_guess: Refinement,
    by_last: Refinement,
}

/// Places that predict the bits of a byte.
struct Guessers {
    bytes: [u32; GUESSES],
    records: [usize; GUESSES],
    /// The bit that each predicts now.
    bits: [Option<u32>; GUESSES],
}

impl Full {
    /// Makes the tables for so many bytes.
    pub(super) fn new(len: usize) -> Self {
        let lines = len.saturating_mul(2 * COUNT).next_power_of_two().clamp(1 << 8, MOST_LINES);
        let states = States::new();
        let worth = states.counts.map(|[zeros, ones]| {
            let (zeros, ones) = (u32::from(zeros), u32::from(ones));
            states::rate((2 * ones + 1) * 65_535 / (2 * (zeros + ones) + 2), 6)
        });
        Self {
            lines: vec![[0; 16]; lines],
            current: [0; COUNT],
            hashes: [0; COUNT],
            states,
            worth: vec![worth; COUNT],
            records: vec![[states::rate(49_152, 4); 2048]; GUESSES],
            mixer: Mixer::new(ROWS, 256, FIRST_WEIGHT),
            by_guess: Refinement::new(2048),
            by_last: Refinement::new(2048),
        }
    }

    /// Codes a byte.
    pub(super) fn code<C: BitCoder>(
        &mut self,
        coder: &mut C,
        rates: &Rates,
        scene: &Scene<'_>,
        history: &History,
        byte: u8,
    ) -> u8 {
        self.hashes = contexts::contexts(scene, history);
        self.find_lines(0);
        let mut guessers = Guessers::new(scene, history);
        let is_wrong = usize::from(scene.wrong > 0);
        let place = match scene.kind {
            Kind::X86 => scene.code.place(),
            Kind::Words => scene.at & 3 | 8,
            Kind::Data => scene.at & 7 | 16,
            Kind::Text => 0,
        };
        let len = length_class(history.match_len) as usize;
        let aligned = history.aligned.misses as usize & 3;
        let last = history.back(1);
        let mut partial = 1_usize;
        for done in 0..8 {
            let within = within(partial);
            guessers.look_at(partial as u32, done);
            let inputs = &mut self.mixer.inputs;
            for i in 0..COUNT {
                let state = self.lines[self.current[i]][within];
                let (mut first, mut second) = (0, 0);
                if state > 0 {
                    let odds = states::odds(self.worth[i][usize::from(state)]);
                    first = stretch(odds) as i16;
                    second = ((odds as i32 - 32_768) >> 6) as i16;
                }
                (inputs[2 * i], inputs[2 * i + 1]) = (first, second);
            }
            for i in 0..GUESSES {
                let (mut first, mut second) = (0, 0);
                if let Some(bit) = guessers.bits[i] {
                    let odds = states::odds(self.records[i][guessers.records[i]]);
                    let sign = if bit == 1 { 1 } else { -1 };
                    first = (sign * stretch(odds)) as i16;
                    second = (sign * ((odds as i32 - 32_768) >> 6)) as i16;
                }
                (inputs[2 * (COUNT + i)], inputs[2 * (COUNT + i) + 1]) = (first, second);
            }
            inputs[2 * (COUNT + GUESSES)] = 256;
            let [first, second, matched, similar] = guessers.bits.map(bit_number);
            let by_match = if matched == 0 { 0 } else { 1 + len * 14 / 26 };
            let by_record = if first == 0 { 0 } else { 1 + aligned };
            let by_guess = first | second << 2 | matched << 4 | similar << 6;
            let rows = [
                partial | is_wrong << 8,
                by_match | by_record << 4 | is_wrong << 7,
                place | done << 7,
                by_guess | done << 8,
            ];
            let total = self.mixer.mix(rows, partial);
            let has_match = usize::from(matched > 0);
            let refined = self.by_guess.odds(partial | first << 8 | has_match << 10, total);
            let context = mixed(partial as u32 | last << 8, 0) as usize & 2047;
            let refined = refined + self.by_last.odds(context, total);
            let odds = (2 * self.mixer.odds() + refined + 2) >> 2;
            let bit = coder.code(u32::from(byte >> (7 - done) & 1), odds.clamp(32, 65_504));
            self.learn(rates, bit, within, &guessers);
            partial = partial << 1 | bit as usize;
            if done == 3 {
                self.find_lines(partial as u32);
            }
        }
        partial as u8
    }

    fn learn(&mut self, rates: &Rates, bit: u32, within: usize, guessers: &Guessers) {
        for i in 0..COUNT {
            let state = &mut self.lines[self.current[i]][within];
            rates.learn(&mut self.worth[i][usize::from(*state)], bit, LIMIT);
            *state = self.states.next[usize::from(*state)][bit as usize & 1];
        }
        for i in 0..GUESSES {
            if let Some(guess) = guessers.bits[i] {
                let rate = &mut self.records[i][guessers.records[i]];
                rates.learn(rate, u32::from(guess == bit), LIMIT);
            }
        }
        self.mixer.learn(bit);
        self.by_guess.learn(bit);
        self.by_last.learn(bit);
    }

    /// Finds the line of each context for half a byte, or clears an old one.
    fn find_lines(&mut self, half: u32) {
        let mask = self.lines.len() - 1;
        for (current, &hash) in self.current.iter_mut().zip(&self.hashes) {
            let hash = mixed(hash, half);
            let (check, first) = (hash as u8, hash as usize >> 8 & mask);
            let mut least = (u32::MAX, first);
            let mut found = None;
            for other in 0..3 {
                let number = first ^ other;
                let line = &self.lines[number];
                // The first bit's state shows how often the line was used.
                if line[0] == check && line[1] > 0 {
                    found = Some(number);
                    break;
                }
                let [zeros, ones] = self.states.counts[usize::from(line[1])];
                let used = u32::from(zeros) + u32::from(ones);
                if used < least.0 {
                    least = (used, number);
                }
            }
            *current = found.unwrap_or_else(|| {
                self.lines[least.1] = [0; 16];
                self.lines[least.1][0] = check;
                least.1
            });
        }
    }
}

impl Guessers {
    fn new(scene: &Scene<'_>, history: &History) -> Self {
        let Guesses { aligned, second, matched, similar } = scene.guesses;
        let kind = (scene.kind as usize & 1) << 9 | usize::from(scene.wrong > 0) << 8;
        let record = |misses: u32| misses as usize & 0xff | kind;
        let len = length_class(history.match_len) as usize;
        let of_match = len | (history.failed as usize) << 5 | usize::from(scene.wrong > 0) << 9;
        Self {
            bytes: [aligned, second, matched, similar],
            records: [
                record(history.aligned.misses),
                record(history.second.misses),
                of_match,
                record(history.similar.misses),
            ],
            bits: [None; GUESSES],
        }
    }

    /// Finds the bit that each place predicts behind the bits so far.
    #[inline]
    fn look_at(&mut self, partial: u32, done: usize) {
        for (bit, &byte) in self.bits.iter_mut().zip(&self.bytes) {
            let byte = (byte.wrapping_sub(1) & 0xff) | 256;
            *bit = (byte >> (8 - done) == partial).then_some(byte >> (7 - done) & 1);
        }
        for (bit, &byte) in self.bits.iter_mut().zip(&self.bytes) {
            if byte == 0 {
                *bit = None;
            }
        }
    }
}

/// Returns 0 for none, 1 for a zero, and 2 for a one.
fn bit_number(bit: Option<u32>) -> usize {
    bit.map_or(0, |bit| 1 + bit as usize)
}

/// Returns the place of the next bit's state in a line.
fn within(partial: usize) -> usize {
    let done = partial.ilog2() & 3;
    1 << done | partial & ((1 << done) - 1)
}
