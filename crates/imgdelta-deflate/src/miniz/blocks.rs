//! The blocks of `miniz_oxide`: fixed below 48 bytes, stored if that is not longer, and dynamic.
//!
//! Code lengths are optimal, and then shortened to the limit. Of symbols with equal counts the higher
//! one gets the shorter code. Never searches for copies.

use crate::alphabet::{DISTANCE_SYMBOLS, END_OF_BLOCK, LITLEN_SYMBOLS};
use crate::bits::BitWriter;
use crate::huffman::{DynamicHeader, Histogram, HuffmanCodes, write_tokens};
use crate::token::Token;

/// The tokens of a block, with the bytes that they take in the original's buffer.
#[derive(Default)]
pub(super) struct BlockTokens {
    tokens: Vec<Token>,
    /// Three bytes for a copy, and one for a literal.
    code_bytes: usize,
    plain_bytes: usize,
}

/// Bytes of the original's buffer, without those of one more token.
const MOST_CODE_BYTES: usize = 65_528;
/// Plain bytes of a block from which it must become smaller.
const FAT_BYTES: usize = 31 << 10;
/// Most plain bytes of a fixed block.
const FIXED_BYTES: usize = 47;
/// Most plain bytes that are never stored.
const UNSTORED_BYTES: usize = 32;

impl BlockTokens {
    pub(super) fn clear(&mut self) {
        self.tokens.clear();
        self.code_bytes = 0;
        self.plain_bytes = 0;
    }

    pub(super) fn push(&mut self, token: Token) {
        self.tokens.push(token);
        self.code_bytes += if token.is_copy() { 3 } else { 1 };
        self.plain_bytes += token.plain_bytes();
    }

    pub(super) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    pub(super) fn plain_bytes(&self) -> usize {
        self.plain_bytes
    }

    /// Returns the bytes in the original's buffer: a byte of flags precedes each eight tokens.
    fn buffer_bytes(&self) -> usize {
        self.code_bytes + self.tokens.len() / 8 + 1
    }

    /// True if the original's buffer is full.
    pub(super) fn is_full(&self) -> bool {
        self.buffer_bytes() > MOST_CODE_BYTES
    }

    /// True if the tokens take so many bytes that the block hardly becomes smaller.
    pub(super) fn is_fat(&self) -> bool {
        self.plain_bytes > FAT_BYTES && (self.buffer_bytes() * 115) >> 7 >= self.plain_bytes
    }
}

/// Writes a block. `raw` is `None` if its bytes are no longer in the window.
pub(super) fn write_block(
    bits: &mut BitWriter,
    block: &BlockTokens,
    raw: Option<&[u8]>,
    is_final: bool,
) {
    let mut counts = Histogram::of(block.tokens());
    counts.litlen[END_OF_BLOCK] = 1;
    let is_fixed = block.plain_bytes <= FIXED_BYTES;
    let mut litlen = [0; LITLEN_SYMBOLS];
    let mut distance = [0; DISTANCE_SYMBOLS];
    sorted_lengths(&counts.litlen, 15, &mut litlen);
    sorted_lengths(&counts.distance, 15, &mut distance);
    let used = |lengths: &[u8], least: usize| {
        lengths.iter().rposition(|&length| length != 0).map_or(least, |last| least.max(last + 1))
    };
    let header = DynamicHeader::plan_joined(
        &litlen[..used(&litlen, END_OF_BLOCK + 1)],
        &distance[..used(&distance, 1)],
        |counts, lengths| sorted_lengths(counts, 7, lengths),
    );
    let codes =
        if is_fixed { HuffmanCodes::fixed() } else { HuffmanCodes::new(&litlen, &distance) };
    let size = counts.extra_bits()
        + if is_fixed { counts.fixed_price() } else { header.bits() + codes.price(&counts) };
    // The original counts complete bytes, from the bit that marks the last block.
    let phase = u64::from(bits.phase());
    let bytes = (phase + size) / 8 - (phase + 1) / 8;
    match raw {
        Some(raw) if raw.len() > UNSTORED_BYTES && bytes + 1 >= raw.len() as u64 => {
            bits.stored_block(&raw[..raw.len().min(0xffff)], is_final);
            return;
        }
        _ if is_fixed => bits.put(2 | u32::from(is_final), 3),
        _ => header.write(bits, is_final),
    }
    write_tokens(bits, &codes, block.tokens());
    codes.write_end(bits);
}

/// Sets `lengths` to those of a code for `counts`, at most `limit` long.
fn sorted_lengths(counts: &[u32], limit: usize, lengths: &mut [u8]) {
    lengths.fill(0);
    let mut symbols: Vec<(u32, usize)> = (0..counts.len())
        .filter(|&symbol| counts[symbol] != 0)
        .map(|symbol| (counts[symbol], symbol))
        .collect();
    symbols.sort_unstable();
    let mut of_length = leaves_by_depth(&symbols);
    if symbols.len() > 1 {
        shorten(&mut of_length, limit);
    }
    let mut commonest = symbols.iter().rev();
    for (length, &count) in of_length.iter().enumerate().take(limit + 1) {
        for &(_, symbol) in commonest.by_ref().take(count) {
            lengths[symbol] = length as u8;
        }
    }
}

/// Returns the number of leaves at each depth of a Huffman tree. Of equal weights, a leaf is joined
/// before an inner node.
fn leaves_by_depth(symbols: &[(u32, usize)]) -> Vec<usize> {
    let count = symbols.len();
    let mut of_depth = vec![0; count.max(2)];
    if count < 2 {
        of_depth[1] = count;
        return of_depth;
    }
    // Nodes below `count` are leaves, and the others inner nodes in the order of joining.
    let mut parents = vec![0; 2 * count - 1];
    let mut weights: Vec<u32> = symbols.iter().map(|&(weight, _)| weight).collect();
    let (mut leaf, mut inner) = (0, count);
    for node in count..2 * count - 1 {
        let mut weight = 0;
        for _ in 0..2 {
            let takes_leaf = leaf < count && (inner == node || weights[leaf] <= weights[inner]);
            let place = if takes_leaf { &mut leaf } else { &mut inner };
            parents[*place] = node;
            weight += weights[*place];
            *place += 1;
        }
        weights.push(weight);
    }
    let mut depths = vec![0; 2 * count - 1];
    for node in (0..2 * count - 2).rev() {
        depths[node] = depths[parents[node]] + 1;
        if node < count {
            of_depth[depths[node]] += 1;
        }
    }
    of_depth
}

/// Moves leaves that are too deep to the limit, and others down until the code is complete.
fn shorten(of_depth: &mut Vec<usize>, limit: usize) {
    if of_depth.len() <= limit + 1 {
        of_depth.resize(limit + 1, 0);
    }
    let deep: usize = of_depth.drain(limit + 1..).sum();
    of_depth[limit] += deep;
    let total: usize = (1..=limit).map(|depth| of_depth[depth] << (limit - depth)).sum();
    for _ in 1 << limit..total {
        of_depth[limit] -= 1;
        if let Some(depth) = (1..limit).rev().find(|&depth| of_depth[depth] != 0) {
            of_depth[depth] -= 1;
            of_depth[depth + 1] += 2;
        }
    }
}
