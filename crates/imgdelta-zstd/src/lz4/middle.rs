//! Levels 1 and 2 of LZ4's high compression since release 1.10.
//! Never looks at more than three candidates for a match.
//!
//! Two tables hold the last place of four bytes and of seven bytes with one hash. The first candidate
//! that matches is taken, except that a longer match one byte later wins over one of four bytes.

use super::{
    LAST_LITERALS, LAST_START, LEAST_MATCH, Lz4Error, MOST_DISTANCE,
    block::{Match, SequenceWriter},
    compare::{common_bytes, four_hash},
};
use imgdelta_wire::fixed::u64_at;

/// Compresses `plain`.
pub(super) fn encode(plain: &[u8], mut writer: SequenceWriter<'_>) -> Result<Vec<u8>, Lz4Error> {
    let Some(last_start) = plain.len().checked_sub(LAST_START).filter(|&last| last > 0) else {
        return writer.finish(plain);
    };
    let mut search = MiddleSearch {
        plain,
        last_start,
        fours: PlaceTable::new(|plain, at| four_hash(plain, at, HASH_BITS)),
        sevens: PlaceTable::new(seven_hash),
    };
    let mut at = 0;
    while at <= last_start {
        let anchor = writer.anchor();
        let Some(found) = search.at(at) else {
            // Steps grow where nothing matches.
            at += 1 + ((at - anchor) >> 9);
            continue;
        };
        let found = search.extended_back(found, anchor);
        // The places are those of the place that was searched, even if the match begins elsewhere.
        search.sevens.put(plain, found.start + 1, at + 1);
        search.sevens.put(plain, found.start + 2, at + 2);
        search.fours.put(plain, found.start + 1, at + 1);
        writer.write(plain, found)?;
        at = found.end();
        search.end_of_match(at);
    }
    writer.finish(plain)
}

struct MiddleSearch<'a> {
    plain: &'a [u8],
    last_start: usize,
    fours: PlaceTable,
    sevens: PlaceTable,
}

impl MiddleSearch<'_> {
    /// Returns the match at a place, or at the next one.
    fn at(&mut self, at: usize) -> Option<Match> {
        let seven = self.sevens.swap(self.plain, at);
        if let Some(found) = self.with(seven, at).filter(|found| found.bytes >= LEAST_MATCH) {
            return Some(found);
        }
        let four = self.fours.swap(self.plain, at);
        let found = self.with(four, at).filter(|found| found.bytes >= LEAST_MATCH)?;
        if at < self.last_start {
            let next = self.with(self.sevens.place(self.plain, at + 1), at + 1);
            if let Some(next) = next.filter(|next| next.bytes > found.bytes) {
                self.sevens.put(self.plain, at + 1, at + 1);
                return Some(next);
            }
        }
        Some(found)
    }

    /// Compares a place with an earlier one.
    fn with(&self, earlier: Option<usize>, at: usize) -> Option<Match> {
        let earlier = earlier?;
        let distance =
            at.checked_sub(earlier).filter(|distance| (1..=MOST_DISTANCE).contains(distance))?;
        let end = self.plain.len() - LAST_LITERALS;
        let bytes = common_bytes(self.plain, earlier, at, end);
        Some(Match { start: at, bytes, distance })
    }

    /// Extends a match to the front over literals.
    fn extended_back(&self, mut found: Match, anchor: usize) -> Match {
        while found.start > anchor
            && found.start > found.distance
            && self.plain[found.start - 1] == self.plain[found.start - 1 - found.distance]
        {
            found.start -= 1;
            found.bytes += 1;
        }
        found
    }

    /// Stores places at the end of a match.
    fn end_of_match(&mut self, end: usize) {
        if end + 6 >= self.plain.len() {
            return;
        }
        let places = [5, 3, 2].into_iter().filter(|&back| back < 5 || end > 5);
        for back in places {
            self.sevens.put(self.plain, end - back, end - back);
        }
        for back in [2, 1] {
            self.fours.put(self.plain, end - back, end - back);
        }
    }
}

/// The last place of each hash.
struct PlaceTable {
    /// Places, counted from 1; 0 for none.
    places: Vec<u32>,
    hash: fn(&[u8], usize) -> usize,
}

impl PlaceTable {
    fn new(hash: fn(&[u8], usize) -> usize) -> Self {
        Self { places: vec![0; 1 << HASH_BITS], hash }
    }

    /// Returns the last place of the bytes at `at`.
    fn place(&self, plain: &[u8], at: usize) -> Option<usize> {
        (self.places[(self.hash)(plain, at)] as usize).checked_sub(1)
    }

    /// Stores `place` for the bytes at `at`.
    fn put(&mut self, plain: &[u8], at: usize, place: usize) {
        self.places[(self.hash)(plain, at)] = u32::try_from(place + 1).unwrap_or(0);
    }

    /// Returns the last place of the bytes at `at`, and stores `at`.
    fn swap(&mut self, plain: &[u8], at: usize) -> Option<usize> {
        let last = self.place(plain, at);
        self.put(plain, at, at);
        last
    }
}

fn seven_hash(plain: &[u8], at: usize) -> usize {
    let bytes = u64_at(plain, at).unwrap_or(0) << 8;
    usize::try_from(bytes.wrapping_mul(SEVEN_FACTOR) >> (64 - HASH_BITS)).unwrap_or(0)
}

const HASH_BITS: u32 = 14;
const SEVEN_FACTOR: u64 = 58_295_818_150_454_627;
