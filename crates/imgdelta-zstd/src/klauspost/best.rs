//! Level "best": of all copies that begin within three bytes, the one with the best estimated gain.
//!
//! The estimate is in bits. After Klaus Post's bestFastEncoder from 1.17.8 on. Never chooses the
//! form of a block.

use super::block::ParsedBlock;
use super::history::{History, agreeing, agreeing_before, eight, four, hash4, hash8};
use super::sequences::{copy_bits, offset_bits};
use super::{ParseCursor, PlacePair};

pub(super) const LONG_BITS: u32 = 22;
pub(super) const SHORT_BITS: u32 = 18;

/// Bytes at the end of a block that are not searched.
const MARGIN: usize = 12;
/// Bytes of the smallest block that is searched.
const FEWEST_BYTES: usize = 16;
/// Exponent of two: after that many bytes without a copy, each step skips one byte more.
const PATIENCE: u32 = 9;
/// Bytes of a copy that ends the search.
const GOOD_BYTES: usize = 250;
/// Bytes at the start of a copy that a copy found from its end may lack.
const FREE_START: usize = 2;

pub(super) struct BestFinder {
    long: Box<[PlacePair]>,
    short: Box<[PlacePair]>,
}

impl BestFinder {
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
        let block = bytes.len() - start;
        let mut cursor = ParseCursor { bytes, at: start, done: start, parsed };
        if block > 3 && agreeing(bytes, start, start + 1) == block - 1 {
            cursor.copy(start + 1, 1, block - 1);
            return;
        }
        if block < FEWEST_BYTES {
            cursor.finish();
            return;
        }
        let literal_cost = literal_cost(&bytes[start..]);
        let end = bytes.len() - MARGIN;
        // The last three distances, the latest first.
        let mut distances = [0usize; 3];

        while cursor.at < end {
            let at = cursor.at;
            let mut search = BestSearch::new(history, literal_cost, &cursor);
            self.search(&mut search, at);
            if cursor.may_repeat() && !search.is_good() {
                search.repeats(distances, at);
            }
            self.enter(history, at);
            if search.best.bytes == 0 {
                cursor.at += 1 + ((at - cursor.done) >> PATIENCE);
                continue;
            }
            if !search.is_good() {
                self.search_ahead(&mut search, at, end);
            }
            let best = search.best;
            // The two limits are the original's. They differ by eight bytes.
            let enter_end = if let CandidateKind::Repeat(repeat) = best.kind {
                cursor.push(best.at, repeat.offset(), best.bytes);
                distances = repeat.after(distances);
                end + 4
            } else {
                cursor.copy(best.at, best.at - best.from, best.bytes);
                distances = [best.at - best.from, distances[0], distances[1]];
                end - 4
            };
            for at in at + 1..cursor.at.min(enter_end) {
                self.enter(history, at);
            }
        }
        cursor.finish();
    }

    fn enter(&mut self, history: &History, at: usize) {
        let word = eight(history.bytes(), at);
        let place = history.origin() + at as u32;
        self.long[hash8(word, LONG_BITS)].push(place);
        self.short[hash4(word, SHORT_BITS)].push(place);
    }

    /// Tries the copies that begin at `at`.
    fn search(&self, search: &mut BestSearch, at: usize) {
        let word = eight(search.bytes, at);
        for places in [self.long[hash8(word, LONG_BITS)], self.short[hash4(word, SHORT_BITS)]] {
            search.improve_from(places.latest, 0, at);
            search.improve_from(places.earlier, 0, at);
        }
    }

    /// Tries the copies that begin one or two bytes later, and those found by the bytes behind the
    /// best copy.
    fn search_ahead(&self, search: &mut BestSearch, at: usize, end: usize) {
        let next = eight(search.bytes, at + 1);
        search.improve_from(self.short[hash4(next, SHORT_BITS)].latest, 0, at + 1);
        for at in [at + 1, at + 2] {
            let places = self.long[hash8(eight(search.bytes, at), LONG_BITS)];
            search.improve_from(places.latest, 0, at);
            search.improve_from(places.earlier, 0, at);
        }
        let best = search.best;
        if best.at + FREE_START <= at || best.at + best.bytes >= end {
            return;
        }
        let behind = eight(search.bytes, best.at + best.bytes);
        let places = self.long[hash8(behind, LONG_BITS)];
        for place in [places.latest, places.earlier] {
            // The second attempt starts from the result of the first.
            let best = search.best;
            if !search.improve_from(place, best.bytes - FREE_START, best.at + FREE_START) {
                break;
            }
        }
    }
}

/// A choice among the last distances.
#[derive(Clone, Copy)]
enum RepeatedDistance {
    /// One of the last three, by index, after at least one literal.
    AfterLiteral(usize),
    /// Directly after a copy, by index: the second, the third, or the first minus one.
    AfterCopy(usize),
}

impl RepeatedDistance {
    /// Returns the format's offset value.
    fn offset(self) -> u32 {
        match self {
            Self::AfterLiteral(index) | Self::AfterCopy(index) => index as u32 + 1,
        }
    }

    /// Returns the last three distances after the copy.
    fn after(self, [first, second, third]: [usize; 3]) -> [usize; 3] {
        match self {
            Self::AfterLiteral(0) => [first, second, third],
            Self::AfterLiteral(1) | Self::AfterCopy(0) => [second, first, third],
            Self::AfterLiteral(_) | Self::AfterCopy(1) => [third, first, second],
            Self::AfterCopy(_) => [first - 1, first, second],
        }
    }
}

/// The kind of a candidate.
#[derive(Clone, Copy)]
enum CandidateKind {
    Nothing,
    Copy,
    Repeat(RepeatedDistance),
}

/// The best copy so far.
#[derive(Clone, Copy)]
struct Candidate {
    kind: CandidateKind,
    at: usize,
    from: usize,
    /// Bytes of the copy. 0 if it would cost more than literals; such a candidate still stops the
    /// search for others of its kind.
    bytes: usize,
    /// Bits that the copy costs more than literals. Negative if it saves bits.
    cost: i32,
}

/// The search at one position.
struct BestSearch<'a> {
    bytes: &'a [u8],
    history: &'a History,
    /// Bits of a literal, in 1/1024.
    literal_cost: i32,
    /// End of the last sequence.
    done: usize,
    best: Candidate,
}

impl<'a> BestSearch<'a> {
    fn new(history: &'a History, literal_cost: i32, cursor: &ParseCursor) -> Self {
        let best =
            Candidate { kind: CandidateKind::Nothing, at: cursor.at, from: 0, bytes: 0, cost: 0 };
        Self { bytes: history.bytes(), history, literal_cost, done: cursor.done, best }
    }

    fn is_good(&self) -> bool {
        self.best.bytes >= GOOD_BYTES
    }

    /// Tries a copy from `before` bytes before a position of the tables. False if the position is
    /// not in the history.
    fn improve_from(&mut self, place: u32, before: usize, at: usize) -> bool {
        let index = place.checked_sub(self.history.origin()).map(|index| index as usize);
        let Some(from) = index.and_then(|index| index.checked_sub(before)) else { return false };
        self.improve(from, at, None);
        true
    }

    fn repeats(&mut self, distances: [usize; 3], at: usize) {
        let [first, second, third] = distances;
        if at == self.done {
            self.improve_by(second, at, RepeatedDistance::AfterCopy(0));
            self.improve_by(third, at, RepeatedDistance::AfterCopy(1));
            if first > 1 {
                self.improve_by(first - 1, at, RepeatedDistance::AfterCopy(2));
            }
        }
        if matches!(self.best.kind, CandidateKind::Repeat(_)) {
            return;
        }
        for (index, distance) in distances.into_iter().enumerate() {
            self.improve_by(distance, at + 1, RepeatedDistance::AfterLiteral(index));
        }
        if matches!(self.best.kind, CandidateKind::Copy) {
            for (index, distance) in distances.into_iter().enumerate() {
                self.improve_by(distance, at + 3, RepeatedDistance::AfterLiteral(index));
            }
        }
    }

    fn improve_by(&mut self, distance: usize, at: usize, repeat: RepeatedDistance) {
        if let Some(from) = at.checked_sub(distance) {
            self.improve(from, at, Some(repeat));
        }
    }

    /// Makes a copy the best candidate if it saves more bits.
    fn improve(&mut self, mut from: usize, mut at: usize, repeat: Option<RepeatedDistance>) {
        let bytes = self.bytes;
        let window = self.history.window() as usize;
        let best = self.best;
        if from >= at || at - from >= window || four(bytes, from) != four(bytes, at) {
            return;
        }
        if best.bytes > 16 {
            let best_end = best.at + best.bytes;
            if best_end >= bytes.len() {
                return;
            }
            // Skips copies that differ shortly before the end of the best one.
            let check = best_end.checked_sub(at + 8).filter(|&check| check > 4);
            if let Some(check) = check.filter(|_| bytes.len() - best_end > 2)
                && four(bytes, from + check) != four(bytes, at + check)
            {
                return;
            }
        }
        let mut length = 4 + agreeing(bytes, from + 4, at + 4);
        if !matches!(best.kind, CandidateKind::Repeat(_)) {
            let floor = at.saturating_sub(window);
            let back = agreeing_before(bytes, (from, floor), (at, self.done));
            (from, at, length) = (from - back, at - back, length + back);
        }
        let offset = repeat.map_or((at - from) as u32 + 3, RepeatedDistance::offset);
        let saved = (length as i32).wrapping_mul(self.literal_cost) >> 10;
        let cost = offset_bits(offset) + copy_bits(length as u32 - 3) - saved;
        let later = (at as i32 - best.at as i32).wrapping_mul(self.literal_cost) >> 10;
        if best.bytes == 0 || (cost <= 0 && cost - best.cost + later < 0) {
            let kind = repeat.map_or(CandidateKind::Copy, CandidateKind::Repeat);
            let length = if cost > 0 { 0 } else { length };
            self.best = Candidate { kind, at, from, bytes: length, cost };
        }
    }
}

/// Returns the estimated bits of a literal of this block, in 1/1024, and at least one bit.
///
/// Like the original in double precision, with whole bits for each byte value.
#[allow(clippy::cast_precision_loss, reason = "counts are small")]
pub(super) fn literal_cost(block: &[u8]) -> i32 {
    let mut counts = [0u32; 256];
    for &byte in block {
        counts[usize::from(byte)] += 1;
    }
    let share = 1.0 / block.len() as f64;
    let bits: f64 = (counts.iter().filter(|&&count| count > 0))
        .map(|&count| (-(f64::from(count) * share).log2() * f64::from(count)).ceil())
        .sum();
    ((bits.ceil() as u64 * 1024 / block.len() as u64) as i32).max(1024)
}
