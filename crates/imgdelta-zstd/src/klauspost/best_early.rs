//! Level "best" as it was in 1.15.11 and 1.15.12: copies are weighed two by two, and extended
//! backwards only once one is chosen.
//!
//! After Klaus Post's bestFastEncoder; Debian 12's podman, skopeo and buildah have it. Never
//! decides what becomes of a block.

use super::best::{LONG_BITS, SHORT_BITS, literal_cost};
use super::block::Parsed;
use super::double::before_agrees;
use super::history::{History, agreeing, agreeing_before, eight, four, hash4, hash8};
use super::sequences::{copy_bits, offset_bits};
use super::{Cursor, Places};

/// Bytes at the end of a block where no search starts.
const MARGIN: usize = 12;
/// Smaller blocks are not searched.
const FEWEST_BYTES: usize = 16;
/// One byte more is skipped for each so many bytes (a power of two) without a copy.
const PATIENCE: u32 = 9;
/// A copy of so many bytes is taken without looking further.
const GOOD_BYTES: usize = 100;
/// What no copy costs.
const NO_COPY: i32 = 25_000;

pub(super) struct BestEarly {
    long: Box<[Places]>,
    short: Box<[Places]>,
}

/// A copy that may be taken, or none.
#[derive(Clone, Copy)]
struct Candidate {
    at: usize,
    from: usize,
    /// 0 if it is not worth it.
    bytes: usize,
    /// Which of the last distances it repeats, 1 to 3; 0 if none.
    repeat: u32,
    cost: i32,
}

/// The block at hand.
struct Block<'a> {
    bytes: &'a [u8],
    origin: u32,
    window: usize,
    /// Bits that a literal takes, in 1/1024.
    literal_cost: i32,
}

impl BestEarly {
    pub(super) fn new() -> Self {
        Self { long: Places::table(LONG_BITS), short: Places::table(SHORT_BITS) }
    }

    pub(super) fn lower(&mut self, by: u32) {
        Places::lower(&mut self.long, by);
        Places::lower(&mut self.short, by);
    }

    /// Finds the copies of the block from `start` on.
    pub(super) fn parse(&mut self, history: &History, start: usize, parsed: &mut Parsed) {
        let bytes = history.bytes();
        let mut cursor = Cursor { bytes, at: start, done: start, parsed };
        if bytes.len() - start < FEWEST_BYTES {
            cursor.finish();
            return;
        }
        let block = Block {
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
                // At least one literal is left, without which it would be another distance.
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

    fn enter(&mut self, block: &Block, at: usize) {
        let word = eight(block.bytes, at);
        let place = block.origin + at as u32;
        self.long[hash8(word, LONG_BITS)].push(place);
        self.short[hash4(word, SHORT_BITS)].push(place);
    }

    /// What begins here.
    fn search(&self, block: &Block, at: usize) -> Candidate {
        let word = eight(block.bytes, at);
        let long = self.long[hash8(word, LONG_BITS)];
        let short = self.short[hash4(word, SHORT_BITS)];
        let mut best = block.candidate(long.latest, 0, at);
        for place in [long.earlier, short.latest, short.earlier] {
            best = block.better(best, block.candidate(place, 0, at));
        }
        best
    }

    /// What begins one or two bytes later, and what the bytes behind the copy occurred with.
    fn search_ahead(&self, block: &Block, best: Candidate, at: usize, end: usize) -> Candidate {
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

impl Block<'_> {
    /// The copy from a place that a table gave, `before` bytes back.
    fn candidate(&self, place: u32, before: usize, at: usize) -> Candidate {
        let from = place.checked_sub(self.origin).map(|index| index as usize);
        match from.and_then(|from| from.checked_sub(before)) {
            Some(from) => self.weigh(from, at, 0),
            None => Candidate { at, from: 0, bytes: 0, repeat: 0, cost: NO_COPY },
        }
    }

    fn repeats(&self, mut best: Candidate, distances: [usize; 3], at: usize) -> Candidate {
        for (distance, repeat) in distances.into_iter().zip(1..) {
            if let Some(from) = at.checked_sub(distance) {
                best = self.better(best, self.weigh(from, at, repeat));
            }
        }
        best
    }

    fn weigh(&self, from: usize, at: usize, repeat: u32) -> Candidate {
        let none = Candidate { at, from, bytes: 0, repeat: 0, cost: NO_COPY };
        if from >= at || at - from >= self.window || four(self.bytes, from) != four(self.bytes, at)
        {
            return none;
        }
        let bytes = 4 + agreeing(self.bytes, from + 4, at + 4);
        let offset = if repeat > 0 { repeat } else { (at - from) as u32 + 3 };
        let saved = (bytes as i32).wrapping_mul(self.literal_cost) >> 10;
        let cost = offset_bits(offset) + copy_bits(bytes as u32 - 3) - saved;
        if cost > 0 {
            return Candidate { repeat, ..none };
        }
        Candidate { at, from, bytes, repeat, cost }
    }

    /// The better of two; the second if they are equal.
    fn better(&self, one: Candidate, other: Candidate) -> Candidate {
        let later = |a: &Candidate, b: &Candidate| {
            (a.at as i32 - b.at as i32).wrapping_mul(self.literal_cost) >> 10
        };
        let is_first = one.cost + later(&one, &other) < other.cost + later(&other, &one);
        if is_first { one } else { other }
    }
}
