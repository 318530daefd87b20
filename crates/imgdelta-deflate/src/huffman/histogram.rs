//! Counts of the symbols in a block, and prices that follow from them.
//!
//! Never chooses a form or a code.

use crate::alphabet::{
    DISTANCE_EXTRA, DISTANCE_SYMBOLS, END_OF_BLOCK, LENGTH_CODE, LENGTH_EXTRA, LITLEN_SYMBOLS,
    distance_code, fixed_litlen_length,
};
use crate::token::Token;

/// Counts of the two alphabets.
#[derive(Clone)]
pub(crate) struct Histogram {
    pub(crate) litlen: [u32; LITLEN_SYMBOLS],
    pub(crate) distance: [u32; DISTANCE_SYMBOLS],
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { litlen: [0; LITLEN_SYMBOLS], distance: [0; DISTANCE_SYMBOLS] }
    }

    /// Counts tokens, without the end of the block.
    pub(crate) fn of(tokens: &[Token]) -> Self {
        let mut counts = Self::new();
        for &token in tokens {
            if token.is_copy() {
                let code = if token.is_long_form() {
                    27
                } else {
                    usize::from(LENGTH_CODE[token.length_index()])
                };
                counts.litlen[END_OF_BLOCK + 1 + code] += 1;
                counts.distance[distance_code(token.distance())] += 1;
            } else {
                counts.litlen[usize::from(token.byte())] += 1;
            }
        }
        counts
    }

    /// Counts literal bytes.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Self {
        let mut counts = Self::new();
        for &byte in bytes {
            counts.litlen[usize::from(byte)] += 1;
        }
        counts
    }

    /// Returns the highest used literal/length symbol plus one.
    pub(crate) fn litlen_count(&self) -> usize {
        self.litlen.iter().rposition(|&n| n != 0).map_or(0, |last| last + 1)
    }

    /// Returns the highest used distance symbol plus one.
    pub(crate) fn distance_count(&self) -> usize {
        self.distance.iter().rposition(|&n| n != 0).map_or(0, |last| last + 1)
    }

    /// Returns the extra bits of all counted symbols.
    pub(crate) fn extra_bits(&self) -> u64 {
        let lengths = self.litlen[END_OF_BLOCK + 1..].iter().zip(&LENGTH_EXTRA);
        let distances = self.distance.iter().zip(&DISTANCE_EXTRA);
        lengths.chain(distances).map(|(&n, &bits)| u64::from(n) * u64::from(bits)).sum()
    }

    /// Returns the bits of a fixed block with these symbols, without extra bits.
    pub(crate) fn fixed_price(&self) -> u64 {
        let litlen: u64 = self
            .litlen
            .iter()
            .enumerate()
            .map(|(symbol, &n)| u64::from(n) * u64::from(fixed_litlen_length(symbol)))
            .sum();
        let distance: u64 = self.distance.iter().map(|&n| u64::from(n) * 5).sum();
        3 + litlen + distance
    }
}
