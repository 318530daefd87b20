//! klauspost's levels 1 and 2: one table, one candidate, and two positions per step.
//!
//! The two levels differ in the size of the table, and in the positions that they index around a
//! copy. Cost: 150 to 250 MB/s. Never tries a second candidate.

use super::chunk::{Chunk, ChunkMatch, MIN_CHUNK_BYTES, NEAR, NEARLY, TokenEmitter, hash5};
use crate::token::Token;
use crate::window::table;

/// The parser of level 1 (`BITS` is 15) or of level 2 (`BITS` is 17).
pub(super) struct ProbingParser<const BITS: u32, const ENTRIES: usize, const LEVEL: u8> {
    table: Box<[u32; ENTRIES]>,
}

pub(super) type Level1Parser = ProbingParser<15, { 1 << 15 }, 1>;
pub(super) type Level2Parser = ProbingParser<17, { 1 << 17 }, 2>;

impl<const BITS: u32, const ENTRIES: usize, const LEVEL: u8> ProbingParser<BITS, ENTRIES, LEVEL> {
    pub(super) fn new() -> Self {
        Self { table: table() }
    }

    pub(super) fn lower(&mut self, down: u32) {
        for entry in &mut self.table[..] {
            *entry = entry.saturating_sub(down);
        }
    }

    /// Indexes a position. Returns the old one.
    #[inline]
    fn swap(&mut self, chunk: &Chunk<'_>, at: usize) -> u32 {
        let slot = &mut self.table[hash5::<BITS>(chunk.long(at)) % ENTRIES];
        std::mem::replace(slot, chunk.position(at))
    }

    pub(super) fn parse(&mut self, chunk: Chunk<'_>, tokens: &mut Vec<Token>) {
        if chunk.end() - chunk.start < MIN_CHUNK_BYTES {
            return;
        }
        let limit = chunk.limit();
        let mut out = TokenEmitter::new(chunk, tokens);
        let mut next = chunk.start;
        'chunk: loop {
            let mut at;
            let mut from = loop {
                at = next;
                next = at + 2 + ((at - out.emitted) >> 5);
                if next > limit {
                    break 'chunk;
                }
                let candidate = self.swap(&chunk, at);
                if let Some(from) = chunk.matches(candidate, at, NEAR) {
                    self.swap(&chunk, next);
                    break from;
                }
                at = next;
                next += 1;
                let candidate = self.swap(&chunk, at);
                if let Some(from) = chunk.matches(candidate, at, NEAR) {
                    if LEVEL == 1 {
                        // The original indexes `next` by the hash of `at`.
                        self.table[hash5::<BITS>(chunk.long(at)) % ENTRIES] = chunk.position(next);
                    }
                    break from;
                }
            };
            loop {
                let length = chunk.common(at, from);
                let done = out.copy(ChunkMatch { at, from, length });
                at = out.emitted;
                if next >= at {
                    at = next + 1;
                }
                if at >= limit {
                    break 'chunk;
                }
                if LEVEL == 2 {
                    self.index_inside(&chunk, at, done.length);
                    self.swap(&chunk, at - 2);
                    self.swap(&chunk, at - 1);
                } else {
                    self.swap(&chunk, at - 2);
                }
                let candidate = self.swap(&chunk, at);
                if let Some(again) = chunk.matches(candidate, at, NEARLY) {
                    from = again;
                } else {
                    next = at + 1;
                    break;
                }
            }
        }
        out.finish();
    }

    fn index_inside(&mut self, chunk: &Chunk<'_>, at: usize, length: usize) {
        let mut inside = at - length + 2;
        while inside + 5 < at {
            self.swap(chunk, inside);
            self.swap(chunk, inside + 2);
            // The hash has only four bytes: the fifth is zero.
            let four = chunk.long(inside + 4) & 0xffff_ffff;
            self.table[hash5::<BITS>(four) % ENTRIES] = chunk.position(inside + 4);
            inside += 7;
        }
    }
}
