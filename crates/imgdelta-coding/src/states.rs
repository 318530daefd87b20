//! The state of a context in one byte: how often it was followed by each bit, and by which one last.
//! Never a probability: what a state is worth is learnt ([`Rates`]).

// Odds have at most 17 bits, and sums are clamped to 12 bits before they are narrowed.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "see above"
)]

use crate::arithmetic::squash;

/// Most of the larger count, by the smaller one. Larger counts say nothing new.
const MOST: [u8; 5] = [41, 28, 13, 7, 5];

/// The rest of a count of 0 to 15 when the other bit comes. A surprise makes old bits count less.
const KEPT: [u8; 16] = [0, 1, 2, 2, 3, 3, 4, 4, 5, 5, 5, 6, 6, 6, 6, 7];

/// Up to this count of both bits, the last bit belongs to the state.
const MOST_WITH_LAST: u8 = 9;

/// All states in the order of their numbers; 0 is that of a context which was never seen.
#[derive(Clone)]
pub(crate) struct States {
    /// The next state for each bit.
    pub(crate) next: [[u8; 2]; 256],
    /// Counts of zeros and ones.
    pub(crate) counts: [[u8; 2]; 256],
    /// Their sum.
    pub(crate) used: [u8; 256],
}

impl States {
    pub(crate) fn new() -> Self {
        let mut list = Vec::new();
        for total in 0..=MOST[0] + 1 {
            for zeros in 0..=total {
                let counts = [zeros, total - zeros];
                if is_state(counts) {
                    list.push((counts, 0));
                    if keeps_last(counts) {
                        list.push((counts, 1));
                    }
                }
            }
        }
        let mut states = Self { next: [[0; 2]; 256], counts: [[0; 2]; 256], used: [0; 256] };
        for (number, &(counts, _)) in list.iter().enumerate().take(256) {
            states.counts[number] = counts;
            states.used[number] = counts[0] + counts[1];
            for bit in [0, 1] {
                let after = after(counts, bit);
                let wanted = (after, if keeps_last(after) { bit } else { 0 });
                let place = list.iter().position(|state| *state == wanted);
                states.next[number][bit] = place.unwrap_or(0) as u8;
            }
        }
        states
    }
}

fn is_state(counts: [u8; 2]) -> bool {
    let (less, more) = (counts[0].min(counts[1]), counts[0].max(counts[1]));
    MOST.get(usize::from(less)).is_some_and(|&most| more <= most)
}

fn keeps_last(counts: [u8; 2]) -> bool {
    counts[0].min(counts[1]) > 0 && counts[0].max(counts[1]) <= MOST_WITH_LAST
}

/// Returns the counts after a bit.
fn after(mut counts: [u8; 2], bit: usize) -> [u8; 2] {
    let other = 1 - bit;
    counts[bit] += 1;
    if counts[other] > 2 {
        counts[other] = KEPT[usize::from(counts[other].min(15))];
    }
    while !is_state(counts) {
        let less = if counts[0].min(counts[1]) < MOST.len() as u8 {
            usize::from(counts[0] <= counts[1])
        } else if counts[0] == counts[1] {
            other
        } else {
            usize::from(counts[1] < counts[0])
        };
        counts[less] -= 1;
    }
    counts
}

/// A probability that is learnt: 22 bits of odds, and a count of 10 bits.
pub(crate) type Rate = u32;

/// The rate of something that was never seen.
pub(crate) const UNSEEN: Rate = 1 << 31;

/// Returns a rate with these odds of 65,536, as if it was seen `count` times.
pub(crate) fn rate(odds: u32, count: u32) -> Rate {
    odds.min(65_535) << 16 | count
}

/// Returns a rate's odds of 65,536.
#[inline]
pub(crate) fn odds(rate: Rate) -> u32 {
    rate >> 16
}

/// Returns the number of bits that a rate has seen, at most its limit.
#[inline]
pub(crate) fn seen(rate: Rate) -> u32 {
    rate & 1023
}

/// Moves rates towards bits: by a share that falls with the number of bits seen.
#[derive(Clone)]
pub(crate) struct Rates([i64; 1024]);

impl Rates {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|count| 655_360 / (10 * count as i64 + 16)))
    }

    /// Moves `rate` towards a bit; its count grows up to `limit`, at most 1023.
    #[inline]
    pub(crate) fn learn(&self, rate: &mut Rate, bit: u32, limit: u32) {
        let (count, odds) = (*rate & 1023, i64::from(*rate >> 10));
        let wanted = if bit == 1 { (1 << 22) - 1 } else { 0 };
        // The move of the odds, which has 16 bits behind the point, at their place in the rate.
        let more = ((wanted - odds) * self.0[count as usize & 1023]) >> 6 & !1023;
        *rate = rate.wrapping_add(more as u32) + u32::from(count < limit);
    }
}

/// Corrections of odds by a context, each between 33 places of the logarithm.
#[derive(Clone)]
pub(crate) struct Refinement {
    table: Vec<u16>,
    at: usize,
}

impl Refinement {
    pub(crate) fn new(contexts: usize) -> Self {
        let table = (0..contexts * 33).map(|i| squash((i as i32 % 33 - 16) * 128) as u16);
        Self { table: table.collect(), at: 0 }
    }

    /// Returns corrected odds for a logarithm of odds.
    #[inline]
    pub(crate) fn odds(&mut self, context: usize, stretched: i32) -> u32 {
        let place = (stretched + 2048) as usize;
        let (at, part) = (context * 33 + place / 128, (place % 128) as u32);
        self.at = at + usize::from(part >= 64);
        let (left, right) = (u32::from(self.table[at]), u32::from(self.table[at + 1]));
        (left * (128 - part) + right * part) >> 7
    }

    #[inline]
    pub(crate) fn learn(&mut self, bit: u32) {
        let odds = &mut self.table[self.at];
        if bit == 1 {
            *odds += (65_535 - *odds) >> 6;
        } else {
            *odds -= *odds >> 6;
        }
    }
}
