//! Writes a block as zlib, gzip and pigz do: stored, fixed or dynamic.
//!
//! Compares sizes in whole bytes. Never searches for copies.

use super::tree::heap_lengths;
use crate::alphabet::{DISTANCE_SYMBOLS, END_OF_BLOCK, LITLEN_SYMBOLS};
use crate::bits::BitWriter;
use crate::huffman::{DynamicHeader, Histogram, HuffmanCodes, write_tokens};
use crate::token::Token;

/// Writes a block. `raw` is `None` if its bytes are no longer in the buffer.
pub(crate) fn write_block(
    bits: &mut BitWriter,
    tokens: &[Token],
    raw: Option<&[u8]>,
    raw_bytes: usize,
    is_final: bool,
    fixed_only: bool,
) {
    let mut counts = Histogram::of(tokens);
    counts.litlen[END_OF_BLOCK] = 1;
    let mut litlen = [0; LITLEN_SYMBOLS];
    let mut distance = [0; DISTANCE_SYMBOLS];
    let litlen_count = heap_lengths(&counts.litlen, 15, &mut litlen);
    let distance_count = heap_lengths(&counts.distance, 15, &mut distance);
    let header = DynamicHeader::plan_apart(
        &litlen[..litlen_count],
        &distance[..distance_count],
        |counts, lengths| {
            heap_lengths(counts, 7, lengths);
        },
    );
    let codes = HuffmanCodes::new(&litlen, &distance);
    let extra = counts.extra_bits();
    let dynamic = (header.bits() + codes.price(&counts) + extra).div_ceil(8);
    let fixed = (counts.fixed_price() + extra).div_ceil(8);
    let best = if fixed <= dynamic || fixed_only { fixed } else { dynamic };
    match raw {
        Some(raw) if raw_bytes as u64 + 4 <= best && raw_bytes <= 0xffff => {
            bits.stored_block(raw, is_final);
        }
        _ if best == fixed => {
            let codes = HuffmanCodes::fixed();
            bits.put(2 | u32::from(is_final), 3);
            write_tokens(bits, &codes, tokens);
            codes.write_end(bits);
        }
        _ => {
            header.write(bits, is_final);
            write_tokens(bits, &codes, tokens);
            codes.write_end(bits);
        }
    }
}
