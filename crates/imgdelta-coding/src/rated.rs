//! Contexts with a rate each in one table, and rates of those rates: the inputs of a mixer.
//! Never mixes, and never knows what the bits mean.

// Odds have at most 17 bits, and sums are clamped to 12 bits before they are narrowed.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "see above"
)]

use crate::{
    arithmetic::{mixed, squash, stretch},
    states::{self, Rate, Rates, UNSEEN},
};

/// The bits that a rate of rates learns from.
const WORTH_LIMIT: u32 = 500;

/// Classes of the number of bits seen.
const CLASSES: usize = 10;

/// `N` contexts of a bit.
#[derive(Clone)]
pub(crate) struct RatedContexts<const N: usize> {
    rates: Vec<Rate>,
    limit: u32,
    /// Rates for the rates of each context, by the number of bits seen and their odds.
    worth: Vec<[Rate; CLASSES * 33]>,
    /// The places in both tables that the last bit used.
    slots: [usize; N],
    places: [usize; N],
}

impl<const N: usize> RatedContexts<N> {
    /// Makes a table of so many rates, a power of two, which learn up to a limit.
    pub(crate) fn new(rates: usize, limit: u32) -> Self {
        let worth =
            std::array::from_fn(|place| states::rate(squash((place as i32 % 33 - 16) * 90), 20));
        let (rates, worth) = (vec![UNSEEN; rates], vec![worth; N]);
        Self { rates, limit, worth, slots: [0; N], places: [usize::MAX; N] }
    }

    /// Sets two inputs for each context of the next bit, and a constant behind them.
    #[inline]
    pub(crate) fn look_up<const INPUTS: usize>(
        &mut self,
        contexts: [u32; N],
        inputs: &mut [i16; INPUTS],
    ) {
        let mask = self.rates.len() - 1;
        for (number, (slot, context)) in self.slots.iter_mut().zip(contexts).enumerate() {
            *slot = mixed(context, number as u32 + 1) as usize & mask;
        }
        // The processor loads all of them before it needs one.
        let found = self.slots.map(|slot| self.rates[slot]);
        for i in 0..N {
            let (rate, count) = (found[i], states::seen(found[i]));
            let (mut first, mut second) = (0, 0);
            self.places[i] = usize::MAX;
            if count > 0 {
                let stretched = stretch(states::odds(rate));
                let column = (((stretched + 64) >> 7) + 16).clamp(0, 32) as usize;
                let place = seen_class(count) * 33 + column;
                self.places[i] = place;
                first = ((stretched * count.min(16) as i32) >> 6) as i16;
                second = (stretch(states::odds(self.worth[i][place])) >> 1) as i16;
            }
            (inputs[2 * i], inputs[2 * i + 1]) = (first, second);
        }
        inputs[2 * N] = 128;
    }

    /// Learns the bit whose contexts were looked up last.
    #[inline]
    pub(crate) fn learn(&mut self, rates: &Rates, bit: u32) {
        for i in 0..N {
            rates.learn(&mut self.rates[self.slots[i]], bit, self.limit);
            if let Some(rate) = self.worth[i].get_mut(self.places[i]) {
                rates.learn(rate, bit, WORTH_LIMIT);
            }
        }
    }
}

/// Returns the class of a run, below 30.
pub(crate) fn run_class(run: usize) -> u32 {
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
