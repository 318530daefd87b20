//! Go's levels 2 to 9: hash chains, greedy at levels 2 and 3, and lazy from level 4 on.
//!
//! Lazy parsing tries one position ahead before it takes a copy. Positions are indexes of the
//! buffer as in the original, because the slide changes the output: directly after it the farthest
//! distances are out of reach. Cost: 40 to 80 MB/s at level 6, mostly for walking the chains.
//! Never writes a final block.

use super::blocks;
use crate::alphabet::MAX_COPY;
use crate::bits::BitWriter;
use crate::token::Token;
use crate::window::{
    BUFFER_BYTES, HALF_BYTES, LOOKAHEAD_BYTES, SearchWindow, StopSearch, common_258, word,
};

/// The search parameters of a level.
#[derive(Clone, Copy)]
struct LazyEffort {
    /// Length from which a copy is taken without trying the next position.
    lazy: usize,
    /// Length of a copy that ends the search.
    nice: usize,
    /// Most candidates per search.
    tries: u32,
    /// Length up to which all positions of a copy are indexed. Only greedy levels have it.
    index_inside: Option<usize>,
}

/// The parser of levels 2 to 9.
pub(super) struct LazyParser {
    effort: LazyEffort,
    window: SearchWindow<{ 1 << HASH_BITS }>,
    /// Index of the next position to parse.
    index: usize,
    /// Index of the current block's start. `None` after a slide has dropped it.
    block_start: Option<usize>,
    tokens: Vec<Token>,
    /// True if the byte before `index` is not in a token yet.
    pending: bool,
    found: LazyMatch,
}

/// A copy, or none if the length is 3.
#[derive(Clone, Copy)]
struct LazyMatch {
    length: usize,
    distance: usize,
}

const NONE: LazyMatch = LazyMatch { length: 3, distance: 0 };
const MIN_MATCH: usize = 4;
/// Distance from which a copy of four bytes costs more than four literals.
const FAR_FOR_FOUR: usize = 4096;
const BLOCK_TOKENS: usize = 16_384;
/// Bytes that the parser needs ahead, except at the end of the data.
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

    /// Resets the parser for another stream.
    pub(super) fn restart(&mut self) {
        self.window.reset(hash);
        self.index = 0;
        self.block_start = Some(0);
        self.tokens.clear();
        self.pending = false;
        self.found = NONE;
    }

    /// Changes the level before the next stream.
    pub(super) fn retune(&mut self, level: i8) -> Option<()> {
        self.effort = effort(level)?;
        Some(())
    }

    /// Returns the first tokens of a stream that begins with `plain`, except for those of its last
    /// bytes. The stream cannot go on.
    pub(super) fn first_tokens(&mut self, plain: &[u8], bits: &mut BitWriter) -> &[Token] {
        self.write(plain, bits);
        self.step(false, bits);
        &self.tokens
    }

    /// Starts at the first byte of a block in the middle of a stream. `plain` starts with the
    /// buffer, and the block starts at `index`. `None` at levels whose index depends on the parse.
    ///
    /// No other state is needed. Behind a copy the parser has no state. Behind a literal its state
    /// is the copy at the first byte of the block. That search does not depend on the byte before,
    /// because only a long copy there stops it, and then that byte is not a literal.
    pub(super) fn resume(level: i8, plain: &[u8], index: usize, has_slid: bool) -> Option<Self> {
        let mut lazy = Self::new(level)?;
        if lazy.effort.index_inside.is_some() {
            return None;
        }
        lazy.window = SearchWindow::resume(1 << HASH_BITS, plain, index, has_slid);
        lazy.index = index;
        lazy.block_start = Some(index);
        // The hashes of the last positions read bytes that are not in the window yet.
        for before in 0..index {
            lazy.window.insert(hash(word(plain, before)), before);
        }
        Some(lazy)
    }

    /// Parses all bytes except the last [`LOOKAHEAD`]. True if a block ends at the same place.
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
        // A hash reads four bytes.
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

    /// Indexes a position. Returns the first candidate plus one, or zero if there is none.
    #[inline]
    fn insert(&mut self, index: usize, insert_end: usize) -> usize {
        if index >= insert_end {
            return 0;
        }
        let hash = hash(self.window.word(index));
        let candidate = self.window.insert(hash, index);
        if candidate + HALF_BYTES > index { candidate } else { 0 }
    }

    /// Returns the longest copy from `newest` on, which is a position plus one. Go accepts every
    /// copy and later drops it if it is not longer than the one before. Searching only for longer
    /// copies gives the same result.
    #[inline]
    fn search(&self, index: usize, newest: usize, ahead: usize, longer_than: usize) -> LazyMatch {
        let bytes = self.window.bytes();
        let most = ahead.min(MAX_COPY);
        let nice = self.effort.nice.min(most);
        let lowest = index.saturating_sub(HALF_BYTES);
        let mut found = NONE;
        let mut longest = longer_than;
        // The last four bytes of a longer copy. Most candidates fail this comparison.
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
