//! klauspost's levels 7 to 9: Go's lazy parsing with three additions.
//!
//! Level 9 compares the cost of a copy with that of literals. Before a copy is written, a longer
//! one that covers its end is tried. After many literals, positions are skipped. Cost: 10 to 60
//! MB/s. Never chooses the form of a block: the block writer does.

use super::KlauspostVersion;
use super::blocks::BlockWriter;
use crate::alphabet::{
    DISTANCE_EXTRA, LENGTH_CODE, LENGTH_EXTRA, MAX_COPY, MIN_COPY, distance_code,
};
use crate::huffman::package_merge;
use crate::token::Token;
use crate::window::{BUFFER_BYTES, HALF_BYTES, SearchWindow, StopSearch, common, common_258, word};

/// The parser of levels 7 to 9.
pub(super) struct ChainParser {
    effort: ChainEffort,
    version: KlauspostVersion,
    window: SearchWindow<{ 1 << HASH_BITS }>,
    index: usize,
    block_start: Option<usize>,
    tokens: Vec<Token>,
    pending: bool,
    found: ChainMatch,
    /// Literals since the last copy, modulo 2^16.
    literal_run: u16,
    /// Code lengths of the coming bytes as literals, for level 9.
    literal_lengths: [u8; 256],
}

#[derive(Clone, Copy)]
struct ChainEffort {
    lazy: usize,
    nice: usize,
    tries: u32,
    weighs: bool,
}

#[derive(Clone, Copy)]
struct ChainMatch {
    length: usize,
    distance: usize,
}

const NONE: ChainMatch = ChainMatch { length: 3, distance: 0 };
const MIN_MATCH: usize = 4;
const LOOKAHEAD: usize = MIN_MATCH + MAX_COPY;
const BLOCK_TOKENS: usize = 32_768;
const HASH_BITS: u32 = 17;
/// Most bytes for the literal costs, in versions with a limit.
const WEIGHED_BYTES: usize = 32_768;

fn hash(four_bytes: u32) -> usize {
    (four_bytes.wrapping_mul(2_654_435_761) >> (32 - HASH_BITS)) as usize
}

fn effort(level: i8) -> Option<ChainEffort> {
    Some(match level {
        7 => ChainEffort { lazy: 12, nice: 16, tries: 24, weighs: false },
        8 => ChainEffort { lazy: 30, nice: 40, tries: 64, weighs: false },
        9 => ChainEffort { lazy: 258, nice: 258, tries: 1024, weighs: true },
        _ => return None,
    })
}

impl ChainParser {
    pub(super) fn new(version: KlauspostVersion, level: i8) -> Option<Self> {
        Some(Self {
            effort: effort(level)?,
            version,
            window: SearchWindow::new(1 << HASH_BITS),
            index: 0,
            block_start: Some(0),
            tokens: Vec::with_capacity(BLOCK_TOKENS),
            pending: false,
            found: NONE,
            literal_run: 0,
            literal_lengths: [0; 256],
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
        self.literal_run = 0;
    }

    /// Sets the history before the stream, at most 32 KiB.
    pub(super) fn set_dictionary(&mut self, dictionary: &[u8]) {
        self.window.fill(dictionary);
        self.index = self.window.end;
        for index in 0..self.index.saturating_sub(MIN_MATCH - 1) {
            self.insert(index);
        }
        // Earlier versions leave the block start at the dictionary, which makes a stored block look
        // larger.
        if self.version >= KlauspostVersion::V1_20 {
            self.block_start = Some(self.index);
        }
    }

    pub(super) fn write(&mut self, mut plain: &[u8], blocks: &mut BlockWriter) {
        while !plain.is_empty() {
            if self.window.is_full() {
                self.parse(false, blocks);
                if self.index >= BUFFER_BYTES - LOOKAHEAD {
                    self.window.slide();
                    self.index -= HALF_BYTES;
                    self.block_start =
                        self.block_start.and_then(|start| start.checked_sub(HALF_BYTES));
                }
            }
            plain = &plain[self.window.fill(plain)..];
        }
    }

    pub(super) fn finish(&mut self, blocks: &mut BlockWriter) {
        self.parse(true, blocks);
        if !self.tokens.is_empty() {
            self.write_block(self.index, true, blocks);
        }
    }

    fn insert(&mut self, index: usize) -> usize {
        let hash = hash(self.window.word(index));
        self.window.insert(hash, index)
    }

    fn parse(&mut self, at_end: bool, blocks: &mut BlockWriter) {
        let end = self.window.end;
        let insert_end = end.saturating_sub(MIN_MATCH - 1);
        if self.effort.weighs && self.index < end {
            self.weigh_literals();
        }
        loop {
            let index = self.index;
            let ahead = end - index;
            if ahead < LOOKAHEAD && !at_end {
                return;
            }
            if ahead == 0 {
                if self.pending {
                    self.push_literal(index - 1);
                    self.pending = false;
                }
                return;
            }
            let candidate = if index < insert_end { self.insert(index) } else { 0 };
            let before = std::mem::replace(&mut self.found, NONE);
            if candidate != 0
                && candidate + HALF_BYTES > index
                && ahead > before.length
                && before.length < self.effort.lazy
            {
                self.found = if self.effort.weighs {
                    self.search_weighing(index, candidate, ahead)
                } else {
                    self.search(index, candidate, ahead, NONE.length)
                };
            }
            if self.found.length >= MIN_MATCH {
                self.literal_run = 0;
            }
            if before.length >= MIN_MATCH && self.found.length <= before.length {
                self.take_copy(before, insert_end, at_end, blocks);
            } else if self.pending {
                self.literal_run = self.literal_run.wrapping_add(1);
                self.push_literal(index - 1);
                self.end_block_if_full(index, at_end, blocks);
                self.index = index + 1;
                self.skip_hopeless(insert_end, at_end, blocks);
            } else {
                self.index = index + 1;
                self.pending = true;
            }
        }
    }

    /// Writes the copy that starts at the byte before the current one, or a copy that ends later.
    fn take_copy(
        &mut self,
        mut copy: ChainMatch,
        insert_end: usize,
        at_end: bool,
        blocks: &mut BlockWriter,
    ) {
        if self.version.owes_literals() {
            self.try_end(&mut copy, insert_end, at_end, blocks);
        } else {
            self.try_end_early(&mut copy, insert_end);
        }
        self.tokens.push(Token::copy(copy.length, copy.distance));
        let next = self.index - 1 + copy.length;
        self.window.insert_all(self.index + 1, next.min(insert_end), hash);
        self.index = next;
        self.pending = false;
        self.found = NONE;
        self.literal_run = 0;
        self.end_block_if_full(next, at_end, blocks);
    }

    fn try_end(
        &mut self,
        copy: &mut ChainMatch,
        insert_end: usize,
        at_end: bool,
        blocks: &mut BlockWriter,
    ) {
        let start = self.index - 1;
        let after = start + copy.length;
        if copy.length >= MAX_COPY - 2 || after >= insert_end {
            return;
        }
        let newest = self.window.newest(hash(self.window.word(after)));
        let lowest = self.index.saturating_sub(HALF_BYTES) + 2;
        let Some(from) = newest.checked_sub(copy.length + 1).filter(|&from| from > lowest) else {
            return;
        };
        if newest == 0 || start - from == copy.distance {
            return;
        }
        let most = (self.window.end - self.index).min(MAX_COPY + 2) - 2;
        let mut length = common(&self.window.bytes()[..], start + 2, from + 2, most);
        if length <= copy.length {
            return;
        }
        copy.distance = start - from;
        for back in [1, 0] {
            if length < MAX_COPY && self.window.byte(start + back) == self.window.byte(from + back)
            {
                length += 1;
                continue;
            }
            for skipped in 0..=back {
                self.push_literal(start + skipped);
                self.end_block_if_full(self.index, at_end, blocks);
                self.index += 1;
                if self.index < insert_end {
                    self.insert(self.index);
                }
            }
            break;
        }
        copy.length = length;
    }

    /// Tries a copy that ends later, as versions before 1.15.15 do.
    fn try_end_early(&mut self, copy: &mut ChainMatch, insert_end: usize) {
        let start = self.index - 1;
        if start + copy.length + 2 >= insert_end {
            return;
        }
        let after = start + copy.length - 2;
        let newest = self.window.newest(hash(self.window.word(after)));
        let lowest = self.index.saturating_sub(HALF_BYTES);
        let from = (newest + 2).checked_sub(copy.length + 1).filter(|&from| from > lowest);
        let Some(from) = from.filter(|&from| newest != 0 && from < start) else { return };
        let most = (self.window.end - self.index).min(MAX_COPY);
        let length = common(&self.window.bytes()[..], start, from, most);
        if length > copy.length {
            *copy = ChainMatch { length, distance: start - from };
        }
    }

    /// Makes positions literals without a search, after many literals.
    fn skip_hopeless(&mut self, insert_end: usize, at_end: bool, blocks: &mut BlockWriter) {
        let Some(excess) =
            u32::from(self.literal_run).checked_sub(self.effort.tries).filter(|&n| n > 0)
        else {
            return;
        };
        for _ in 0..=excess >> 6 {
            if self.index + 1 >= self.window.end {
                break;
            }
            self.push_literal(self.index - 1);
            self.end_block_if_full(self.index, at_end, blocks);
            if self.index < insert_end {
                self.insert(self.index);
            }
            self.index += 1;
        }
        self.push_literal(self.index - 1);
        self.pending = false;
        self.end_block_if_full(self.index, at_end, blocks);
    }

    fn push_literal(&mut self, index: usize) {
        self.tokens.push(Token::literal(self.window.byte(index)));
    }

    /// Returns the longest copy of more than `longer_than` bytes. `newest` is a position plus one.
    #[inline]
    fn search(&self, index: usize, newest: usize, ahead: usize, longer_than: usize) -> ChainMatch {
        let bytes = self.window.bytes();
        let most = ahead.min(MAX_COPY);
        let nice = self.effort.nice.min(most);
        let lowest = index.saturating_sub(HALF_BYTES);
        let mut found = ChainMatch { length: longer_than, distance: 0 };
        // The last four bytes of a longer copy. Most candidates fail this comparison.
        let mut before_tail = (longer_than - 3) as u8;
        let mut tail = word(bytes, index + usize::from(before_tail));
        self.window.walk(newest, lowest, self.effort.tries, |candidate| {
            if word(bytes, usize::from(candidate) + usize::from(before_tail)) != tail {
                return StopSearch(false);
            }
            let length = common_258(bytes, candidate, index as u16).min(most);
            if length <= found.length {
                return StopSearch(false);
            }
            found = ChainMatch { length, distance: index - usize::from(candidate) };
            before_tail = (length - 3) as u8;
            tail = word(bytes, index + usize::from(before_tail));
            StopSearch(length >= nice)
        });
        if found.distance == 0 { NONE } else { found }
    }

    fn search_weighing(&self, index: usize, newest: usize, ahead: usize) -> ChainMatch {
        let bytes = self.window.bytes();
        let most = ahead.min(MAX_COPY);
        let nice = self.effort.nice.min(most);
        let lowest = index.saturating_sub(HALF_BYTES);
        let (mut best_gain, overhead) = self.version.weights();
        let mut found = NONE;
        let mut before_tail = 0u8;
        let mut tail = word(bytes, index);
        self.window.walk(newest, lowest, self.effort.tries, |candidate| {
            if word(bytes, usize::from(candidate) + usize::from(before_tail)) != tail {
                return StopSearch(false);
            }
            let length = common_258(bytes, candidate, index as u16).min(most);
            if length <= found.length {
                return StopSearch(false);
            }
            let distance = index - usize::from(candidate);
            let gain = self.gain(index, length, distance) - overhead;
            if gain <= best_gain {
                return StopSearch(false);
            }
            best_gain = gain;
            found = ChainMatch { length, distance };
            before_tail = (length - 3) as u8;
            tail = word(bytes, index + usize::from(before_tail));
            StopSearch(length >= nice)
        });
        found
    }

    /// Returns the cost of the bytes as literals, minus the extra bits of the copy.
    fn gain(&self, index: usize, length: usize, distance: usize) -> i32 {
        let literals: u32 = self.window.bytes()[index..index + length]
            .iter()
            .map(|&byte| u32::from(self.literal_lengths[usize::from(byte)]))
            .sum();
        // The original looks up the distance plus one, and wraps around at the farthest distance.
        let distance_extra =
            if distance == HALF_BYTES { 6 } else { DISTANCE_EXTRA[distance_code(distance + 1)] };
        let length_extra = LENGTH_EXTRA[usize::from(LENGTH_CODE[length - MIN_COPY])];
        literals as i32 - i32::from(distance_extra) - i32::from(length_extra)
    }

    fn weigh_literals(&mut self) {
        let mut bytes = &self.window.bytes()[self.index..self.window.end];
        if self.version.weighs_a_window() {
            bytes = &bytes[..bytes.len().min(WEIGHED_BYTES)];
        }
        let mut counts = [0u32; 256];
        for &byte in bytes {
            counts[usize::from(byte)] += 1;
        }
        // The original counts in 16 bits.
        for count in &mut counts {
            *count &= 0xffff;
        }
        package_merge(&counts, 15, &mut self.literal_lengths);
    }

    fn end_block_if_full(&mut self, end: usize, at_end: bool, blocks: &mut BlockWriter) {
        if self.tokens.len() == BLOCK_TOKENS {
            self.write_block(end, at_end, blocks);
        }
    }

    fn write_block(&mut self, end: usize, at_end: bool, blocks: &mut BlockWriter) {
        let raw = self.block_start.map(|start| &self.window.bytes()[start..end]);
        blocks.tokens(&self.tokens, raw, at_end);
        self.tokens.clear();
        self.block_start = Some(end);
    }
}
