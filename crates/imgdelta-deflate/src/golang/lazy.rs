//! Go's levels 2 to 9: hash chains, greedy at 2 and 3, one position of laziness from 4 on.
//!
//! The parse is replayed in the buffer's own coordinates, because the moment of the slide is
//! visible: right after it the farthest distances are out of reach. Cost: 40 to 80 MB/s at
//! level 6, dominated by walking the chains. Never writes a final block.

use super::blocks;
use crate::alphabet::MAX_COPY;
use crate::bits::BitWriter;
use crate::token::Token;
use crate::window::{
    BUFFER_BYTES, HALF_BYTES, LOOKAHEAD_BYTES, SearchWindow, StopSearch, common_258, word,
};

/// How hard a level tries.
#[derive(Clone, Copy)]
struct LazyEffort {
    /// Copies of at least this length are taken without a look at the next position.
    lazy: usize,
    /// A copy of this length ends the search.
    nice: usize,
    /// Candidates looked at.
    tries: u32,
    /// Greedy levels only: copies up to this length have their inside indexed.
    index_inside: Option<usize>,
}

/// A stream being parsed.
pub(super) struct LazyParser {
    effort: LazyEffort,
    window: SearchWindow<{ 1 << HASH_BITS }>,
    /// Where the parse stands in the buffer.
    index: usize,
    /// Where the current block starts in the buffer; `None` once that has been dropped.
    block_start: Option<usize>,
    tokens: Vec<Token>,
    /// The byte before `index` is not in a token yet.
    pending: bool,
    found: LazyMatch,
}

/// A copy that was found, or none: length 3.
#[derive(Clone, Copy)]
struct LazyMatch {
    length: usize,
    distance: usize,
}

const NONE: LazyMatch = LazyMatch { length: 3, distance: 0 };
const MIN_MATCH: usize = 4;
/// A copy of four bytes from farther than this costs more than four literals.
const FAR_FOR_FOUR: usize = 4096;
const BLOCK_TOKENS: usize = 16_384;
/// Without this many bytes ahead the parse waits for more.
const LOOKAHEAD: usize = MIN_MATCH + MAX_COPY;
const _: () = assert!(LOOKAHEAD == LOOKAHEAD_BYTES, "slides are where `base_of` says");
const HASH_BITS: u32 = 17;

fn hash(four_bytes: u32) -> usize {
    (four_bytes.swap_bytes().wrapping_mul(0x1e35_a7bd) >> (32 - HASH_BITS)) as usize
}

fn effort(level: i8) -> Option<LazyEffort> {
    let (lazy, nice, tries, index_inside) = match level {
        2 => (0, 16, 8, Some(5)),
        3 => (0, 32, 32, Some(6)),
        4 => (4, 16, 16, None),
        5 => (16, 32, 32, None),
        6 => (16, 128, 128, None),
        7 => (32, 128, 256, None),
        8 => (128, 258, 1024, None),
        9 => (258, 258, 4096, None),
        _ => return None,
    };
    Some(LazyEffort { lazy, nice, tries, index_inside })
}

impl LazyParser {
    pub(super) fn new(level: i8) -> Option<Self> {
        Some(Self {
            effort: effort(level)?,
            window: SearchWindow::new(1 << HASH_BITS),
            index: 0,
            block_start: Some(0),
            tokens: Vec::with_capacity(BLOCK_TOKENS),
            pending: false,
            found: NONE,
        })
    }

    /// Stands before another stream.
    pub(super) fn restart(&mut self) {
        self.window.reset(hash);
        self.index = 0;
        self.block_start = Some(0);
        self.tokens.clear();
        self.pending = false;
        self.found = NONE;
    }

    /// Starts at a block's first byte in mid-stream: `plain` starts where the buffer does, and the
    /// block `index` behind that. `None` at levels whose index depends on the parse.
    ///
    /// Nothing else is needed. Behind a copy the parse has no memory; behind a literal it has the
    /// copy found at the block's first byte, and that search does not depend on what came before:
    /// where the byte before had a copy too good to look further, it became one.
    pub(super) fn resume(level: i8, plain: &[u8], index: usize, has_slid: bool) -> Option<Self> {
        let mut lazy = Self::new(level)?;
        if lazy.effort.index_inside.is_some() {
            return None;
        }
        lazy.window = SearchWindow::resume(1 << HASH_BITS, plain, index, has_slid);
        lazy.index = index;
        lazy.block_start = Some(index);
        // The last positions are hashed with bytes that are not in the window yet.
        for before in 0..index {
            lazy.window.insert(hash(word(plain, before)), before);
        }
        Some(lazy)
    }

    /// Parses until [`LOOKAHEAD`] before the end of what was written; returns whether a block
    /// ended just there.
    pub(super) fn end_span(&mut self, bits: &mut BitWriter) -> bool {
        self.step(false, bits);
        self.tokens.is_empty() && self.block_start == self.window.end.checked_sub(LOOKAHEAD)
    }

    pub(super) fn write(&mut self, mut plain: &[u8], bits: &mut BitWriter) {
        while !plain.is_empty() {
            if self.window.is_full() {
                self.step(false, bits);
                if self.index >= BUFFER_BYTES - LOOKAHEAD {
                    self.slide();
                }
            }
            plain = &plain[self.window.fill(plain)..];
        }
    }

    pub(super) fn finish(&mut self, bits: &mut BitWriter) {
        self.step(true, bits);
    }

    fn slide(&mut self) {
        self.window.slide();
        self.index -= HALF_BYTES;
        self.block_start = self.block_start.and_then(|start| start.checked_sub(HALF_BYTES));
    }

    fn step(&mut self, at_end: bool, bits: &mut BitWriter) {
        if self.effort.index_inside.is_some() {
            self.greedy(at_end, bits);
        } else {
            self.lazy(at_end, bits);
        }
        if at_end && !self.tokens.is_empty() {
            self.write_block(self.index, bits);
        }
    }

    fn lazy(&mut self, at_end: bool, bits: &mut BitWriter) {
        let end = self.window.end;
        // Four bytes must be there to be hashed.
        let insert_end = end.saturating_sub(MIN_MATCH - 1);
        loop {
            let index = self.index;
            let ahead = end - index;
            if ahead < LOOKAHEAD && !at_end {
                return;
            }
            if ahead == 0 {
                if self.pending {
                    self.tokens.push(Token::literal(self.window.byte(index - 1)));
                    self.pending = false;
                }
                return;
            }
            let candidate = self.insert(index, insert_end);
            let before = std::mem::replace(&mut self.found, NONE);
            if candidate != 0 && ahead > before.length && before.length < self.effort.lazy {
                self.found = self.search(index, candidate, ahead, before.length);
            }
            if before.length >= MIN_MATCH && self.found.length <= before.length {
                self.tokens.push(Token::copy(before.length, before.distance));
                let next = index - 1 + before.length;
                self.window.insert_all(index + 1, next.min(insert_end), hash);
                self.index = next;
                self.pending = false;
                self.found = NONE;
                if self.tokens.len() == BLOCK_TOKENS {
                    self.write_block(next, bits);
                }
            } else {
                if self.pending {
                    self.tokens.push(Token::literal(self.window.byte(index - 1)));
                    if self.tokens.len() == BLOCK_TOKENS {
                        self.write_block(index, bits);
                    }
                }
                self.index = index + 1;
                self.pending = true;
            }
        }
    }

    fn greedy(&mut self, at_end: bool, bits: &mut BitWriter) {
        let end = self.window.end;
        let insert_end = end.saturating_sub(MIN_MATCH - 1);
        loop {
            let index = self.index;
            let ahead = end - index;
            if ahead == 0 || ahead < LOOKAHEAD && !at_end {
                return;
            }
            let candidate = self.insert(index, insert_end);
            let mut found = NONE;
            if candidate != 0 && ahead >= MIN_MATCH {
                found = self.search(index, candidate, ahead, NONE.length);
            }
            if found.length >= MIN_MATCH {
                self.tokens.push(Token::copy(found.length, found.distance));
                self.index = index + found.length;
                if self.effort.index_inside.is_some_and(|longest| found.length <= longest) {
                    self.window.insert_all(index + 1, self.index.min(insert_end), hash);
                }
            } else {
                self.tokens.push(Token::literal(self.window.byte(index)));
                self.index = index + 1;
            }
            if self.tokens.len() == BLOCK_TOKENS {
                self.write_block(self.index, bits);
            }
        }
    }

    /// Indexes a position; returns the candidate to start from, plus one, or zero.
    #[inline]
    fn insert(&mut self, index: usize, insert_end: usize) -> usize {
        if index >= insert_end {
            return 0;
        }
        let hash = hash(self.window.word(index));
        let candidate = self.window.insert(hash, index);
        if candidate + HALF_BYTES > index { candidate } else { 0 }
    }

    /// Searches from `newest`, a position plus one. Go accepts any copy here and then drops it
    /// if it is not longer than the one before; looking only for longer ones from the start
    /// ends with the same.
    #[inline]
    fn search(&self, index: usize, newest: usize, ahead: usize, longer_than: usize) -> LazyMatch {
        let bytes = self.window.bytes();
        let most = ahead.min(MAX_COPY);
        let nice = self.effort.nice.min(most);
        let lowest = index.saturating_sub(HALF_BYTES);
        let mut found = NONE;
        let mut longest = longer_than;
        // The last four bytes a longer copy must have; most candidates fail here.
        let mut before_tail = (longest - 3) as u8;
        let mut tail = word(bytes, index + usize::from(before_tail));
        self.window.walk(newest, lowest, self.effort.tries, |candidate| {
            if word(bytes, usize::from(candidate) + usize::from(before_tail)) != tail {
                return StopSearch(false);
            }
            let length = common_258(bytes, candidate, index as u16).min(most);
            let distance = index - usize::from(candidate);
            if length <= longest || length == MIN_MATCH && distance > FAR_FOR_FOUR {
                return StopSearch(false);
            }
            longest = length;
            found = LazyMatch { length, distance };
            before_tail = (length - 3) as u8;
            tail = word(bytes, index + usize::from(before_tail));
            StopSearch(length >= nice)
        });
        found
    }

    fn write_block(&mut self, end: usize, bits: &mut BitWriter) {
        let raw = self.block_start.map(|start| &self.window.bytes()[start..end]);
        blocks::smallest(bits, &self.tokens, raw);
        self.tokens.clear();
        self.block_start = Some(end);
    }
}
