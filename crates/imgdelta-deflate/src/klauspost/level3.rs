//! klauspost's level 3: one table with two positions per entry.
//!
//! Never tries the older position if the newer one is out of reach.

use super::chunk::{Chunk, ChunkMatch, MIN_CHUNK_BYTES, PositionPair, TokenEmitter, hash5};
use crate::token::Token;
use crate::window::table;

const BITS: u32 = 16;
const ENTRIES: usize = 1 << BITS;
/// Farthest distance of most comparisons. Some need a nearer position.
const FARTHEST: u32 = 32_764;

/// The parser of level 3.
pub(super) struct Level3Parser {
    table: Box<[PositionPair; ENTRIES]>,
}

impl Level3Parser {
    pub(super) fn new() -> Self {
        Self { table: table() }
    }

    pub(super) fn lower(&mut self, down: u32) {
        self.table.iter_mut().for_each(|pair| pair.lower(down));
    }

    /// Indexes a position. Returns the old entry.
    #[inline]
    fn push(&mut self, chunk: &Chunk<'_>, at: usize) -> PositionPair {
        let slot = &mut self.table[hash5::<BITS>(chunk.long(at)) % ENTRIES];
        let old = *slot;
        slot.push(chunk.position(at));
        old
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
                next = at + 1 + ((at - out.emitted) >> 7);
                if next > limit {
                    break 'chunk;
                }
                let known = self.push(&chunk, at);
                if chunk.position(at).wrapping_sub(known.newest) > FARTHEST {
                    continue;
                }
                if let Some(newest) = chunk.matches(known.newest, at, FARTHEST) {
                    break match chunk.matches(known.before, at, FARTHEST) {
                        Some(before) if chunk.common(at, before) > chunk.common(at, newest) => {
                            before
                        }
                        _ => newest,
                    };
                }
                if let Some(before) = chunk.matches(known.before, at, FARTHEST - 1) {
                    break before;
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
                    let source_end = done.from + done.length;
                    if source_end + 8 < chunk.end() {
                        self.push(&chunk, source_end);
                    }
                    break 'chunk;
                }
                let mut inside = at - done.length + 2;
                while inside + 5 < at {
                    self.push(&chunk, inside);
                    inside += 6;
                }
                self.push(&chunk, at - 2);
                self.push(&chunk, at - 1);
                let known = self.push(&chunk, at);
                let again = if chunk.position(at).wrapping_sub(known.newest) < FARTHEST {
                    chunk
                        .matches(known.newest, at, FARTHEST - 1)
                        .or_else(|| chunk.matches(known.before, at, FARTHEST - 1))
                } else {
                    None
                };
                if let Some(again) = again {
                    from = again;
                } else {
                    next = at + 1;
                    break;
                }
            }
        }
        out.finish();
    }
}
