//! Go's level 1: one candidate per hash, and longer steps while nothing matches.
//!
//! Parses blocks of 65535 bytes. Copies may reach into the block before. Cost: 150 to 300 MB/s.
//! Never tries more than one candidate.

use super::{BLOCK_BYTES, blocks};
use crate::alphabet::MAX_COPY;
use crate::bits::BitWriter;
use crate::token::Token;
use crate::window::{common, table, word};

/// The parser of level 1.
pub(super) struct FastParser {
    /// The block before, then the current block.
    buffer: Vec<u8>,
    /// Bytes of the block before.
    before: usize,
    /// Stream position of the buffer's first byte, plus `FAR`.
    base: u32,
    table: Box<[HashEntry; TABLE_ENTRIES]>,
    tokens: Vec<Token>,
}

#[derive(Clone, Copy, Default)]
struct HashEntry {
    word: u32,
    position: u32,
}

const TABLE_ENTRIES: usize = 1 << 14;
const FARTHEST: u32 = 32_768;
/// The first position. An empty entry, which is 0, is then always too far away.
const FAR: u32 = 1 << 17;
/// Positions above this are lowered.
const REBASE: u32 = 1 << 31;
/// Bytes at the end of a block that are not searched.
const MARGIN: usize = 15;

fn hash(word: u32) -> usize {
    (word.wrapping_mul(0x1e35_a7bd) >> 18) as usize
}

impl Default for FastParser {
    fn default() -> Self {
        Self {
            buffer: Vec::with_capacity(2 * BLOCK_BYTES),
            before: 0,
            base: FAR,
            table: table(),
            tokens: Vec::with_capacity(BLOCK_BYTES),
        }
    }
}

impl FastParser {
    /// Resets the parser for another stream. The old entries are too far away from now on.
    pub(super) fn restart(&mut self) {
        self.base += self.buffer.len() as u32 + FARTHEST + 1;
        self.buffer.clear();
        self.before = 0;
        if self.base > REBASE {
            *self = Self::default();
        }
    }

    pub(super) fn write(&mut self, mut plain: &[u8], bits: &mut BitWriter) {
        while !plain.is_empty() {
            if self.buffer.len() - self.before == BLOCK_BYTES {
                self.block(bits);
            }
            let room = BLOCK_BYTES - (self.buffer.len() - self.before);
            let (now, later) = plain.split_at(plain.len().min(room));
            self.buffer.extend_from_slice(now);
            plain = later;
        }
    }

    pub(super) fn finish(&mut self, bits: &mut BitWriter) {
        let raw = &self.buffer[self.before..];
        match raw.len() {
            0 => {}
            1..=16 => bits.stored_block(raw, false),
            17..=127 => blocks::literals_only(bits, raw),
            _ => self.block(bits),
        }
    }

    /// Parses whole blocks without writing them. `last` gets the tokens of the last block.
    pub(super) fn warm_up(&mut self, before: &[u8], last: &mut Vec<Token>) {
        for block in before.chunks(BLOCK_BYTES) {
            self.buffer.extend_from_slice(block);
            self.tokens.clear();
            self.parse();
            self.shift();
        }
        last.clone_from(&self.tokens);
        self.tokens.clear();
    }

    /// Writes the current block if it is full, and returns true if it was.
    pub(super) fn end_span(&mut self, bits: &mut BitWriter) -> bool {
        let is_full = self.buffer.len() - self.before == BLOCK_BYTES;
        if is_full {
            self.block(bits);
        }
        is_full
    }

    fn block(&mut self, bits: &mut BitWriter) {
        self.parse();
        let raw = &self.buffer[self.before..];
        if self.tokens.len() > raw.len() - (raw.len() >> 4) {
            blocks::literals_only(bits, raw);
        } else {
            blocks::dynamic(bits, &self.tokens, raw);
        }
        self.tokens.clear();
        self.shift();
    }

    /// Drops the block before the last one.
    fn shift(&mut self) {
        self.buffer.drain(..self.before);
        self.base += self.before as u32;
        self.before = self.buffer.len();
        if self.base > REBASE {
            let down = self.base - FAR;
            for entry in self.table.iter_mut() {
                entry.position = entry.position.saturating_sub(down);
            }
            self.base = FAR;
        }
    }

    fn parse(&mut self) {
        let Self { buffer, before, base, table, tokens } = self;
        let bytes = buffer.as_slice();
        let (start, base) = (*before, *base);
        let limit = bytes.len() - MARGIN;
        let mut emitted = start;
        let mut at = start;
        // Returns the candidate for `at` if it has the same four bytes, and indexes `at`.
        let mut probe = |at: usize| -> Option<usize> {
            let now = word(bytes, at);
            let entry = &mut table[hash(now)];
            let position = base + at as u32;
            let old = std::mem::replace(entry, HashEntry { word: now, position });
            (old.word == now && position - old.position <= FARTHEST)
                .then(|| (old.position.wrapping_sub(base)) as usize)
        };
        'block: loop {
            let mut stride = 32;
            let mut candidate = loop {
                let next = at + (stride >> 5);
                stride += stride >> 5;
                if next > limit {
                    break 'block;
                }
                if let Some(candidate) = probe(at) {
                    break candidate;
                }
                at = next;
            };
            tokens.extend(bytes[emitted..at].iter().map(|&byte| Token::literal(byte)));
            loop {
                let most = (bytes.len() - at).min(MAX_COPY);
                let length = 4 + common(bytes, candidate + 4, at + 4, most - 4);
                tokens.push(Token::copy(length, at - candidate));
                at += length;
                emitted = at;
                if at >= limit {
                    break 'block;
                }
                probe(at - 1);
                if let Some(next) = probe(at) {
                    candidate = next;
                } else {
                    at += 1;
                    break;
                }
            }
        }
        tokens.extend(bytes[emitted..].iter().map(|&byte| Token::literal(byte)));
    }
}
