//! Writes a block as Go does: stored, fixed or dynamic.
//!
//! Prices ignore the bit phase. The distance code always has a symbol: in a block without copies,
//! symbol 0 counts as one. Never searches for copies.

use crate::alphabet::{DISTANCE_SYMBOLS, END_OF_BLOCK, LITLEN_SYMBOLS};
use crate::bits::BitWriter;
use crate::huffman::{DynamicHeader, Histogram, HuffmanCodes, package_merge, write_tokens};
use crate::token::Token;

/// Writes the smallest form, for levels 2 to 9. `raw` is `None` if the block cannot be stored.
pub(super) fn smallest(bits: &mut BitWriter, tokens: &[Token], raw: Option<&[u8]>) {
    let (counts, codes, header) = plan(Histogram::of(tokens));
    let raw = storable(raw);
    let extra = if raw.is_some() { counts.extra_bits() } else { 0 };
    let fixed = counts.fixed_price() + extra;
    let dynamic = header.bits() + codes.price(&counts) + extra;
    match raw {
        Some(raw) if stored_price(raw) < fixed.min(dynamic) => bits.stored_block(raw, false),
        _ if dynamic < fixed => write_dynamic(bits, &header, &codes, tokens),
        _ => {
            let codes = HuffmanCodes::fixed();
            bits.put(2, 3);
            write_tokens(bits, &codes, tokens);
            codes.write_end(bits);
        }
    }
}

/// Writes a dynamic block, or a stored one if that is about as small, for level 1.
pub(super) fn dynamic(bits: &mut BitWriter, tokens: &[Token], raw: &[u8]) {
    let (counts, codes, header) = plan(Histogram::of(tokens));
    let size = header.bits() + codes.price(&counts);
    if stored_price(raw) < size + (size >> 4) {
        bits.stored_block(raw, false);
    } else {
        write_dynamic(bits, &header, &codes, tokens);
    }
}

/// Writes a dynamic block of literals, or a stored one if that is about as small.
pub(super) fn literals_only(bits: &mut BitWriter, raw: &[u8]) {
    let (counts, codes, header) = plan(Histogram::of_bytes(raw));
    let size = header.bits() + codes.price(&counts);
    if stored_price(raw) < size + (size >> 4) {
        bits.stored_block(raw, false);
    } else {
        header.write(bits, false);
        for &byte in raw {
            codes.write_literal(bits, byte);
        }
        codes.write_end(bits);
    }
}

fn plan(mut counts: Histogram) -> (Histogram, HuffmanCodes, DynamicHeader) {
    counts.litlen[END_OF_BLOCK] = 1;
    if counts.distance_count() == 0 {
        counts.distance[0] = 1;
    }
    let (litlen_count, distance_count) = (counts.litlen_count(), counts.distance_count());
    let mut litlen = [0; LITLEN_SYMBOLS];
    let mut distance = [0; DISTANCE_SYMBOLS];
    package_merge(&counts.litlen, 15, &mut litlen);
    package_merge(&counts.distance, 15, &mut distance);
    let header = DynamicHeader::plan(&litlen[..litlen_count], &distance[..distance_count]);
    (counts, HuffmanCodes::new(&litlen, &distance), header)
}

fn write_dynamic(
    bits: &mut BitWriter,
    header: &DynamicHeader,
    codes: &HuffmanCodes,
    tokens: &[Token],
) {
    header.write(bits, false);
    write_tokens(bits, codes, tokens);
    codes.write_end(bits);
}

fn storable(raw: Option<&[u8]>) -> Option<&[u8]> {
    raw.filter(|raw| raw.len() <= 0xffff)
}

fn stored_price(raw: &[u8]) -> u64 {
    (raw.len() as u64 + 5) * 8
}
