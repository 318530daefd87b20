//! Odds of a bit from several contexts, each with a rate in a table, mixed by weights that are learnt.
//! Never knows what the bits mean.

use crate::{
    arithmetic::{BitCoder, mixed, squash, stretch},
    states::{self, Rate, Rates, Refinement, UNSEEN},
    sum::Mixer,
};

const FIRST_WEIGHT: i16 = 1_500;

/// The bits that a rate of rates learns from.
const WORTH_LIMIT: u32 = 500;

/// Classes of the number of bits seen.
const CLASSES: usize = 10;

/// Contexts of the correction.
const REFINED: usize = 1024;

/// Rates of `N` contexts, and a mixer of `INPUTS` inputs: two for each context, a constant, others
/// unused.
#[derive(Clone)]
pub(super) struct MixedRates<const N: usize, const INPUTS: usize> {
    rates: Vec<Rate>,
    limit: u32,
    /// Rates for the rates of each context, by the number of bits seen and their odds.
    worth: Vec<[Rate; CLASSES * 33]>,
    mixer: Mixer<INPUTS, 2>,
    refinement: Refinement,
}

impl<const N: usize, const INPUTS: usize> MixedRates<N, INPUTS> {
    /// Makes a table of so many rates, a power of two, which learn up to a limit, and weights of two sets.
    pub(super) fn new(rates: usize, rows: [usize; 2], limit: u32) -> Self {
        let worth =
            std::array::from_fn(|place| states::rate(squash((place as i32 % 33 - 16) * 90), 20));
        Self {
            rates: vec![UNSEEN; rates],
            limit,
            worth: vec![worth; N],
            mixer: Mixer::new(rows, 1, FIRST_WEIGHT),
            refinement: Refinement::new(REFINED),
        }
    }

    /// Codes a bit in these contexts, with a row of each set and of the correction.
    pub(super) fn code<C: BitCoder>(
        &mut self,
        coder: &mut C,
        rates: &Rates,
        contexts: [u32; N],
        rows: [usize; 2],
        refined: usize,
        bit: u32,
    ) -> u32 {
        let mask = self.rates.len() - 1;
        let mut slots = [0; N];
        for (number, (slot, context)) in slots.iter_mut().zip(contexts).enumerate() {
            *slot = mixed(context, number as u32 + 1) as usize & mask;
        }
        let found = slots.map(|slot| self.rates[slot]);
        let mut places = [usize::MAX; N];
        for i in 0..N {
            let (rate, count) = (found[i], states::seen(found[i]));
            let (mut first, mut second) = (0, 0);
            if count > 0 {
                let stretched = stretch(states::odds(rate));
                let column = (((stretched + 64) >> 7) + 16).clamp(0, 32) as usize;
                places[i] = seen_class(count) * 33 + column;
                first = ((stretched * count.min(16) as i32) >> 6) as i16;
                second = (stretch(states::odds(self.worth[i][places[i]])) >> 1) as i16;
            }
            (self.mixer.inputs[2 * i], self.mixer.inputs[2 * i + 1]) = (first, second);
        }
        self.mixer.inputs[2 * N] = 128;
        let total = self.mixer.mix(rows, 0);
        let refined = self.refinement.odds(refined & (REFINED - 1), total);
        let odds = (self.mixer.odds() + refined + 1) >> 1;
        let bit = coder.code(bit, odds.clamp(16, 65_520));
        for i in 0..N {
            rates.learn(&mut self.rates[slots[i]], bit, self.limit);
            if let Some(rate) = self.worth[i].get_mut(places[i]) {
                rates.learn(rate, bit, WORTH_LIMIT);
            }
        }
        self.mixer.learn(bit);
        self.refinement.learn(bit);
        bit
    }
}

/// Returns the class of a run, below 30.
pub(super) fn run_class(run: usize) -> u32 {
    (match run {
        0..16 => run,
        16..32 => 16 + (run - 16) / 4,
        32..256 => 20 + (run - 32) / 32,
        256..2048 => 28,
        _ => 29,
    }) as u32
}

/// Returns the class of the number of bits that a rate has seen.
fn seen_class(count: u32) -> usize {
    match count {
        0..6 => count as usize,
        6..10 => 6,
        10..20 => 7,
        20..60 => 8,
        _ => 9,
    }
}
