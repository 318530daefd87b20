//! Tables for finite state entropy coding (FSE), built as klauspost/compress builds them.
//!
//! Counts of symbols are scaled to shares whose sum is a power of two; the shares are written to
//! the stream and make the states. The coder is Yann Collet's FSE. Where the format leaves a choice
//! (accuracy, rounding), the choice is that of Klaus Post's port: see docs/encoders.md.
//! Never knows the meaning of symbols: both sequences and Huffman weights use it.

use crate::bits::{BitWriter, high_bit};

/// Smallest accuracy that the format allows, in bits.
const MIN_LOG: u32 = 5;

/// An encoding table.
#[derive(Clone, Default)]
pub(crate) struct FseTable {
    /// Accuracy in bits. 0 for a table of one symbol, which takes no bits.
    pub(crate) log: u32,
    /// The share of each symbol. -1 stands for a share of less than one.
    shares: Vec<i16>,
    /// The states of each symbol, in symbol order.
    states: Vec<u16>,
    steps: Vec<SymbolTransition>,
}

/// The change of the state by one symbol.
#[derive(Clone, Copy, Default)]
struct SymbolTransition {
    /// After adding this to the state, the upper 16 bits are the number of bits to write.
    bits: u32,
    /// Offset from the remaining state to the index of the next state.
    next: i32,
}

/// The state of an encoder between two symbols.
#[derive(Clone, Copy)]
pub(crate) struct FseState(u32);

impl FseTable {
    /// Builds the table of a single symbol, which takes no bits.
    pub(crate) fn single(symbol: u8) -> Self {
        let symbols = usize::from(symbol) + 1;
        Self {
            log: 0,
            shares: vec![0; symbols],
            states: vec![0],
            steps: vec![SymbolTransition::default(); symbols],
        }
    }

    /// Builds the table for shares whose sum is `1 << log`.
    pub(crate) fn new(shares: &[i16], log: u32) -> Self {
        let size = 1usize << log;
        let mut spread = vec![0u8; size];
        let mut rare_from = size;
        let mut starts = Vec::with_capacity(shares.len());
        let mut start = 0usize;
        for (symbol, &share) in shares.iter().enumerate() {
            starts.push(start);
            if share == -1 {
                rare_from -= 1;
                spread[rare_from] = symbol as u8;
            }
            start += usize::from(share.unsigned_abs());
        }
        let step = (size >> 1) + (size >> 3) + 3;
        let mut place = 0;
        for (symbol, &share) in shares.iter().enumerate() {
            for _ in 0..share.max(0) {
                spread[place] = symbol as u8;
                place = (place + step) & (size - 1);
                while place >= rare_from {
                    place = (place + step) & (size - 1);
                }
            }
        }
        let mut states = vec![0u16; size];
        let mut free = starts.clone();
        for (at, &symbol) in spread.iter().enumerate() {
            let slot = &mut free[usize::from(symbol)];
            states[*slot] = (size + at) as u16;
            *slot += 1;
        }
        let steps = (shares.iter().zip(&starts))
            .map(|(&share, &start)| match share {
                0 => SymbolTransition::default(),
                1 | -1 => {
                    SymbolTransition { bits: (log << 16) - size as u32, next: start as i32 - 1 }
                }
                _ => {
                    let most = log - high_bit(share as u32 - 1);
                    SymbolTransition {
                        bits: (most << 16) - ((share as u32) << most),
                        next: start as i32 - i32::from(share),
                    }
                }
            })
            .collect();
        Self { log, shares: shares.to_vec(), states, steps }
    }

    /// Returns the first state of an encoder, for the last symbol of a stream.
    pub(crate) fn start(&self, symbol: u8) -> FseState {
        if self.log == 0 {
            return FseState(0);
        }
        let step = self.steps[usize::from(symbol)];
        let bits = (step.bits + (1 << 15)) >> 16;
        let rest = ((bits << 16).wrapping_sub(step.bits) as i32) >> bits;
        FseState(u32::from(self.states[(rest + step.next) as usize]))
    }

    /// Encodes the symbol before the last one: an encoder goes backwards.
    #[inline]
    pub(crate) fn encode(&self, state: &mut FseState, symbol: u8, out: &mut BitWriter) {
        if self.log == 0 {
            return;
        }
        let step = self.steps[usize::from(symbol)];
        let bits = state.0.wrapping_add(step.bits) >> 16;
        out.put(state.0, bits);
        state.0 = u32::from(self.states[((state.0 >> bits) as i32 + step.next) as usize]);
    }

    /// Writes the final state, with which a reader starts.
    pub(crate) fn end(&self, state: FseState, out: &mut BitWriter) {
        out.put(state.0, self.log);
    }

    /// Returns the fewest bits that a symbol takes, or 0 for a symbol without an entry.
    pub(crate) fn whole_bits(&self, symbol: u8) -> u32 {
        self.steps.get(usize::from(symbol)).map_or(0, |step| step.bits >> 16)
    }

    /// Estimates the bits of symbols with these counts. `None` if the table lacks one of them.
    pub(crate) fn cost(&self, counts: &[u32]) -> Option<u32> {
        if self.log == 0 || self.shares.len() < counts.len() {
            return None;
        }
        let worst = (self.log + 1) << 8;
        let mut cost = 0u32;
        for (symbol, &count) in counts.iter().enumerate().filter(|&(_, &count)| count > 0) {
            if self.shares[symbol] == 0 {
                return None;
            }
            // In 1/256 bits. Between two powers of two the cost is a straight line.
            let step = self.steps[symbol].bits;
            let fewest = step >> 16;
            let short = ((fewest + 1) << 16).wrapping_sub(step.wrapping_add(1 << self.log));
            let bits = ((fewest + 1) << 8).wrapping_sub((short << 8) >> self.log);
            if bits > worst {
                return None;
            }
            cost = cost.wrapping_add(count.wrapping_mul(bits));
        }
        Some(cost >> 8)
    }

    /// Writes the shares in the form of the format.
    pub(crate) fn write_shares(&self, out: &mut Vec<u8>) {
        let mut bits = BitWriter::new(out);
        bits.put(self.log - MIN_LOG, 4);
        let mut left = (1i32 << self.log) + 1;
        let mut limit = 1i32 << self.log;
        let mut width = self.log + 1;
        let mut symbol = 0;
        let mut after_zero = false;
        while left > 1 {
            if after_zero {
                let from = symbol;
                while self.shares.get(symbol) == Some(&0) {
                    symbol += 1;
                }
                let mut zeros = symbol - from;
                while zeros >= 24 {
                    bits.put(0xffff, 16);
                    zeros -= 24;
                }
                while zeros >= 3 {
                    bits.put(3, 2);
                    zeros -= 3;
                }
                bits.put(zeros as u32, 2);
            }
            // The shares add up, so the loop ends before the symbols do.
            let Some(&share) = self.shares.get(symbol) else { break };
            symbol += 1;
            let most = 2 * limit - 1 - left;
            left -= i32::from(share).abs();
            let mut value = i32::from(share) + 1;
            if value >= limit {
                value += most;
            }
            bits.put(value as u32, width - u32::from(value < most));
            after_zero = value == 1;
            while left < limit && limit > 1 {
                width -= 1;
                limit >>= 1;
            }
        }
        bits.pad();
    }
}

/// Returns the accuracy in bits for `total` symbols of `kinds` kinds, at most `wanted`.
/// `fewest` is the lower limit for this total, which sequences and weights compute differently.
pub(crate) fn accuracy(total: u32, kinds: usize, wanted: u32, fewest: u32) -> u32 {
    // In `u8` like the original: below three symbols the result wraps and does not limit anything.
    let by_total = (high_bit(total.wrapping_sub(1)) as u8).wrapping_sub(2);
    let by_kinds = high_bit(kinds as u32 - 1).wrapping_add(2);
    let log = wanted.min(u32::from(by_total));
    log.max(fewest.min(by_kinds)).max(MIN_LOG)
}

/// Scales counts whose sum is `total` to shares whose sum is `1 << log`.
/// `None` where the original fails, which counts of real symbols do not reach.
pub(crate) fn normalise(counts: &[u32], total: u32, log: u32) -> Option<Vec<i16>> {
    /// Fraction, in units of 2^-20, above which a small share is rounded up.
    const ROUND_UP: [u64; 8] = [0, 473_195, 504_333, 520_860, 550_000, 700_000, 750_000, 830_000];
    let scale = 62 - log;
    let step = (1u64 << 62) / u64::from(total);
    let rare = total >> log;
    let mut left = 1i32 << log;
    let mut largest = (0usize, 0i16);
    let mut shares = vec![0i16; counts.len()];
    for (symbol, &count) in counts.iter().enumerate() {
        shares[symbol] = if count == 0 {
            continue;
        } else if count <= rare {
            left -= 1;
            -1
        } else {
            let exact = u64::from(count) * step;
            let mut share = (exact >> scale) as i16;
            if share < 8 {
                let over = exact - ((share as u64) << scale);
                share += i16::from(over > ROUND_UP[share as usize] << (scale - 20));
            }
            if share > largest.1 {
                largest = (symbol, share);
            }
            left -= i32::from(share);
            share
        };
    }
    let most = &mut shares[largest.0];
    if -left >= i32::from(*most >> 1) {
        return normalise_slowly(counts, total, log);
    }
    *most += left as i16;
    Some(shares)
}

/// Scales counts where the fast method takes too much from the largest share.
fn normalise_slowly(counts: &[u32], total: u32, log: u32) -> Option<Vec<i16>> {
    const OPEN: i16 = -2;
    let mut shares = vec![0i16; counts.len()];
    let mut given = 0u32;
    let mut rest = total;
    let rare = total >> log;
    let mut one = (total * 3) >> (log + 1);
    for (share, &count) in shares.iter_mut().zip(counts).filter(|(_, count)| **count > 0) {
        *share = match count {
            _ if count <= rare => -1,
            _ if count <= one => 1,
            _ => OPEN,
        };
        if *share != OPEN {
            given += 1;
            rest -= count;
        }
    }
    let mut left = (1u32 << log).checked_sub(given).filter(|&left| left > 0)?;
    if rest / left > one {
        one = (rest * 3) / (left * 2);
        for (share, &count) in shares.iter_mut().zip(counts) {
            if *share == OPEN && count <= one {
                *share = 1;
                given += 1;
                rest -= count;
            }
        }
        left = (1u32 << log).checked_sub(given)?;
    }
    if given == counts.len() as u32 + 1 {
        let best = (0..counts.len()).rev().max_by_key(|&symbol| counts[symbol])?;
        shares[best] += left as i16;
        return Some(shares);
    }
    if rest == 0 {
        if !shares.iter().any(|&share| share > 0) {
            return None;
        }
        for symbol in (0..counts.len()).cycle() {
            if left == 0 {
                break;
            }
            if shares[symbol] > 0 {
                left -= 1;
                shares[symbol] += 1;
            }
        }
        return Some(shares);
    }
    let scale = 62 - log;
    let half = (1u64 << (scale - 1)) - 1;
    let step = ((u64::from(left) << scale) + half) / u64::from(rest);
    let mut at = half;
    for (share, &count) in shares.iter_mut().zip(counts).filter(|(share, _)| **share == OPEN) {
        let end = at + u64::from(count) * step;
        *share = ((end >> scale) - (at >> scale)) as i16;
        if *share < 1 {
            return None;
        }
        at = end;
    }
    Some(shares)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_shares_is_the_table_size() {
        for (counts, total) in [
            (vec![1, 1, 1000, 3], 1005),
            (vec![40; 30], 1200),
            (vec![1, 2, 3, 5, 8, 13, 21, 34, 55, 89], 231),
            (vec![5, 0, 0, 7], 12),
        ] {
            for log in 5..=8 {
                let shares = normalise(&counts, total, log).unwrap();
                let sum: i32 = shares.iter().map(|&share| i32::from(share).abs()).sum();
                assert_eq!(sum, 1 << log, "{counts:?} in {log} bits: {shares:?}");
                let absent: Vec<bool> = counts.iter().map(|&count| count == 0).collect();
                assert_eq!(shares.iter().map(|&share| share == 0).collect::<Vec<_>>(), absent);
            }
        }
    }

    #[test]
    fn accuracy_of_few_symbols_is_not_limited_by_their_number() {
        assert_eq!(accuracy(2, 2, 8, 2), 8);
        assert_eq!(accuracy(100, 2, 8, 7), 5);
        assert_eq!(accuracy(30_000, 36, 8, 15), 8);
    }
}
