//! Level "better": a long table with two positions per entry, and a short one.
//!
//! A short copy competes with a long one at the next byte, and the bytes behind a copy may lead to
//! a longer one. After Klaus Post's betterFastEncoder. Never chooses the form of a block.

use super::block::ParsedBlock;
use super::default::before_agrees;
use super::history::{History, agreeing, agreeing_before, eight, four, hash5, hash8};
use super::{HashEntry, KlauspostVersion, ParseCursor, PlacePair};

const LONG_BITS: u32 = 19;
const SHORT_BITS: u32 = 13;

/// Bytes at the end of a block that are not searched.
const MARGIN: usize = 10;
/// Bytes of the smallest block that is searched.
const FEWEST_BYTES: usize = 16;
/// Exponent of two: after that many bytes without a copy, each step skips one byte more.
const PATIENCE: u32 = 8;
/// Bytes at the start of a copy that a copy found from its end may lack.
const FREE_START: usize = 3;

pub(super) struct BetterFinder {
    version: KlauspostVersion,
    long: Box<[PlacePair]>,
    short: Box<[HashEntry]>,
}

impl BetterFinder {
    pub(super) fn new(version: KlauspostVersion) -> Self {
        Self { version, long: PlacePair::table(LONG_BITS), short: HashEntry::table(SHORT_BITS) }
    }

    pub(super) fn lower(&mut self, by: u32) {
        PlacePair::lower(&mut self.long, by);
        HashEntry::lower(&mut self.short, by);
    }

    /// Finds the copies of the block at `start`.
    pub(super) fn parse(&mut self, history: &History, start: usize, parsed: &mut ParsedBlock) {
        let bytes = history.bytes();
        let block = bytes.len() - start;
        if self.version >= KlauspostVersion::V1_17_8
            && block > 3
            && agreeing(bytes, start, start + 1) == block - 1
        {
            let mut cursor = ParseCursor { bytes, at: start, done: start, parsed };
            cursor.copy(start + 1, 1, block - 1);
            return;
        }
        if block < FEWEST_BYTES {
            parsed.literals.extend_from_slice(&bytes[start..]);
            return;
        }
        let window = history.window() as usize;
        let end = bytes.len() - MARGIN;
        let mut finder = BetterSearch { tables: self, history };
        let mut cursor = ParseCursor { bytes, at: start, done: start, parsed };
        let mut last = 0;

        'block: loop {
            let may_repeat = cursor.may_repeat();
            let (searched, mut found) = loop {
                let at = cursor.at;
                let word = eight(bytes, at);
                let long = finder.enter_long(word, at);
                let short = finder.enter_short(word, at);
                if may_repeat && four(bytes, at + 1 - last) == (word >> 8) as u32 {
                    let forward = 4 + agreeing(bytes, at + 5 - last, at + 5);
                    cursor.repeat_nearby(at + 1, last, forward, at.saturating_sub(window));
                    if cursor.at >= end {
                        break 'block;
                    }
                    finder.enter_pairs(at + 1, cursor.at);
                    continue;
                }
                if let Some(found) = finder.search(word, at, long, short) {
                    break (at, found);
                }
                cursor.at += 1 + ((at - cursor.done) >> PATIENCE);
                if cursor.at >= end {
                    break 'block;
                }
            };
            if found.at + found.bytes < end {
                finder.search_from_end(&mut found);
            }
            let mut before = std::mem::replace(&mut last, found.at - found.from);
            let floor = found.at.saturating_sub(window);
            let back = agreeing_before(bytes, (found.from, floor), (found.at, cursor.done));
            let copy_start = found.at - back;
            cursor.copy(copy_start, last, found.bytes + back);
            if cursor.at >= end {
                break;
            }
            let enter_from = if finder.tables.version < KlauspostVersion::V1_17_3 {
                copy_start + 1
            } else {
                searched + 1
            };
            finder.enter_pairs(enter_from, cursor.at);
            if !may_repeat {
                continue;
            }
            while before_agrees(bytes, cursor.at, before) {
                let at = cursor.at;
                let word = eight(bytes, at);
                finder.enter_long(word, at);
                finder.enter_short(word, at);
                cursor.repeat_here(4 + agreeing(bytes, at + 4 - before, at + 4));
                (last, before) = (before, last);
                if cursor.at >= end {
                    break 'block;
                }
            }
        }
        cursor.finish();
    }
}

/// A possible copy: the `bytes` bytes at `at` equal those at `from`.
struct CopyMatch {
    at: usize,
    from: usize,
    bytes: usize,
}

struct BetterSearch<'a> {
    tables: &'a mut BetterFinder,
    history: &'a History,
}

impl BetterSearch<'_> {
    fn place(&self, at: usize) -> u32 {
        self.history.origin() + at as u32
    }

    /// Returns the index of a position if the window at `at` reaches it.
    fn reach(&self, place: u32, at: usize) -> Option<usize> {
        (self.place(at).wrapping_sub(place) < self.history.window())
            .then(|| (place - self.history.origin()) as usize)
    }

    fn enter_long(&mut self, word: u64, at: usize) -> PlacePair {
        let place = self.place(at);
        let places = &mut self.tables.long[hash8(word, LONG_BITS)];
        let before = *places;
        places.push(place);
        before
    }

    fn enter_short(&mut self, word: u64, at: usize) -> HashEntry {
        let entry = HashEntry { head: word as u32, place: self.place(at) };
        std::mem::replace(&mut self.tables.short[hash5(word, SHORT_BITS)], entry)
    }

    /// Indexes the bytes of a copy: every other byte in the long table, the rest in the short one.
    fn enter_pairs(&mut self, from: usize, to: usize) {
        for at in (from..to - 1).step_by(2) {
            let word = eight(self.history.bytes(), at);
            self.enter_long(word, at);
            self.enter_short(word >> 8, at + 1);
        }
    }

    /// Returns the best copy among the table entries for `at` and the next byte.
    fn search(
        &mut self,
        word: u64,
        at: usize,
        long: PlacePair,
        short: HashEntry,
    ) -> Option<CopyMatch> {
        let bytes = self.history.bytes();
        let candidate = |place| {
            let from = self.reach(place, at).filter(|&from| eight(bytes, from) == word)?;
            Some(CopyMatch { at, from, bytes: 8 + agreeing(bytes, from + 8, at + 8) })
        };
        match (candidate(long.latest), candidate(long.earlier)) {
            (Some(latest), Some(earlier)) if earlier.bytes > latest.bytes => return Some(earlier),
            (Some(found), _) | (None, Some(found)) => return Some(found),
            (None, None) => {}
        }
        let entry = HashEntry { head: word as u32, place: self.place(at) };
        if !short.matches(entry, self.history.window()) {
            return None;
        }
        let from = (short.place - self.history.origin()) as usize;
        let short = CopyMatch { at, from, bytes: 4 + agreeing(bytes, from + 4, at + 4) };
        let word = eight(bytes, at + 1);
        let next = self.enter_long(word, at + 1);
        for place in [next.latest, next.earlier] {
            // The original measures the window from `at`, not from the next byte.
            let Some(from) = self.reach(place, at) else { continue };
            if eight(bytes, from) == word {
                let agreed = 8 + agreeing(bytes, from + 8, at + 9);
                if agreed > short.bytes {
                    return Some(CopyMatch { at: at + 1, from, bytes: agreed });
                }
            }
        }
        Some(short)
    }

    /// Looks up the bytes behind the copy. If the bytes before their position match too and the
    /// result is longer, it replaces the copy.
    fn search_from_end(&self, found: &mut CopyMatch) {
        let bytes = self.history.bytes();
        let word = eight(bytes, found.at + found.bytes);
        let places = self.tables.long[hash8(word, LONG_BITS)];
        // A copy from the first position changes only the start of the second attempt.
        let head = four(bytes, found.at + FREE_START);
        let at = found.at + FREE_START;
        for place in [places.latest, places.earlier] {
            let Some(index) = place.checked_sub(self.history.origin()) else { continue };
            let Some(from) = (index as usize + FREE_START).checked_sub(found.bytes) else {
                continue;
            };
            if from < at && at - from < self.history.window() as usize && four(bytes, from) == head
            {
                let agreed = 4 + agreeing(bytes, from + 4, at + 4);
                if agreed > found.bytes {
                    *found = CopyMatch { at, from, bytes: agreed };
                }
            }
        }
    }
}
