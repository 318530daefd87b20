//! Weighted sums of predictions: several sets of weights, chosen by context, and a sum of their sums.
//! Never overflows: a sum of 40 products of an input, 2047 at most, and a weight without its low byte.

use crate::arithmetic::squash;

/// Most of a weight, which has 20 bits behind the point.
const MOST: i32 = 6 << 20;

/// Most of a final weight, which has 16 bits behind the point.
const MOST_FINAL: i32 = 1 << 20;

/// Sums `N` inputs by `SETS` sets of weights.
pub(super) struct Mixer<const N: usize, const SETS: usize> {
    pub(super) inputs: [i16; N],
    weights: Vec<[i32; N]>,
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
    pub(super) fn new(sizes: [usize; SETS], finals: usize, first: i32) -> Self {
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
    pub(super) fn mix(&mut self, rows: [usize; SETS], final_row: usize) -> i32 {
        self.final_row = final_row;
        let mut total = 0_i64;
        for (set, (&start, row)) in self.starts.iter().zip(rows).enumerate() {
            let row = start + row;
            self.rows[set] = row;
            let mut sum = 0_i32;
            for (&input, &weight) in self.inputs.iter().zip(&self.weights[row]) {
                sum += i32::from(input) * i32::from((weight >> 8) as i16);
            }
            let sum = (sum >> 12).clamp(-2047, 2047);
            self.sums[set] = sum;
            total += i64::from(sum) * i64::from(self.finals[final_row][set]);
        }
        let total = ((total >> 16) as i32).clamp(-2047, 2047);
        self.odds = squash(total);
        total
    }

    /// Returns the odds of the last sum.
    #[inline]
    pub(super) fn odds(&self) -> u32 {
        self.odds
    }

    /// Moves the weights that were used towards a bit.
    #[inline]
    pub(super) fn learn(&mut self, bit: u32) {
        let error = (bit << 16) as i32 - self.odds as i32;
        for (weight, &sum) in self.finals[self.final_row].iter_mut().zip(&self.sums) {
            let more = ((i64::from(sum) * i64::from(error) * 3) >> 20) as i32;
            *weight = (*weight + more).clamp(-MOST_FINAL, MOST_FINAL);
        }
        for (&row, &sum) in self.rows.iter().zip(&self.sums) {
            let error = (((bit << 16) as i32 - squash(sum) as i32) >> 1) as i16;
            for (weight, &input) in self.weights[row].iter_mut().zip(&self.inputs) {
                let more = (i32::from(input) * i32::from(error) + (1 << 9)) >> 10;
                *weight = (*weight + more).clamp(-MOST, MOST);
            }
        }
    }
}
