//! Weighted sums of predictions: several sets of weights, chosen by context, and a sum of their sums.
//! Never overflows: a sum of 40 products of an input, 1023 at most, and a weight of 16 bits.
//!
//! Inputs and weights have 16 bits, so that a compiler can put eight of them into one instruction.

// Odds have at most 17 bits, and sums are clamped to 12 bits before they are narrowed.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "see above"
)]

use crate::arithmetic::squash;

/// Most of a final weight, which has 16 bits behind the point.
const MOST_FINAL: i32 = 1 << 20;

/// Sums `N` inputs by `SETS` sets of weights.
#[derive(Clone)]
pub(crate) struct Mixer<const N: usize, const SETS: usize> {
    /// Half the logarithms of odds.
    pub(crate) inputs: [i16; N],
    /// Weights with 14 bits behind the point.
    weights: Vec<[i16; N]>,
    /// First row of each set in `weights`.
    starts: [usize; SETS],
    rows: [usize; SETS],
    sums: [i32; SETS],
    finals: Vec<[i32; SETS]>,
    final_row: usize,
    /// The last sum.
    odds: u32,
}

impl<const N: usize, const SETS: usize> Mixer<N, SETS> {
    /// Makes sets of so many rows, and `finals` rows of weights for their sums.
    pub(crate) fn new(sizes: [usize; SETS], finals: usize, first: i16) -> Self {
        let mut starts = [0; SETS];
        let mut rows = 0;
        for (start, size) in starts.iter_mut().zip(sizes) {
            *start = rows;
            rows += size;
        }
        Self {
            inputs: [0; N],
            weights: vec![[first; N]; rows],
            starts,
            rows: [0; SETS],
            sums: [0; SETS],
            finals: vec![[65_536 / SETS as i32; SETS]; finals],
            final_row: 0,
            odds: 0,
        }
    }

    /// Returns the logarithm of the odds, by a row of each set and of the final weights.
    #[inline]
    pub(crate) fn mix(&mut self, rows: [usize; SETS], final_row: usize) -> i32 {
        self.final_row = final_row;
        let mut total = 0_i64;
        let finals = &self.finals[final_row];
        for set in 0..SETS {
            let row = self.starts[set] + rows[set];
            self.rows[set] = row;
            let sum = (product(&self.inputs, &self.weights[row]) >> 13).clamp(-2047, 2047);
            self.sums[set] = sum;
            total += i64::from(sum) * i64::from(finals[set]);
        }
        let total = ((total >> 16) as i32).clamp(-2047, 2047);
        self.odds = squash(total);
        total
    }

    /// Returns the odds of the last sum.
    #[inline]
    pub(crate) fn odds(&self) -> u32 {
        self.odds
    }

    /// Moves the weights that were used towards a bit.
    #[inline]
    pub(crate) fn learn(&mut self, bit: u32) {
        let error = (bit << 16) as i32 - self.odds as i32;
        for (weight, &sum) in self.finals[self.final_row].iter_mut().zip(&self.sums) {
            let more = ((i64::from(sum) * i64::from(error) * 3) >> 20) as i32;
            *weight = (*weight + more).clamp(-MOST_FINAL, MOST_FINAL);
        }
        for (&row, &sum) in self.rows.iter().zip(&self.sums) {
            let error = (((bit << 16) as i32 - squash(sum) as i32) >> 1) as i16;
            learn_row(&mut self.weights[row], &self.inputs, error);
        }
    }
}

/// Returns the sum of the products of inputs and weights.
///
/// In a function of its own and for a power of two, a compiler makes pairs of products at once.
#[inline(never)]
fn product<const N: usize>(inputs: &[i16; N], weights: &[i16; N]) -> i32 {
    inputs.iter().zip(weights).map(|(&input, &weight)| i32::from(input) * i32::from(weight)).sum()
}

/// Moves the weights of a row.
#[inline(never)]
fn learn_row<const N: usize>(weights: &mut [i16; N], inputs: &[i16; N], error: i16) {
    for (weight, &input) in weights.iter_mut().zip(inputs) {
        let more = ((i32::from(input << 2) * i32::from(error)) >> 16) as i16;
        *weight = weight.saturating_add((more + 1) >> 1);
    }
}
