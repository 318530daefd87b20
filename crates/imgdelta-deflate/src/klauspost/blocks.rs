//! klauspost's block writer, which may continue a block with the next chunk.
//!
//! A dynamic block stays open: it gets no end-of-block symbol yet. If the codes of the block are
//! cheap enough for the next chunk, its tokens continue the same block. The decision depends on an
//! estimate in 32-bit floats ([`super::estimate`]), which is repeated operation by operation.
//! Never sets the final bit except in [`BlockWriter::close`].

use super::KlauspostVersion;
use super::estimate::estimated_bits;
use crate::alphabet::{DISTANCE_SYMBOLS, END_OF_BLOCK, LITLEN_SYMBOLS};
use crate::bits::BitWriter;
use crate::huffman::{DynamicHeader, Histogram, HuffmanCodes, package_merge, write_tokens};
use crate::token::Token;

/// Writes the blocks of a stream.
pub(super) struct BlockWriter {
    pub(super) bits: BitWriter,
    version: KlauspostVersion,
    /// New codes must win by their estimated size, shifted right by this.
    penalty: u32,
    open: Option<OpenBlock>,
    fixed: HuffmanCodes,
}

/// The codes of a block that has not ended yet.
struct OpenBlock {
    codes: HuffmanCodes,
    header_bits: u64,
    literals_only: bool,
}

/// Number of tokens below which the fixed code is tried.
const FEW_TOKENS: usize = 250;
/// Assumed size of a header before it is planned.
const TYPICAL_HEADER_BITS: u64 = 70 * 8;

impl BlockWriter {
    pub(super) fn new(version: KlauspostVersion, penalty: u32) -> Self {
        Self { bits: BitWriter::new(), version, penalty, open: None, fixed: HuffmanCodes::fixed() }
    }

    /// Resets the writer for another stream.
    pub(super) fn restart(&mut self) {
        self.bits.clear();
        self.open = None;
    }

    /// Ends the open block, if any.
    pub(super) fn end_open(&mut self) {
        if let Some(open) = self.open.take() {
            open.codes.write_end(&mut self.bits);
        }
    }

    /// Writes a stored block.
    pub(super) fn stored(&mut self, raw: &[u8]) {
        self.end_open();
        self.bits.stored_block(raw, false);
    }

    /// Writes an empty stored block, which aligns the output.
    pub(super) fn flush(&mut self) {
        self.stored(&[]);
    }

    /// Writes the empty final block.
    pub(super) fn close(&mut self) {
        self.end_open();
        self.bits.empty_fixed_block(true);
        self.bits.align();
    }

    fn fixed_block(&mut self, tokens: &[Token]) {
        self.end_open();
        self.bits.put(2, 3);
        write_tokens(&mut self.bits, &self.fixed, tokens);
        self.fixed.write_end(&mut self.bits);
    }

    /// Writes tokens in the smallest form. `at_end` ends the block.
    pub(super) fn tokens(&mut self, tokens: &[Token], raw: Option<&[u8]>, at_end: bool) {
        let raw = raw.filter(|raw| raw.len() <= 0xffff);
        let stored = raw.map_or(u64::MAX, stored_price);
        let token_count = tokens.len() + usize::from(at_end);
        let mut counts = Histogram::of(tokens);
        if self.open.as_ref().is_some_and(|open| at_end && open.literals_only) {
            self.end_open();
        }
        if self.open.as_ref().is_some_and(|open| !open.codes.covers(&counts)) {
            self.end_open();
        }
        let (mut litlen_count, mut distance_count) = (LITLEN_SYMBOLS, DISTANCE_SYMBOLS);
        if at_end || self.version.trims_headers() {
            counts.litlen[END_OF_BLOCK] = 1;
            litlen_count = counts.litlen_count();
            distance_count = counts.distance_count();
            if distance_count == 0 {
                counts.distance[0] = 1;
                distance_count = 1;
            }
        }
        let mut extra = 0;
        if raw.is_some() || self.open.is_some() {
            extra = counts.extra_bits();
        }
        if let Some(open) = &self.open {
            let new = open.header_bits + estimated_bits(&counts, token_count);
            let new =
                new + u64::from(open.codes.litlen_lengths[END_OF_BLOCK]) + (new >> self.penalty);
            let reuse = open.codes.price(&counts) + extra;
            let size = new.min(reuse);
            if new < reuse {
                self.end_open();
            }
            if token_count < FEW_TOKENS && counts.fixed_price() + extra + 7 < size {
                match raw {
                    Some(raw) if stored <= size => self.stored(raw),
                    _ => self.fixed_block(tokens),
                }
                return;
            }
            if let Some(raw) = raw.filter(|_| stored <= size) {
                return self.stored(raw);
            }
        }
        if self.open.is_none() {
            counts.litlen[END_OF_BLOCK] = 1;
            let mut litlen = [0; LITLEN_SYMBOLS];
            let mut distance = [0; DISTANCE_SYMBOLS];
            package_merge(&counts.litlen, 15, &mut litlen);
            package_merge(&counts.distance, 15, &mut distance);
            let header = DynamicHeader::plan(&litlen[..litlen_count], &distance[..distance_count]);
            let codes = HuffmanCodes::new(&litlen, &distance);
            let size = header.bits() + codes.price(&counts) + extra;
            if token_count < FEW_TOKENS {
                let fixed = counts.fixed_price() + extra;
                if fixed <= size {
                    match raw {
                        Some(raw) if stored <= fixed => self.stored(raw),
                        _ => self.fixed_block(tokens),
                    }
                    return;
                }
            }
            if let Some(raw) = raw.filter(|_| stored <= size) {
                return self.stored(raw);
            }
            header.write(&mut self.bits, false);
            let header_bits = header.bits();
            self.open = Some(OpenBlock { codes, header_bits, literals_only: false });
        }
        if let Some(open) = &self.open {
            write_tokens(&mut self.bits, &open.codes, tokens);
        }
        if at_end {
            self.end_open();
        }
    }

    /// Writes literals, or a stored block if the bytes look like noise.
    pub(super) fn literals(&mut self, raw: &[u8], at_end: bool) {
        let mut counts = Histogram::of_bytes(raw);
        let storable = raw.len() <= 0xffff;
        if storable && raw.len() > 1024 && is_noise(&counts.litlen[..256], raw.len()) {
            return self.stored(raw);
        }
        counts.litlen[END_OF_BLOCK] = 1;
        let mut litlen = [0; END_OF_BLOCK + 1];
        package_merge(&counts.litlen[..=END_OF_BLOCK], 15, &mut litlen);
        let codes = HuffmanCodes::new(&litlen, &[1]);
        let mut size = codes.price(&counts)
            + self.open.as_ref().map_or(TYPICAL_HEADER_BITS, |open| open.header_bits);
        size += size >> self.penalty;
        if storable && stored_price(raw) <= size {
            return self.stored(raw);
        }
        if let Some(open) = &self.open {
            counts.litlen[END_OF_BLOCK] = 0;
            if !open.codes.covers(&counts) || size < open.codes.price(&counts) {
                self.end_open();
            }
        }
        if self.open.is_none() {
            let header = DynamicHeader::plan(&litlen, &[1]);
            header.write(&mut self.bits, false);
            self.open = Some(OpenBlock { codes, header_bits: header.bits(), literals_only: true });
        }
        if let Some(open) = &self.open {
            for &byte in raw {
                open.codes.write_literal(&mut self.bits, byte);
            }
        }
        if at_end {
            self.end_open();
        }
    }
}

fn stored_price(raw: &[u8]) -> u64 {
    (raw.len() as u64 + 5) * 8
}

/// True if all byte values are about equally frequent.
fn is_noise(counts: &[u32], bytes: usize) -> bool {
    let mean = bytes as f64 / 256.0;
    let limit = bytes as f64 * 2.0;
    let mut sum = 0.0;
    for &count in counts {
        let difference = f64::from(count) - mean;
        sum += difference * difference;
        if sum > limit {
            return false;
        }
    }
    sum < limit
}
