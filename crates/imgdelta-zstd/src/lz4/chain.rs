//! Levels 1 to 5 of LZ4's high compression, releases 1.9.
//! Never makes more comparisons than a multiple of the content's length.
//!
//! The places of four bytes with one hash are a chain, from the last one back. A search takes the
//! longest match of a few places, which may begin before the place that is searched. Up to three
//! matches that overlap are held, each longer than the one before; then their borders are chosen.

use super::{
    LAST_LITERALS, LAST_START, LEAST_MATCH, Lz4Error, MOST_DISTANCE,
    block::{Match, SequenceWriter},
    compare::{common_bytes, four_hash},
};
use imgdelta_wire::fixed::{u16_at, u32_at};

/// Compresses `plain`; a search compares `attempts` places.
pub(super) fn encode(
    plain: &[u8],
    attempts: usize,
    mut writer: SequenceWriter<'_>,
) -> Result<Vec<u8>, Lz4Error> {
    let Some(last_start) = plain.len().checked_sub(LAST_START).filter(|&last| last > 0) else {
        return writer.finish(plain);
    };
    let mut search = ChainSearch::new(plain, attempts);
    let mut at = 0;
    while at <= last_start {
        at = match search.widest(at, at, LEAST_MATCH - 1)? {
            Some(first) => Overlap { search: &mut search, last_start }.write(first, &mut writer)?,
            None => at + 1,
        };
    }
    writer.finish(plain)
}

/// Matches that overlap.
struct Overlap<'a, 'b> {
    search: &'a mut ChainSearch<'b>,
    last_start: usize,
}

impl Overlap<'_, '_> {
    /// Writes matches from `first` on, until no longer one overlaps. Returns the offset behind them.
    fn write(
        &mut self,
        mut first: Match,
        writer: &mut SequenceWriter<'_>,
    ) -> Result<usize, Lz4Error> {
        let plain = self.search.plain;
        let mut kept = first;
        loop {
            let Some(second) = self.longer(first, first.start, 2)? else {
                writer.write(plain, first)?;
                return Ok(first.end());
            };
            // A first match that others have replaced comes back if the second leaves it room.
            if kept.start < first.start && second.start < first.start + kept.bytes {
                first = kept;
            }
            if second.start - first.start < LEAST_GAP {
                first = second;
                continue;
            }
            match self.write_three(first, second, writer)? {
                Ending::All(end) => return Ok(end),
                Ending::Replaced { by, instead } => (first, kept) = (by, instead),
            }
        }
    }

    /// Writes matches while there are two or three of them.
    fn write_three(
        &mut self,
        mut first: Match,
        mut second: Match,
        writer: &mut SequenceWriter<'_>,
    ) -> Result<Ending, Lz4Error> {
        let plain = self.search.plain;
        loop {
            if second.start - first.start < SHORT_MATCH {
                let bytes = short_bytes(first, second);
                second.cut_front((first.start + bytes).saturating_sub(second.start));
            }
            let Some(third) = self.longer(second, second.start, 3)? else {
                first.bytes = first.bytes.min(second.start - first.start);
                writer.write(plain, first)?;
                writer.write(plain, second)?;
                return Ok(Ending::All(second.end()));
            };
            if third.start < first.end() + LEAST_GAP {
                if third.start < first.end() {
                    second = third;
                    continue;
                }
                if second.start < first.end() {
                    second.cut_front(first.end() - second.start);
                    if second.bytes < LEAST_MATCH {
                        second = third;
                    }
                }
                writer.write(plain, first)?;
                return Ok(Ending::Replaced { by: third, instead: second });
            }
            if second.start < first.end() {
                if second.start - first.start < SHORT_MATCH {
                    first.bytes = short_bytes(first, second);
                    second.cut_front(first.end().saturating_sub(second.start));
                } else {
                    first.bytes = second.start - first.start;
                }
            }
            writer.write(plain, first)?;
            (first, second) = (second, third);
        }
    }

    /// Searches for a match that is longer than `found`, `back` bytes before its end.
    fn longer(
        &mut self,
        found: Match,
        least_start: usize,
        back: usize,
    ) -> Result<Option<Match>, Lz4Error> {
        if found.end() > self.last_start {
            return Ok(None);
        }
        self.search.widest(found.end() - back, least_start, found.bytes)
    }
}

/// Result of writing matches that overlap.
enum Ending {
    /// All are written, up to this offset.
    All(usize),
    /// The first is written. The next first is `by`, and the match that it replaced is `instead`.
    Replaced { by: Match, instead: Match },
}

/// Returns the length of a first match that leaves the second one at least the shortest length.
fn short_bytes(first: Match, second: Match) -> usize {
    first.bytes.min(SHORT_MATCH).min(second.end() - LEAST_MATCH - first.start)
}

/// Search in chains of places.
struct ChainSearch<'a> {
    plain: &'a [u8],
    attempts: usize,
    /// The last place of each hash, counted from 1; 0 for none.
    last: Vec<u32>,
    /// For each place, by its low 16 bits, the distance to the one before it in its chain.
    distances: Vec<u16>,
    /// The first place that is not in a chain.
    next: usize,
    /// Bytes that may still be compared.
    work: u64,
}

impl<'a> ChainSearch<'a> {
    fn new(plain: &'a [u8], attempts: usize) -> Self {
        let work = (plain.len() as u64 + 1024) * (attempts as u64) * COMPARED_BYTES;
        let (last, distances) = (vec![0; 1 << HASH_BITS], vec![u16::MAX; 1 << 16]);
        Self { plain, attempts, last, distances, next: 0, work }
    }

    /// Puts all places before `end` into their chains.
    fn insert(&mut self, end: usize) {
        for place in self.next..end {
            let last = &mut self.last[four_hash(self.plain, place, HASH_BITS)];
            let distance = match (*last as usize).checked_sub(1) {
                Some(last) => u16::try_from(place - last).unwrap_or(u16::MAX),
                None => u16::MAX,
            };
            self.distances[place & 0xffff] = distance;
            *last = u32::try_from(place + 1).unwrap_or(0);
        }
        self.next = self.next.max(end);
    }

    /// Returns the longest match of more than `bytes` bytes that contains `at` and four bytes from
    /// there, and begins at `least_start` or later.
    fn widest(
        &mut self,
        at: usize,
        least_start: usize,
        bytes: usize,
    ) -> Result<Option<Match>, Lz4Error> {
        self.insert(at);
        let (plain, end) = (self.plain, self.plain.len() - LAST_LITERALS);
        let pattern = u32_at(plain, at);
        let reach = at - least_start;
        let mut longest = Match { start: at, bytes, distance: 0 };
        let mut next = (self.last[four_hash(plain, at, HASH_BITS)] as usize).checked_sub(1);
        for _ in 0..self.attempts {
            let Some(place) = next.filter(|place| at - place <= MOST_DISTANCE) else { break };
            // A longer match has the two bytes at the end of the longest one.
            let ending = longest.bytes - 1;
            if u16_at(plain, least_start + ending) == u16_at(plain, place + ending - reach)
                && u32_at(plain, place) == pattern
            {
                let back = common_back(plain, place, at, reach);
                let ahead = common_bytes(plain, place + LEAST_MATCH, at + LEAST_MATCH, end);
                let bytes = back + LEAST_MATCH + ahead;
                let left = self.work.checked_sub(bytes as u64);
                self.work = left.ok_or(Lz4Error::TooMuchWork)?;
                if bytes > longest.bytes {
                    longest = Match { start: at - back, bytes, distance: at - place };
                }
            }
            next = place.checked_sub(self.distances[place & 0xffff].into());
        }
        Ok((longest.distance > 0).then_some(longest))
    }
}

/// Returns the number of equal bytes before two places, at most `most`.
fn common_back(plain: &[u8], earlier: usize, later: usize, most: usize) -> usize {
    let pairs = plain[..earlier].iter().rev().zip(plain[..later].iter().rev());
    pairs.take(most).take_while(|(one, other)| one == other).count()
}

const HASH_BITS: u32 = 15;
/// Least distance of two matches' starts; a match that leaves less room is dropped.
const LEAST_GAP: usize = 3;
/// A first match of this length is cut no further for the sake of the second.
const SHORT_MATCH: usize = 18;
/// Bytes that may be compared for each byte and attempt. Real programs take fewer than one.
const COMPARED_BYTES: u64 = 32;
