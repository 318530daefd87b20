//! The two canonical codes of a block, and the writing of tokens with them.
//!
//! Never chooses code lengths.

use super::Histogram;
use crate::alphabet::{
    DISTANCE_BASE, DISTANCE_EXTRA, DISTANCE_SYMBOLS, END_OF_BLOCK, LENGTH_BASE, LENGTH_CODE,
    LENGTH_EXTRA, LITLEN_SYMBOLS, MIN_COPY, distance_code, fixed_litlen_length,
};
use crate::bits::BitWriter;
use crate::token::Token;

/// The bits of a code, with their number in the top byte.
type PackedCode = u32;

/// The literal/length and distance code of a block.
#[derive(Clone)]
pub(crate) struct HuffmanCodes {
    pub(crate) litlen_lengths: [u8; LITLEN_SYMBOLS],
    pub(crate) distance_lengths: [u8; DISTANCE_SYMBOLS],
    litlen: [PackedCode; LITLEN_SYMBOLS],
    distance: [PackedCode; DISTANCE_ENTRIES],
}

/// Calls `each` with every symbol and its canonical code, whose first bit is the lowest.
pub(crate) fn canonical_codes(lengths: &[u8], mut each: impl FnMut(usize, u16)) {
    let mut counts = [0u16; 16];
    for &length in lengths {
        counts[usize::from(length & 15)] += 1;
    }
    counts[0] = 0;
    let mut next = [0u16; 16];
    for bits in 1..16 {
        next[bits] = (next[bits - 1].wrapping_add(counts[bits - 1])) << 1;
    }
    for (symbol, &length) in lengths.iter().enumerate() {
        if length != 0 {
            let code = &mut next[usize::from(length & 15)];
            each(symbol, code.reverse_bits() >> (16 - length));
            *code = code.wrapping_add(1);
        }
    }
}

impl HuffmanCodes {
    /// Makes the codes of the given lengths. Missing symbols get no code.
    pub(crate) fn new(litlen_lengths: &[u8], distance_lengths: &[u8]) -> Self {
        let mut codes = Self {
            litlen_lengths: [0; LITLEN_SYMBOLS],
            distance_lengths: [0; DISTANCE_SYMBOLS],
            litlen: [0; LITLEN_SYMBOLS],
            distance: [0; DISTANCE_ENTRIES],
        };
        codes.litlen_lengths[..litlen_lengths.len()].copy_from_slice(litlen_lengths);
        codes.distance_lengths[..distance_lengths.len()].copy_from_slice(distance_lengths);
        canonical_codes(&codes.litlen_lengths, |symbol, code| {
            codes.litlen[symbol] = u32::from(code) | u32::from(codes.litlen_lengths[symbol]) << 24;
        });
        canonical_codes(&codes.distance_lengths, |symbol, code| {
            codes.distance[symbol] =
                u32::from(code) | u32::from(codes.distance_lengths[symbol]) << 24;
        });
        codes
    }

    /// Makes the codes of fixed blocks.
    pub(crate) fn fixed() -> Self {
        let mut codes = Self::new(&[], &[5; DISTANCE_SYMBOLS]);
        // The two invalid symbols still change the values of the nine-bit codes.
        let lengths: [u8; 288] = std::array::from_fn(fixed_litlen_length);
        canonical_codes(&lengths, |symbol, code| {
            if symbol < LITLEN_SYMBOLS {
                codes.litlen_lengths[symbol] = lengths[symbol];
                codes.litlen[symbol] = u32::from(code) | u32::from(lengths[symbol]) << 24;
            }
        });
        codes
    }

    /// Returns the bits of the counted symbols, without extra bits.
    pub(crate) fn price(&self, counts: &Histogram) -> u64 {
        let sum = |counts: &[u32], lengths: &[u8]| -> u64 {
            counts.iter().zip(lengths).map(|(&n, &bits)| u64::from(n) * u64::from(bits)).sum()
        };
        sum(&counts.litlen, &self.litlen_lengths) + sum(&counts.distance, &self.distance_lengths)
    }

    /// True if every counted symbol has a code.
    pub(crate) fn covers(&self, counts: &Histogram) -> bool {
        let has = |counts: &[u32], lengths: &[u8]| {
            counts.iter().zip(lengths).all(|(&n, &bits)| n == 0 || bits != 0)
        };
        has(&counts.litlen, &self.litlen_lengths) && has(&counts.distance, &self.distance_lengths)
    }

    /// Writes one literal.
    #[inline]
    pub(crate) fn write_literal(&self, bits: &mut BitWriter, byte: u8) {
        let packed = self.litlen[usize::from(byte)];
        bits.put(packed & 0xff_ffff, packed >> 24);
    }

    /// Writes the end of the block.
    pub(crate) fn write_end(&self, bits: &mut BitWriter) {
        let packed = self.litlen[END_OF_BLOCK];
        bits.put(packed & 0xff_ffff, packed >> 24);
    }

    /// Returns the code of length 258 in the long form, with its extra bits.
    fn long_form(&self) -> PackedCode {
        let packed = self.litlen[284];
        packed & 0xff_ffff | 31 << (packed >> 24) | ((packed >> 24) + 5) << 24
    }

    /// Returns the code of each length with its extra bits, by length minus 3.
    fn whole_lengths(&self) -> [PackedCode; 256] {
        let mut whole = [0; 256];
        for (index, slot) in whole.iter_mut().enumerate() {
            let code = usize::from(LENGTH_CODE[index]);
            let packed = self.litlen[END_OF_BLOCK + 1 + code];
            let extra = (index + MIN_COPY) as u32 - u32::from(LENGTH_BASE[code]);
            let code_bits = packed >> 24;
            *slot = (packed & 0xff_ffff)
                | extra << code_bits
                | (code_bits + u32::from(LENGTH_EXTRA[code])) << 24;
        }
        whole
    }
}

/// Writes tokens, without the end of the block.
pub(crate) fn write_tokens(bits: &mut BitWriter, codes: &HuffmanCodes, tokens: &[Token]) {
    let lengths = codes.whole_lengths();
    // A token takes at most 48 bits. Pieces limit the memory that is cleared in advance.
    for tokens in tokens.chunks(PIECE_TOKENS) {
        let mut run = bits.run(6 * tokens.len());
        for &token in tokens {
            if token.is_copy() {
                let packed = if token.is_long_form() {
                    codes.long_form()
                } else {
                    lengths[token.length_index()]
                };
                run.put(packed & 0xff_ffff, packed >> 24);
                let distance = token.distance();
                let code = distance_code(distance) % DISTANCE_ENTRIES;
                let packed = codes.distance[code];
                let extra = distance as u32 - u32::from(DISTANCE_BASE_AND_EXTRA[code].0);
                let code_bits = packed >> 24;
                run.put(
                    packed & 0xff_ffff | extra << (code_bits & 31),
                    code_bits + u32::from(DISTANCE_BASE_AND_EXTRA[code].1),
                );
            } else {
                let packed = codes.litlen[usize::from(token.byte())];
                run.put(packed & 0xff_ffff, packed >> 24);
            }
            run.make_room();
        }
        run.end();
    }
}

/// Tokens written at a time.
const PIECE_TOKENS: usize = 4096;
/// Number of distance codes, rounded up to a power of two. A mask then replaces the bounds check.
const DISTANCE_ENTRIES: usize = 32;
/// Nearest distance and extra bits of each distance code.
const DISTANCE_BASE_AND_EXTRA: [(u16, u8); DISTANCE_ENTRIES] = {
    let mut both = [(0, 0); DISTANCE_ENTRIES];
    let mut code = 0;
    while code < DISTANCE_SYMBOLS {
        both[code] = (DISTANCE_BASE[code], DISTANCE_EXTRA[code]);
        code += 1;
    }
    both
};
