//! klauspost's level 4: a table by four bytes, and one by seven bytes.
//!
//! From 1.18.0 on, one comparison reads at a wrong index of the history buffer. That changes the
//! output, so it is repeated here, with a buffer that starts at the same position. Never tries two
//! candidates of one table.

use super::chunk::{Chunk, ChunkMatch, MIN_CHUNK_BYTES, NEAR, TokenEmitter, hash4, hash7};
use crate::token::Token;
use crate::window::table;

const BITS: u32 = 15;
const ENTRIES: usize = 1 << BITS;

/// The parser of level 4.
pub(super) struct Level4Parser {
    short: Box<[u32; ENTRIES]>,
    long: Box<[u32; ENTRIES]>,
    misplaced: bool,
}

impl Level4Parser {
    /// Makes a parser. `misplaced` compares at the wrong index, as versions from 1.18.0 on do.
    pub(super) fn new(misplaced: bool) -> Self {
        Self { short: table(), long: table(), misplaced }
    }

    pub(super) fn lower(&mut self, down: u32) {
        for entry in self.short.iter_mut().chain(&mut self.long[..]) {
            *entry = entry.saturating_sub(down);
        }
    }

    fn set_short(&mut self, chunk: &Chunk<'_>, at: usize) {
        self.short[hash4::<BITS>(chunk.long(at)) % ENTRIES] = chunk.position(at);
    }

    fn set_long(&mut self, chunk: &Chunk<'_>, at: usize) {
        self.long[hash7::<BITS>(chunk.long(at)) % ENTRIES] = chunk.position(at);
    }

    pub(super) fn parse(&mut self, chunk: Chunk<'_>, tokens: &mut Vec<Token>) {
        if chunk.end() - chunk.start < MIN_CHUNK_BYTES {
            return;
        }
        let limit = chunk.limit();
        let mut out = TokenEmitter::new(chunk, tokens);
        let mut next = chunk.start;
        'chunk: loop {
            let (mut at, from) = loop {
                let at = next;
                next = at + 1 + ((at - out.emitted) >> 6);
                if next > limit {
                    break 'chunk;
                }
                let bytes = chunk.long(at);
                let position = chunk.position(at);
                let short = &mut self.short[hash4::<BITS>(bytes) % ENTRIES];
                let short = std::mem::replace(short, position);
                let long = &mut self.long[hash7::<BITS>(bytes) % ENTRIES];
                let long = std::mem::replace(long, position);
                if let Some(from) = chunk.matches(long, at, NEAR) {
                    break (at, from);
                }
                if let Some(from) = chunk.matches(short, at, NEAR) {
                    let ahead = self.long[hash7::<BITS>(chunk.long(next)) % ENTRIES];
                    if let Some(better) = chunk.matches(ahead, next, NEAR) {
                        let compared = if self.misplaced { next - better } else { better };
                        let now = chunk.common(at + 4, from + 4);
                        if chunk.common(next + 4, compared + 4) > now {
                            break (next, better);
                        }
                    }
                    break (at, from);
                }
            };
            let length = chunk.common(at, from);
            out.copy(ChunkMatch { at, from, length });
            at = out.emitted;
            if next >= at {
                at = next + 1;
            }
            if at >= limit {
                if at + 8 < chunk.end() {
                    self.set_short(&chunk, at);
                    self.set_long(&chunk, at);
                }
                break 'chunk;
            }
            let mut inside = next;
            while inside + 1 < at {
                self.set_long(&chunk, inside);
                self.set_long(&chunk, inside + 1);
                self.set_short(&chunk, inside + 1);
                inside += 3;
            }
            self.set_short(&chunk, at - 1);
            self.set_long(&chunk, at - 1);
            next = at;
        }
        out.finish();
    }
}
