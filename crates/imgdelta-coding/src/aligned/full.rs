//! The full path: the eight bits of a byte, each predicted from many contexts.
//! Never takes more than 17 MiB.

use super::{
    Kind,
    contexts::{self, COUNT, Guesses, Scene, length_class},
    history::History,
};
use crate::{
    arithmetic::{BitCoder, mixed},
    stated::{StatedContexts, halves},
    states::{self, Rate, Rates, Refinement},
    sum::Mixer,
};

/// Lines of all contexts together: 16 MiB.
const LINES: usize = 1 << 20;

/// Places that predict a byte.
const GUESSES: usize = 4;

/// Two inputs for each context and each place that predicts a byte, a constant, and one that is unused.
const INPUTS: usize = 2 * (COUNT + GUESSES) + 2;

const FIRST_WEIGHT: i16 = 2_000;

/// The bits that the rate of a state learns from, and that of a place that predicts a byte.
const LIMIT: u32 = 1000;
const RECORD_LIMIT: u32 = 255;

/// Rows of the weight sets: by the bits so far, by the match, by the place in the instruction, and by the last
/// byte.
const ROWS: [usize; 4] = [512, 1024, 1024, 512];

/// The rates and weights of all contexts, and the lines in use.
#[derive(Clone)]
pub(super) struct Full {
    contexts: StatedContexts<COUNT>,
    /// The rate of each place that predicts a byte, by its record.
    records: Box<[[Rate; 2048]]>,
    mixer: Mixer<INPUTS, 4>,
    by_guess: Refinement,
    by_last: Refinement,
}

/// Places that predict the bits of a byte.
struct Guessers {
    /// The bytes, each behind a leading 1.
    bytes: [u32; GUESSES],
    records: [usize; GUESSES],
    /// The bit that each predicts now.
    bits: [Option<u32>; GUESSES],
}

impl Full {
    pub(super) fn new() -> Self {
        Self {
            contexts: StatedContexts::new(LINES, LIMIT),
            records: vec![[states::rate(49_152, 4); 2048]; GUESSES].into(),
            mixer: Mixer::new(ROWS, ROWS[2], FIRST_WEIGHT),
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
        self.contexts.begin(contexts::contexts(scene, history));
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
            guessers.look_at(partial as u32, done);
            let inputs = &mut self.mixer.inputs;
            self.contexts.look_up(partial, done, inputs);
            for i in 0..GUESSES {
                let (first, second) = halves(states::odds(self.records[i][guessers.records[i]]));
                let sign = guessers.bits[i].map_or(0, |bit| if bit == 1 { 1 } else { -1 });
                let at = 2 * (COUNT + i);
                (inputs[at], inputs[at + 1]) = (sign * first, sign * second);
            }
            inputs[2 * (COUNT + GUESSES)] = 128;
            let [first, _, matched, _] = guessers.bits.map(bit_number);
            let by_match = if matched == 0 { 0 } else { 1 + len * 14 / 26 };
            let by_record = if first == 0 { 0 } else { 1 + aligned };
            let known = self.contexts.known() / 3;
            let by_place = place | done << 7;
            let rows = [
                partial | is_wrong << 8,
                by_match | by_record << 4 | is_wrong << 7 | known << 8,
                by_place,
                last as usize | usize::from(done > 3) << 8,
            ];
            let total = self.mixer.mix(rows, by_place);
            let has_match = usize::from(matched > 0);
            let refined = self.by_guess.odds(partial | first << 8 | has_match << 10, total);
            let context = mixed(partial as u32 | last << 8, 0) as usize & 2047;
            let refined = refined + self.by_last.odds(context, total);
            let odds = (self.mixer.odds() + refined + refined / 2 + 2) >> 2;
            let bit = coder.code(u32::from(byte >> (7 - done) & 1), odds.clamp(32, 65_504));
            partial = partial << 1 | bit as usize;
            self.contexts.learn(rates, bit, partial, done);
            self.learn(rates, bit, &guessers);
        }
        partial as u8
    }

    fn learn(&mut self, rates: &Rates, bit: u32, guessers: &Guessers) {
        for i in 0..GUESSES {
            if let Some(guess) = guessers.bits[i] {
                let rate = &mut self.records[i][guessers.records[i]];
                rates.learn(rate, u32::from(guess == bit), RECORD_LIMIT);
            }
        }
        self.mixer.learn(bit);
        self.by_guess.learn(bit);
        self.by_last.learn(bit);
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
            bytes: [aligned, second, matched, similar].map(begun),
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
            *bit = (byte >> (8 - done) == partial).then_some(byte >> (7 - done) & 1);
        }
    }
}

/// Returns a predicted byte behind a leading 1; 0 for none, which begins with no bits.
fn begun(guess: u32) -> u32 {
    if guess == 0 { 0 } else { (guess - 1) | 256 }
}

/// Returns 0 for none, 1 for a zero, and 2 for a one.
fn bit_number(bit: Option<u32>) -> usize {
    bit.map_or(0, |bit| 1 + bit as usize)
}
