//! Finds earlier places of the bytes at a position, by hashes of their first bytes.
//! Never finds all: a bucket keeps its last places only.
//!
//! Chains and trees follow a pointer through memory for every candidate. A bucket holds several
//! places in one line of the cache, each with some bits of its hash, so that most wrong candidates
//! cost no access at all. Entering a place costs the same whatever the bytes are. That makes
//! prefixes cheap, which are entered whole and searched by few bytes.

use crate::{
    lz::model::MIN_MATCH,
    lz::writer::{MAX_MATCH, Symbol},
};

/// An earlier place of the bytes at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MatchCandidate {
    pub(crate) len: usize,
    pub(crate) distance: usize,
}

impl MatchCandidate {
    /// Returns the match of its first `len` bytes.
    #[inline]
    pub(crate) fn as_match(self, len: usize) -> Symbol {
        Symbol::Match { distance: self.distance as u32, len: len as u32 }
    }
}

/// Places by the bytes that follow them.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    long: Buckets<LONG_WAYS>,
    short: Buckets<SHORT_WAYS>,
    /// The last place of each three bytes, plus one.
    threes: Vec<u32>,
    twos: Vec<u32>,
    /// The next place to enter.
    next: usize,
    /// Places before this one have their buckets in the processor's cache.
    fetched: usize,
}

/// Places of one bucket, the latest first; 0 is none. A long match leads to the next one, so fewer
/// places are enough.
const LONG_WAYS: usize = 16;
const SHORT_WAYS: usize = 8;

/// Bits of an entry that hold a place plus one; the others are bits of its hash.
const PLACE_BITS: u32 = 26;

/// Most bytes that can be indexed.
pub(crate) const MAX_BYTES: usize = (1 << PLACE_BITS) - 1;

/// Tables for fewer bytes fit into the processor's cache even if no place is pushed out.
const SMALL: usize = 1 << 17;

/// Most entries of a table.
const MAX_ENTRIES: usize = 1 << 22;

/// Bytes that the two hashes take.
const LONG: usize = 8;
const SHORT: usize = 4;

const THREES_BITS: u32 = 16;

/// Distances that are worth a match of two and three bytes.
const TWOS_REACH: usize = 1 << 9;
const THREES_REACH: usize = 1 << 14;

/// A line of the processor's cache. Without the alignment, most buckets lie in two of them.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct CacheLine([u32; LINE]);

/// Entries of a line.
const LINE: usize = 16;

/// Places whose buckets are fetched together: the processor waits for all of them at once, and for
/// one after another if each is fetched when it is needed.
const FETCHED: usize = 32;

#[derive(Debug, Clone)]
struct Buckets<const WAYS: usize> {
    lines: Vec<CacheLine>,
    bits: u32,
}

impl<const WAYS: usize> Buckets<WAYS> {
    fn new(len: usize) -> Self {
        // Half of the places are of bytes that no other place has: they may push each other out.
        let entries = if len < SMALL { 2 * len } else { len / 2 };
        let count = (entries.clamp(1 << 10, MAX_ENTRIES) / WAYS).next_power_of_two();
        Self { lines: vec![CacheLine([0; LINE]); count * WAYS / LINE], bits: count.ilog2() }
    }

    /// Returns the bucket and the upper bits of its entries.
    #[inline]
    fn bucket(&mut self, hash: u64) -> (&mut [u32; WAYS], u32) {
        let bucket = (hash >> (64 - self.bits)) as usize;
        let tag = ((hash >> 16) as u32) & !((1 << PLACE_BITS) - 1);
        let line = &mut self.lines[bucket / (LINE / WAYS)].0;
        (&mut line.as_chunks_mut().0[bucket % (LINE / WAYS)], tag)
    }

    /// Reads a number of the bucket, which fetches all of it.
    #[inline]
    fn fetch(&self, hash: u64) -> u32 {
        let bucket = (hash >> (64 - self.bits)) as usize;
        self.lines[bucket / (LINE / WAYS)].0[0]
    }
}

/// Hashes the first `bytes` bytes of a word.
#[inline]
fn hash(word: u64, bytes: usize) -> u64 {
    (word << (64 - 8 * bytes)).wrapping_mul(0x9E37_79B1_85EB_CA87)
}

#[inline]
fn word_at(bytes: &[u8], at: usize) -> u64 {
    if let Some(word) = bytes[at..].first_chunk::<8>() {
        return u64::from_le_bytes(*word);
    }
    let mut word = [0; 8];
    word[..bytes.len() - at].copy_from_slice(&bytes[at..]);
    u64::from_le_bytes(word)
}

impl Index {
    /// Makes an empty index for so many bytes.
    pub(crate) fn new(len: usize) -> Self {
        Self {
            long: Buckets::new(len),
            short: Buckets::new(len),
            threes: vec![0; 1 << THREES_BITS],
            twos: vec![0; 1 << 16],
            next: 0,
            fetched: 0,
        }
    }

    /// Fetches the buckets of the next places, if that of `at` is not there.
    #[inline]
    fn fetch(&mut self, bytes: &[u8], at: usize) {
        if at < self.fetched {
            return;
        }
        self.fetched = (at + FETCHED).min(bytes.len());
        let mut read = 0;
        for place in at..self.fetched {
            let word = word_at(bytes, place);
            read ^= self.long.fetch(hash(word, LONG)) ^ self.short.fetch(hash(word, SHORT));
        }
        // The numbers are of no use, which the compiler must not know.
        std::hint::black_box(read);
    }

    /// Enters all places before `end`.
    pub(crate) fn enter(&mut self, bytes: &[u8], end: usize) {
        let near = end.saturating_sub(THREES_REACH);
        while self.next < end {
            let at = self.next;
            self.fetch(bytes, at);
            let word = word_at(bytes, at);
            enter(&mut self.long, hash(word, LONG), at);
            enter(&mut self.short, hash(word, SHORT), at);
            if at >= near {
                self.threes[three(word)] = at as u32 + 1;
                self.twos[word as usize & 0xffff] = at as u32 + 1;
            }
            self.next += 1;
        }
    }

    /// Replaces `found` by earlier places of the bytes at `at`, longer ones later; enters `at`.
    ///
    /// Each is the nearest that was found with its length. Bytes before `at` have been entered.
    #[inline]
    pub(crate) fn find(&mut self, bytes: &[u8], at: usize, found: &mut Vec<MatchCandidate>) {
        debug_assert_eq!(self.next, at, "places are entered in order");
        found.clear();
        self.fetch(bytes, at);
        let rest = (bytes.len() - at).min(MAX_MATCH);
        let word = word_at(bytes, at);
        let mut best = MIN_MATCH - 1;
        if rest >= MIN_MATCH {
            let two = self.twos[word as usize & 0xffff] as usize;
            offer(bytes, at, two, (TWOS_REACH, rest), &mut best, found);
            let three = self.threes[three(word)] as usize;
            offer(bytes, at, three, (THREES_REACH, rest), &mut best, found);
        }
        self.threes[three(word)] = at as u32 + 1;
        self.twos[word as usize & 0xffff] = at as u32 + 1;
        let (short, short_tag) = self.short.bucket(hash(word, SHORT));
        let (long, long_tag) = self.long.bucket(hash(word, LONG));
        if rest >= SHORT {
            search(bytes, at, short, short_tag, rest, &mut best, found);
            search(bytes, at, long, long_tag, rest, &mut best, found);
        }
        push(short, short_tag | (at as u32 + 1));
        push(long, long_tag | (at as u32 + 1));
        self.next += 1;
    }
}

#[inline]
fn three(word: u64) -> usize {
    ((word as u32) << 8).wrapping_mul(0x9E37_79B1) as usize >> (32 - THREES_BITS)
}

#[inline]
fn enter<const WAYS: usize>(buckets: &mut Buckets<WAYS>, hash: u64, at: usize) {
    let (bucket, tag) = buckets.bucket(hash);
    push(bucket, tag | (at as u32 + 1));
}

#[inline]
fn push<const WAYS: usize>(bucket: &mut [u32; WAYS], entry: u32) {
    let before = *bucket;
    bucket[1..].copy_from_slice(&before[..WAYS - 1]);
    bucket[0] = entry;
}

/// Offers a place (plus one) if it is near enough.
#[inline]
fn offer(
    bytes: &[u8],
    at: usize,
    place: usize,
    (reach, rest): (usize, usize),
    best: &mut usize,
    found: &mut Vec<MatchCandidate>,
) {
    if place != 0 && at + 1 - place <= reach {
        extend(bytes, at, place - 1, rest, best, found);
    }
}

/// Offers the places of a bucket whose bits of the hash are right.
#[inline]
fn search<const WAYS: usize>(
    bytes: &[u8],
    at: usize,
    bucket: &[u32; WAYS],
    tag: u32,
    rest: usize,
    best: &mut usize,
    found: &mut Vec<MatchCandidate>,
) {
    const PLACE: u32 = (1 << PLACE_BITS) - 1;
    // All entries are compared before any is used, which takes a few vector instructions.
    let mut alike = 0_u32;
    for (way, &entry) in bucket.iter().enumerate() {
        let is_alike = entry & !PLACE == tag && entry != 0;
        alike |= if is_alike { 1 << way } else { 0 };
    }
    while alike != 0 && *best < rest {
        let entry = bucket[alike.trailing_zeros() as usize % WAYS];
        extend(bytes, at, (entry & PLACE) as usize - 1, rest, best, found);
        alike &= alike - 1;
    }
}

/// Adds a place if it is longer than the best one.
#[inline]
fn extend(
    bytes: &[u8],
    at: usize,
    place: usize,
    rest: usize,
    best: &mut usize,
    found: &mut Vec<MatchCandidate>,
) {
    if *best >= rest || bytes[place + *best] != bytes[at + *best] {
        return;
    }
    let len = common(bytes, place, at, rest);
    if len <= *best {
        return;
    }
    *best = len;
    let distance = at - place;
    // A later, nearer place may be longer: shorter ones further away are of no use.
    while found.last().is_some_and(|last| last.distance >= distance) {
        found.pop();
    }
    found.push(MatchCandidate { len, distance });
}

/// Length of the equal bytes at two places, the first one earlier; at most `most`.
#[inline]
pub(crate) fn common(bytes: &[u8], place: usize, at: usize, most: usize) -> usize {
    let (one, other) = (&bytes[place..place + most], &bytes[at..at + most]);
    let mut len = 0;
    while let (Some(left), Some(right)) =
        (one[len..].first_chunk::<8>(), other[len..].first_chunk::<8>())
    {
        let differing = u64::from_le_bytes(*left) ^ u64::from_le_bytes(*right);
        if differing != 0 {
            return len + (differing.trailing_zeros() / 8) as usize;
        }
        len += 8;
    }
    while len < most && one[len] == other[len] {
        len += 1;
    }
    len
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the candidates that an index has at `at`.
    fn found(bytes: &[u8], at: usize) -> Vec<MatchCandidate> {
        let (mut index, mut found) = (Index::new(bytes.len()), Vec::new());
        index.enter(bytes, at);
        index.find(bytes, at, &mut found);
        found
    }

    #[test]
    fn the_nearest_place_of_each_length_is_found() {
        let bytes = b"abcdefghij abcdefg abcd ab abcdefghij";
        let at = bytes.len() - 10;
        let lengths: Vec<(usize, usize)> =
            found(bytes, at).iter().map(|found| (found.len, found.distance)).collect();
        assert_eq!(lengths, [(2, 3), (4, 8), (7, 16), (10, 27)]);
    }

    #[test]
    fn the_end_of_the_bytes_ends_a_match() {
        let bytes = b"abcabc";
        assert_eq!(found(bytes, 3), [MatchCandidate { len: 3, distance: 3 }]);
        assert_eq!(found(bytes, 4), [MatchCandidate { len: 2, distance: 3 }]);
        assert_eq!(found(bytes, 5), []);
    }
}
