//! Level "best" of 1.15.11 and 1.15.12, which podman, skopeo and buildah of Debian 12 have.
//!
//! Copies are compared in pairs, and only the chosen one is extended backwards. After Klaus Post's
//! bestFastEncoder. Never chooses the form of a block.

use super::best::{LONG_BITS, SHORT_BITS, literal_cost};
use super::block::ParsedBlock;
use super::default::before_agrees;
use super::history::{History, agreeing, agreeing_before, eight, four, hash4, hash8};
use super::sequences::{copy_bits, offset_bits};
use super::{ParseCursor, PlacePair};

/// Bytes at the end of a block that are not searched.
const MARGIN: usize = 12;
/// Bytes of the smallest block that is searched.
const FEWEST_BYTES: usize = 16;
/// Exponent of two: after that many bytes without a copy, each step skips one byte more.
const PATIENCE: u32 = 9;
/// Bytes of a copy that ends the search.
const GOOD_BYTES: usize = 100;
/// The cost of a candidate without a copy.
const NO_COPY: i32 = 25_000;

pub(super) struct EarlyBestFinder {
    long: Box<[PlacePair]>,
    short: Box<[PlacePair]>,
}

/// A possible copy, or none.
#[derive(Clone, Copy)]
struct EarlyCandidate {
    at: usize,
    from: usize,
    /// Bytes of the copy. 0 if it costs more than literals.
    bytes: usize,
    /// Number of the last distance that it repeats, 1 to 3. 0 for a new distance.
    repeat: u32,
    cost: i32,
}

/// The current block and the limits of its search.
struct BlockContext<'a> {
    bytes: &'a [u8],
    origin: u32,
    window: usize,
    /// Bits of a literal, in 1/1024.
    literal_cost: i32,
}

impl EarlyBestFinder {
    pub(super) fn new() -> Self {
        Self { long: PlacePair::table(LONG_BITS), short: PlacePair::table(SHORT_BITS) }
    }

    pub(super) fn lower(&mut self, by: u32) {
        PlacePair::lower(&mut self.long, by);
        PlacePair::lower(&mut self.short, by);
    }

    /// Finds the copies of the block at `start`.
    pub(super) fn parse(&mut self, history: &History, start: usize, parsed: &mut ParsedBlock) {
        let bytes = history.bytes();
        let mut cursor = ParseCursor { bytes, at: start, done: start, parsed };
        if bytes.len() - start < FEWEST_BYTES {
            cursor.finish();
            return;
        }
        let block = BlockContext {
            bytes,
            origin: history.origin(),
            window: history.window() as usize,
            literal_cost: literal_cost(&bytes[start..]),
        };
        let end = bytes.len() - MARGIN;
        let mut distances = [0usize; 3];

        'block: while cursor.at < end {
            let at = cursor.at;
            let may_repeat = cursor.may_repeat();
            let mut best = self.search(&block, at);
            if may_repeat && best.bytes < GOOD_BYTES {
                best = block.repeats(best, distances, at + 1);
                if best.bytes > 0 {
                    best = block.repeats(best, distances, at + 3);
                }
            }
            self.enter(&block, at);
            if best.bytes < 4 {
                cursor.at += 1 + ((at - cursor.done) >> PATIENCE);
                continue;
            }
            if best.bytes < GOOD_BYTES {
                best = self.search_ahead(&block, best, at, end);
            }
            let floor = best.at.saturating_sub(block.window);
            if best.repeat > 0 {
                // At least one literal stays before the copy: without one the offset value means
                // another distance.
                let back = agreeing_before(bytes, (best.from, floor), (best.at, cursor.done + 1));
                cursor.push(best.at - back, best.repeat, best.bytes + back);
                if cursor.at >= end {
                    break;
                }
                for at in best.at..cursor.at - 1 {
                    self.enter(&block, at);
                }
                distances[..best.repeat as usize].rotate_right(1);
                continue;
            }
            let back = agreeing_before(bytes, (best.from, floor), (best.at, cursor.done));
            let start = best.at - back;
            distances = [best.at - best.from, distances[0], distances[1]];
            cursor.copy(start, distances[0], best.bytes + back);
            if cursor.at >= end {
                break;
            }
            for at in start + 1..cursor.at - 1 {
                self.enter(&block, at);
            }
            while may_repeat && before_agrees(bytes, cursor.at, distances[1]) {
                let at = cursor.at;
                self.enter(&block, at);
                cursor.repeat_here(4 + agreeing(bytes, at + 4 - distances[1], at + 4));
                distances.swap(0, 1);
                if cursor.at >= end {
                    break 'block;
                }
            }
        }
        cursor.finish();
    }

    fn enter(&mut self, block: &BlockContext, at: usize) {
        let word = eight(block.bytes, at);
        let place = block.origin + at as u32;
        self.long[hash8(word, LONG_BITS)].push(place);
        self.short[hash4(word, SHORT_BITS)].push(place);
    }

    /// Returns the best copy that begins at `at`.
    fn search(&self, block: &BlockContext, at: usize) -> EarlyCandidate {
        let word = eight(block.bytes, at);
        let long = self.long[hash8(word, LONG_BITS)];
        let short = self.short[hash4(word, SHORT_BITS)];
        let mut best = block.candidate(long.latest, 0, at);
        for place in [long.earlier, short.latest, short.earlier] {
            best = block.better(best, block.candidate(place, 0, at));
        }
        best
    }

    /// Returns the best of `best`, the copies that begin one or two bytes later, and the copies
    /// found by the bytes behind the best one.
    fn search_ahead(
        &self,
        block: &BlockContext,
        best: EarlyCandidate,
        at: usize,
        end: usize,
    ) -> EarlyCandidate {
        let next = eight(block.bytes, at + 1);
        let short = self.short[hash4(next, SHORT_BITS)].latest;
        let mut best = block.better(best, block.candidate(short, 0, at + 1));
        for at in [at + 1, at + 2] {
            let places = self.long[hash8(eight(block.bytes, at), LONG_BITS)];
            for place in [places.latest, places.earlier] {
                best = block.better(best, block.candidate(place, 0, at));
            }
        }
        if best.at + best.bytes >= end {
            return best;
        }
        let behind = eight(block.bytes, best.at + best.bytes);
        let places = self.long[hash8(behind, LONG_BITS)];
        let mut chosen = best;
        for place in [places.latest, places.earlier] {
            let index = place.checked_sub(block.origin);
            if index.is_none_or(|index| (index as usize) < best.bytes) {
                break;
            }
            chosen = block.better(chosen, block.candidate(place, best.bytes, best.at));
        }
        chosen
    }
}

impl BlockContext<'_> {
    /// Returns the copy from `before` bytes before a position of a table.
    fn candidate(&self, place: u32, before: usize, at: usize) -> EarlyCandidate {
        let from = place.checked_sub(self.origin).map(|index| index as usize);
        match from.and_then(|from| from.checked_sub(before)) {
            Some(from) => self.weigh(from, at, 0),
            None => EarlyCandidate { at, from: 0, bytes: 0, repeat: 0, cost: NO_COPY },
        }
    }

    fn repeats(
        &self,
        mut best: EarlyCandidate,
        distances: [usize; 3],
        at: usize,
    ) -> EarlyCandidate {
        for (distance, repeat) in distances.into_iter().zip(1..) {
            if let Some(from) = at.checked_sub(distance) {
                best = self.better(best, self.weigh(from, at, repeat));
            }
        }
        best
    }

    fn weigh(&self, from: usize, at: usize, repeat: u32) -> EarlyCandidate {
        let none = EarlyCandidate { at, from, bytes: 0, repeat: 0, cost: NO_COPY };
        if from >= at || at - from >= self.window || four(self.bytes, from) != four(self.bytes, at)
        {
            return none;
        }
        let bytes = 4 + agreeing(self.bytes, from + 4, at + 4);
        let offset = if repeat > 0 { repeat } else { (at - from) as u32 + 3 };
        let saved = (bytes as i32).wrapping_mul(self.literal_cost) >> 10;
        let cost = offset_bits(offset) + copy_bits(bytes as u32 - 3) - saved;
        if cost > 0 {
            return EarlyCandidate { repeat, ..none };
        }
        EarlyCandidate { at, from, bytes, repeat, cost }
    }

    /// Returns the better of two candidates, or the second if they are equal.
    fn better(&self, one: EarlyCandidate, other: EarlyCandidate) -> EarlyCandidate {
        let later = |a: &EarlyCandidate, b: &EarlyCandidate| {
            (a.at as i32 - b.at as i32).wrapping_mul(self.literal_cost) >> 10
        };
        let is_first = one.cost + later(&one, &other) < other.cost + later(&other, &one);
        if is_first { one } else { other }
    }
}
