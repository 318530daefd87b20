//! Odds of a bit from several contexts, mixed by weights that are learnt.
//! Never knows what the bits mean.

use crate::{
    arithmetic::BitCoder,
    rated::RatedContexts,
    states::{Rates, Refinement},
    sum::Mixer,
};

const FIRST_WEIGHT: i16 = 1_500;

/// Contexts of the correction.
const REFINED: usize = 1024;

/// `N` contexts, and a mixer of `INPUTS` inputs: two for each context, a constant, others unused.
#[derive(Clone)]
pub(super) struct MixedRates<const N: usize, const INPUTS: usize> {
    contexts: RatedContexts<N>,
    mixer: Mixer<INPUTS, 2>,
    refinement: Refinement,
}

impl<const N: usize, const INPUTS: usize> MixedRates<N, INPUTS> {
    /// Makes a table of so many rates, a power of two, which learn up to a limit, and weights of two sets.
    pub(super) fn new(rates: usize, rows: [usize; 2], limit: u32) -> Self {
        Self {
            contexts: RatedContexts::new(rates, limit),
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
        self.contexts.look_up(contexts, &mut self.mixer.inputs);
        let total = self.mixer.mix(rows, 0);
        let refined = self.refinement.odds(refined & (REFINED - 1), total);
        let odds = (self.mixer.odds() + refined + 1) >> 1;
        let bit = coder.code(bit, odds.clamp(16, 65_520));
        self.contexts.learn(rates, bit);
        self.mixer.learn(bit);
        self.refinement.learn(bit);
        bit
    }
}
