//! Level "best": of all copies that begin within three bytes the one that saves most by an
//! estimate in bits.
//!
//! After Klaus Post's bestFastEncoder as it is from 1.17.8 on. Never decides what becomes of a
//! block.

use super::block::Parsed;
use super::history::{History, agreeing, agreeing_before, eight, four, hash4, hash8};
use super::sequences::{copy_bits, offset_bits};
use super::{Cursor, Places};

pub(super) const LONG_BITS: u32 = 22;
pub(super) const SHORT_BITS: u32 = 18;

/// Bytes at the end of a block where no search starts.
const MARGIN: usize = 12;
/// Smaller blocks are not searched.
const FEWEST_BYTES: usize = 16;
/// One byte more is skipped for each so many bytes (a power of two) without a copy.
const PATIENCE: u32 = 9;
/// A copy of so many bytes is taken without looking further.
const GOOD_BYTES: usize = 250;
/// Bytes at its start that a copy found from another's end need not have.
const FREE_START: usize = 2;

pub(super) struct Best {
    long: Box<[Places]>,
    short: Box<[Places]>,
}

impl Best {
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
        let block = bytes.len() - start;
        let mut cursor = Cursor { bytes, at: start, done: start, parsed };
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
            let mut search = Search::new(history, literal_cost, &cursor);
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
            // Both bounds are as the original has them; they differ by eight bytes.
            let enter_end = if let Kind::Repeat(repeat) = best.kind {
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

    /// Tries what begins here.
    fn search(&self, search: &mut Search, at: usize) {
        let word = eight(search.bytes, at);
        for places in [self.long[hash8(word, LONG_BITS)], self.short[hash4(word, SHORT_BITS)]] {
            search.improve_from(places.latest, 0, at);
            search.improve_from(places.earlier, 0, at);
        }
    }

    /// Tries what begins one or two bytes later, and what the bytes behind the copy occurred with.
    fn search_ahead(&self, search: &mut Search, at: usize, end: usize) {
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
            // The second look starts from what the first found.
            let best = search.best;
            if !search.improve_from(place, best.bytes - FREE_START, best.at + FREE_START) {
                break;
            }
        }
    }
}

/// A repeated distance.
#[derive(Clone, Copy)]
enum Repeat {
    /// One of the last three, after at least a literal.
    Distance(usize),
    /// Right after a copy: the second, the third, or one less than the first.
    Here(usize),
}

impl Repeat {
    /// As the format counts.
    fn offset(self) -> u32 {
        match self {
            Self::Distance(which) | Self::Here(which) => which as u32 + 1,
        }
    }

    /// The last three distances after it.
    fn after(self, [first, second, third]: [usize; 3]) -> [usize; 3] {
        match self {
            Self::Distance(0) => [first, second, third],
            Self::Distance(1) | Self::Here(0) => [second, first, third],
            Self::Distance(_) | Self::Here(1) => [third, first, second],
            Self::Here(_) => [first - 1, first, second],
        }
    }
}

/// What was tried last with success.
#[derive(Clone, Copy)]
enum Kind {
    Nothing,
    Copy,
    Repeat(Repeat),
}

/// A copy that may be taken.
#[derive(Clone, Copy)]
struct Candidate {
    kind: Kind,
    at: usize,
    from: usize,
    /// None if it would cost more than its literals. Such a one still keeps others of its kind
    /// from being tried.
    bytes: usize,
    /// Bits that it costs more than its literals would; negative if it is worth it.
    cost: i32,
}

/// The search at one position.
struct Search<'a> {
    bytes: &'a [u8],
    history: &'a History,
    /// Bits that a literal takes, in 1/1024.
    literal_cost: i32,
    /// What is before this is in a sequence.
    done: usize,
    best: Candidate,
}

impl<'a> Search<'a> {
    fn new(history: &'a History, literal_cost: i32, cursor: &Cursor) -> Self {
        let best = Candidate { kind: Kind::Nothing, at: cursor.at, from: 0, bytes: 0, cost: 0 };
        Self { bytes: history.bytes(), history, literal_cost, done: cursor.done, best }
    }

    fn is_good(&self) -> bool {
        self.best.bytes >= GOOD_BYTES
    }

    /// Tries a place that tables gave, `before` bytes back; false if nothing is there.
    fn improve_from(&mut self, place: u32, before: usize, at: usize) -> bool {
        let index = place.checked_sub(self.history.origin()).map(|index| index as usize);
        let Some(from) = index.and_then(|index| index.checked_sub(before)) else { return false };
        self.improve(from, at, None);
        true
    }

    fn repeats(&mut self, distances: [usize; 3], at: usize) {
        let [first, second, third] = distances;
        if at == self.done {
            self.improve_by(second, at, Repeat::Here(0));
            self.improve_by(third, at, Repeat::Here(1));
            if first > 1 {
                self.improve_by(first - 1, at, Repeat::Here(2));
            }
        }
        if matches!(self.best.kind, Kind::Repeat(_)) {
            return;
        }
        for (which, distance) in distances.into_iter().enumerate() {
            self.improve_by(distance, at + 1, Repeat::Distance(which));
        }
        if matches!(self.best.kind, Kind::Copy) {
            for (which, distance) in distances.into_iter().enumerate() {
                self.improve_by(distance, at + 3, Repeat::Distance(which));
            }
        }
    }

    fn improve_by(&mut self, distance: usize, at: usize, repeat: Repeat) {
        if let Some(from) = at.checked_sub(distance) {
            self.improve(from, at, Some(repeat));
        }
    }

    /// Takes a copy if it saves more than the best so far.
    fn improve(&mut self, mut from: usize, mut at: usize, repeat: Option<Repeat>) {
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
            // Whether it is as long shows four bytes before the best one's end.
            let check = best_end.checked_sub(at + 8).filter(|&check| check > 4);
            if let Some(check) = check.filter(|_| bytes.len() - best_end > 2)
                && four(bytes, from + check) != four(bytes, at + check)
            {
                return;
            }
        }
        let mut length = 4 + agreeing(bytes, from + 4, at + 4);
        if !matches!(best.kind, Kind::Repeat(_)) {
            let floor = at.saturating_sub(window);
            let back = agreeing_before(bytes, (from, floor), (at, self.done));
            (from, at, length) = (from - back, at - back, length + back);
        }
        let offset = repeat.map_or((at - from) as u32 + 3, Repeat::offset);
        let saved = (length as i32).wrapping_mul(self.literal_cost) >> 10;
        let cost = offset_bits(offset) + copy_bits(length as u32 - 3) - saved;
        let later = (at as i32 - best.at as i32).wrapping_mul(self.literal_cost) >> 10;
        if best.bytes == 0 || (cost <= 0 && cost - best.cost + later < 0) {
            let kind = repeat.map_or(Kind::Copy, Kind::Repeat);
            let length = if cost > 0 { 0 } else { length };
            self.best = Candidate { kind, at, from, bytes: length, cost };
        }
    }
}

/// Bits that a literal of a block takes at best, in 1/1024; at least one.
///
/// In double precision as the original: sums of whole bits for each byte value.
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
