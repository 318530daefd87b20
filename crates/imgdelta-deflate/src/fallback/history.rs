//! The plain bytes around the predicted token, and the earlier positions with the same bytes.
//!
//! Two hash chains, over four and over three bytes, reach 32768 bytes back. Never sees tokens.

use crate::alphabet::{MAX_COPY, WINDOW_BYTES};
use crate::window::{common, word};

/// Plain bytes with chains of their positions.
pub(super) struct MatchHistory {
    bytes: Vec<u8>,
    /// Stream position of the first byte, modulo 2^32 like all positions here.
    base: u32,
    /// Index of the next byte to predict.
    pub(super) at: usize,
    /// End of the indexed bytes.
    indexed: usize,
    /// True if bytes were dropped that are in the index.
    was_dropped: bool,
    four: HashChain,
    three: HashChain,
}

struct HashChain {
    heads: Box<[u32]>,
    links: Box<[u32]>,
}

/// A possible copy.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct CopyOption {
    pub(super) length: usize,
    pub(super) distance: usize,
    /// True if [`MatchHistory::distance_at`] returns this distance as the nearest for the length.
    pub(super) is_nearest: bool,
}

/// No copy.
pub(super) const NONE: CopyOption = CopyOption { length: 0, distance: 0, is_nearest: false };

/// Bytes needed ahead of a token, except at the end of the data: two copies and their hashes.
pub(super) const LOOKAHEAD: usize = 2 * MAX_COPY + 8;
const HASH_BITS: u32 = 16;
/// Bytes in memory before old bytes are dropped.
const HELD_BYTES: usize = 512 * 1024;
/// Most candidates in the search for a distance.
const WALK: usize = 1024;
/// Bytes behind the data, so that four bytes can be read at every position.
const PAD: usize = 8;

impl HashChain {
    fn new() -> Self {
        Self {
            heads: vec![0; 1 << HASH_BITS].into_boxed_slice(),
            links: vec![0; WINDOW_BYTES].into_boxed_slice(),
        }
    }

    fn insert(&mut self, hash: usize, position: u32) {
        let head = &mut self.heads[hash];
        self.links[position as usize % WINDOW_BYTES] = *head;
        *head = position;
    }
}

fn hash(bytes: u32) -> usize {
    (bytes.wrapping_mul(0x9e37_79b1) >> (32 - HASH_BITS)) as usize
}

impl MatchHistory {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; PAD],
            // Empty links, which are 0, are then out of reach.
            base: 2 * WINDOW_BYTES as u32,
            at: 0,
            indexed: 0,
            was_dropped: false,
            four: HashChain::new(),
            three: HashChain::new(),
        }
    }

    /// Makes a history without tables, which holds no bytes.
    pub(super) fn empty() -> Self {
        let chain = || HashChain { heads: Box::default(), links: Box::default() };
        let (base, four, three) = (2 * WINDOW_BYTES as u32, chain(), chain());
        let was_dropped = false;
        Self { bytes: vec![0; PAD], base, at: 0, indexed: 0, was_dropped, four, three }
    }

    /// Empties the history, in time in proportion to its bytes.
    pub(super) fn reset(&mut self) {
        if self.four.heads.is_empty() {
            *self = Self::new();
        } else if self.was_dropped || self.bytes.len() > HELD_BYTES / 16 {
            self.four.heads.fill(0);
            self.three.heads.fill(0);
        } else {
            for at in 0..self.indexed.min(self.bytes.len() - PAD) {
                let bytes = word(&self.bytes, at);
                self.four.heads[hash(bytes)] = 0;
                self.three.heads[hash(bytes << 8)] = 0;
            }
        }
        self.bytes.clear();
        self.bytes.resize(PAD, 0);
        self.base = 2 * WINDOW_BYTES as u32;
        (self.at, self.indexed, self.was_dropped) = (0, 0, false);
    }

    /// Appends plain bytes.
    pub(super) fn push(&mut self, plain: &[u8]) {
        if self.bytes.len() > HELD_BYTES && self.at > 2 * WINDOW_BYTES {
            let cut = self.at - WINDOW_BYTES;
            self.bytes.drain(..cut);
            self.base = self.base.wrapping_add(cut as u32);
            self.at -= cut;
            self.indexed -= cut;
            self.was_dropped = true;
        }
        self.bytes.truncate(self.bytes.len() - PAD);
        self.bytes.extend_from_slice(plain);
        self.bytes.extend_from_slice(&[0; PAD]);
    }

    /// Returns the number of bytes ahead.
    pub(super) fn ahead(&self) -> usize {
        self.bytes.len() - PAD - self.at
    }

    pub(super) fn byte(&self) -> u8 {
        self.bytes[self.at]
    }

    /// Indexes the positions before `end` that have four bytes.
    fn index_to(&mut self, end: usize) {
        let end = end.min((self.bytes.len() - PAD).saturating_sub(3));
        while self.indexed < end {
            let bytes = word(&self.bytes, self.indexed);
            let position = self.base.wrapping_add(self.indexed as u32);
            self.four.insert(hash(bytes), position);
            self.three.insert(hash(bytes << 8), position);
            self.indexed += 1;
        }
    }

    /// Advances by `bytes` and indexes all of them.
    pub(super) fn advance(&mut self, bytes: usize) {
        self.at += bytes;
        self.index_to(self.at);
    }

    /// Advances by `bytes`. Indexes only the first of them, and the last if `last` is true.
    pub(super) fn skip(&mut self, bytes: usize, last: bool) {
        self.index_to(self.at + 1);
        self.at += bytes;
        self.indexed = self.at;
        if last {
            self.indexed = self.indexed.saturating_sub(1);
            self.index_to(self.at);
        }
    }

    /// Advances by `bytes` and returns them.
    pub(super) fn take(&mut self, bytes: usize) -> &[u8] {
        let start = self.at;
        self.advance(bytes);
        &self.bytes[start..self.at]
    }

    /// Calls `each` with the candidates for the byte `skip` ahead, the nearest first, until it
    /// returns `None`. It gets the distance and the length of the candidates whose byte behind the
    /// first `needed` ones is right, and returns the new `needed`.
    ///
    /// `needed` is at least two for the chain over three bytes, and three for the other one. At most
    /// `limit` candidates up to the distance `farthest` are tried.
    #[inline]
    fn walk(
        &mut self,
        skip: usize,
        three: bool,
        (limit, farthest): (usize, usize),
        mut needed: usize,
        mut each: impl FnMut(CopyOption) -> Option<usize>,
    ) {
        let at = self.at + skip;
        self.index_to(at);
        let bytes = &self.bytes[..];
        let most = (bytes.len() - PAD).saturating_sub(at).min(MAX_COPY);
        let shortest = if three { 3 } else { 4 };
        if most < shortest || needed >= most {
            return;
        }
        let (chain, hash) = if three {
            (&self.three, hash(word(bytes, at) << 8))
        } else {
            (&self.four, hash(word(bytes, at)))
        };
        let links: &[u32; WINDOW_BYTES] =
            (&*chain.links).try_into().expect("made with that length");
        let position = self.base.wrapping_add(at as u32);
        let mut candidate = chain.heads[hash];
        if candidate == position {
            // A search one byte ahead has already indexed this position.
            candidate = links[candidate as usize % WINDOW_BYTES];
        }
        let mut nearest = 0;
        let mut tail = bytes[at + needed];
        for _ in 0..limit {
            let distance = position.wrapping_sub(candidate) as usize;
            // Links of dropped positions are wrong. Following them stops when a distance does not
            // grow.
            if distance <= nearest || distance > farthest || distance > at {
                return;
            }
            nearest = distance;
            if bytes[at - distance + needed] == tail {
                let length = common(bytes, at - distance, at, most);
                if length > needed {
                    let is_nearest = !three || length == 3;
                    match each(CopyOption { length, distance, is_nearest }) {
                        Some(next) if next < most => {
                            needed = next;
                            tail = bytes[at + needed];
                        }
                        _ => return,
                    }
                }
            }
            candidate = links[candidate as usize % WINDOW_BYTES];
        }
    }

    /// Returns the longest copy for the byte `skip` ahead, and the nearest of equal length.
    pub(super) fn best(&mut self, skip: usize, tries: usize, nice: usize) -> CopyOption {
        let mut best = NONE;
        self.walk(skip, false, (tries, WINDOW_BYTES), SHORTEST - 1, |option| {
            best = option;
            (option.length < nice).then_some(option.length)
        });
        if best == NONE {
            self.walk(skip, true, (1, WINDOW_BYTES), SHORTEST - 2, |option| {
                best = option;
                None
            });
        }
        best
    }

    /// Returns the number of nearer candidates with at least `length`. `None` if `distance` is not
    /// among the candidates.
    pub(super) fn rank_of(&mut self, length: usize, distance: usize) -> Option<u32> {
        let mut rank = 0;
        let mut is_found = false;
        let least = needed(length);
        self.walk(0, length == 3, (WALK, distance), least, |option| {
            is_found = option.distance == distance;
            rank += u32::from(!is_found);
            (!is_found).then_some(least)
        });
        is_found.then_some(rank)
    }

    /// Returns the distance of the candidate with `rank` nearer candidates of at least `length`.
    pub(super) fn distance_at(&mut self, length: usize, mut rank: u32) -> Option<usize> {
        let mut distance = None;
        let least = needed(length);
        self.walk(0, length == 3, (WALK, WINDOW_BYTES), least, |option| {
            if rank == 0 {
                distance = Some(option.distance);
                return None;
            }
            rank -= 1;
            Some(least)
        });
        distance
    }
}

/// Shortest copy of the chain over four bytes.
const SHORTEST: usize = 4;

/// Returns the equal bytes that a copy of at least `length` must exceed.
fn needed(length: usize) -> usize {
    length.max(3) - 1
}
