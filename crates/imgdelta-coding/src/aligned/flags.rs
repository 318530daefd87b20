//! The light path: one bit that says if an expected byte is right, where that is likely.
//! Never takes more than four mebibytes.

use super::{Kind, contexts::Scene, history::History};
use crate::{
    arithmetic::{BitCoder, mixed},
    rated::{RatedContexts, run_class},
    states::Rates,
    sum::Mixer,
};

const COUNT: usize = 7;

/// Two inputs for each context, a constant, and one that is unused.
const INPUTS: usize = 2 * COUNT + 2;

/// Rates of all contexts together.
const RATES: usize = 1 << 19;

const FIRST_WEIGHT: i16 = 1_562;

/// The bits that a rate learns from.
const LIMIT: u32 = 1000;

#[derive(Clone)]
pub(super) struct Flags {
    contexts: RatedContexts<COUNT>,
    mixer: Mixer<INPUTS, 1>,
    /// Places of the last bytes where a flag was wrong: a bit for each.
    wrong: u32,
    /// Bytes since the last wrong flag, and before it.
    run: usize,
    gap: usize,
}

/// A byte that is expected.
pub(super) struct Expected {
    pub(super) byte: u8,
    /// The byte behind it, at the place that predicts it.
    pub(super) next: u32,
    /// True if the match predicts it, not the aligned place.
    pub(super) is_match: bool,
}

impl Flags {
    pub(super) fn new() -> Self {
        Self {
            contexts: RatedContexts::new(RATES, LIMIT),
            mixer: Mixer::new([512], 1, FIRST_WEIGHT),
            wrong: 0,
            run: 0,
            gap: 0,
        }
    }

    /// Starts a stretch.
    pub(super) fn begin(&mut self) {
        (self.wrong, self.run, self.gap) = (0, 0, 0);
    }

    /// Notes a byte that was coded without a flag.
    pub(super) fn pass(&mut self, was_guessed: bool) {
        self.wrong <<= 1;
        self.run = if was_guessed { self.run + 1 } else { 0 };
    }

    /// Codes if an expected byte is right.
    pub(super) fn code<C: BitCoder>(
        &mut self,
        coder: &mut C,
        rates: &Rates,
        scene: &Scene<'_>,
        history: &History,
        expected: &Expected,
        is_right: bool,
    ) -> bool {
        let byte = u32::from(expected.byte);
        let back = |distance| history.back(distance);
        let agrees = |guess: u32| match guess {
            0 => 0,
            guess if guess == byte + 1 => 1,
            _ => 2,
        };
        let agreement = agrees(scene.guesses.matched) | agrees(scene.guesses.second) << 2;
        let agreement = agreement | u32::from(expected.is_match) << 4;
        let run = run_class(self.run);
        let column = self.wrong >> 3 & 1
            | (self.wrong >> 7 & 1) << 1
            | (self.wrong >> 15 & 1) << 2
            | (self.wrong >> 23 & 1) << 3
            | (scene.at as u32 & 7) << 4;
        let state = if scene.kind == Kind::X86 { scene.code.state() } else { 1 << 31 };
        let run_gap = if self.run < 255 { self.run | self.gap << 8 } else { 255 };
        let contexts = [
            run | (scene.kind as u32) << 8 | agreement << 16,
            byte | back(1) << 8 | expected.next << 16,
            mixed(byte | back(1) << 8, back(2) | back(3) << 8),
            mixed(state, byte),
            column | u32::from(self.run < 8) << 8,
            run_gap as u32,
            mixed(agreement | run.min(20) << 8, byte),
        ];
        self.contexts.look_up(contexts, &mut self.mixer.inputs);
        let row = (run / 2).min(15) as usize | (agreement as usize) << 4;
        self.mixer.mix([row], 0);
        let odds = self.mixer.odds().clamp(16, 65_520);
        let bit = coder.code(is_right.into(), odds);
        self.contexts.learn(rates, bit);
        self.mixer.learn(bit);
        self.wrong = self.wrong << 1 | (1 - bit);
        if bit == 1 {
            self.run += 1;
        } else {
            (self.gap, self.run) = (self.run.min(255), 0);
        }
        bit == 1
    }
}
