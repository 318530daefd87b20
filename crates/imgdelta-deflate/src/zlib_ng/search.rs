//! The searches for the longest copy.
//!
//! The usual search follows the chain of the current position. The search of level 9 changes to the
//! chain of a later position of the copy that it has, if that one leads farther back. A chain is
//! followed exactly as in the originals, even where it runs in a circle after a refill.
//! Never inserts positions.

use super::{FARTHEST, HALF, HEADS, ZlibNgEncoder, rolling_hash};
use crate::window::{common_258, long, word};

/// The result of a search. Its length is that of the copy before if no longer one was found.
#[derive(Clone, Copy)]
pub(super) struct FoundCopy {
    pub(super) length: usize,
    pub(super) start: usize,
}

/// The links that are followed from the current position.
struct ChainWalk {
    candidate: usize,
    tries: u32,
    /// Candidates up to this index are out of reach.
    limit: usize,
}

impl ChainWalk {
    /// Goes to the next candidate. False if there is none.
    #[inline]
    fn next(&mut self, chain: &[u16; HALF]) -> bool {
        self.tries -= 1;
        if self.tries == 0 {
            return false;
        }
        self.candidate = usize::from(chain[self.candidate % HALF]);
        self.candidate > self.limit
    }
}

/// Fewest bytes of a standard copy.
const SHORTEST: usize = 3;

impl ZlibNgEncoder {
    fn walk_from(&self, candidate: usize, longer_than: usize) -> ChainWalk {
        let mut tries = self.effort.tries;
        if longer_than >= self.effort.good {
            tries >>= 2;
        }
        ChainWalk { candidate, tries, limit: self.index.saturating_sub(FARTHEST) }
    }

    /// True if a copy from `candidate` may be longer than `length`: all bytes are compared up to
    /// seven, and the first and last eight of longer copies.
    #[inline]
    fn may_be_longer(&self, candidate: usize, length: usize) -> bool {
        let bytes = &self.window[..];
        let first = long(bytes, candidate) ^ long(bytes, self.index);
        if length < 8 {
            return first.trailing_zeros() as usize / 8 > length;
        }
        let last = length - 7;
        first == 0 && long(bytes, candidate + last) == long(bytes, self.index + last)
    }

    fn common(&self, candidate: usize) -> usize {
        common_258(&self.window, candidate as u16, self.index as u16)
    }

    /// Searches a copy longer than `length`, along the chain that starts with `candidate`. `start` is
    /// the result's start if there is none.
    pub(super) fn longest(&self, candidate: usize, length: usize, start: usize) -> FoundCopy {
        let mut found = FoundCopy { length: length.max(SHORTEST - 1), start };
        let mut walk = self.walk_from(candidate, found.length);
        while walk.candidate < self.index {
            while !self.may_be_longer(walk.candidate, found.length) {
                if !walk.next(&self.chain) {
                    return found;
                }
            }
            let length = self.common(walk.candidate);
            if length > found.length {
                found = FoundCopy { length, start: walk.candidate };
                if self.ends_data(length) {
                    return FoundCopy { length: self.ahead, ..found };
                }
                if length >= self.effort.nice {
                    return found;
                }
            } else if self.level < 5 {
                return found;
            }
            if !walk.next(&self.chain) {
                return found;
            }
        }
        found
    }

    /// True if a copy of this length ends the search since it reaches the end of the data.
    fn ends_data(&self, length: usize) -> bool {
        match self.version {
            super::ZlibNgVersion::V2_2_3 => length >= self.ahead,
            _ => length > self.ahead,
        }
    }

    /// Searches like [`Self::longest`], also along the chains of later positions in the copy.
    pub(super) fn longest_by_offsets(
        &self,
        candidate: usize,
        length: usize,
        start: usize,
    ) -> FoundCopy {
        let mut found = FoundCopy { length: length.max(SHORTEST - 1), start };
        let mut walk = self.walk_from(candidate, found.length);
        let base = walk.limit;
        // Bytes between the start of the copy and the position whose chain is followed.
        let mut offset = 0;
        if found.length >= SHORTEST {
            // The positions behind this one have no links yet, but their hashes have heads.
            for behind in 1..=found.length - 2 {
                let head = usize::from(self.heads[self.hash(self.index + behind) % HEADS]);
                if head < walk.candidate {
                    (offset, walk.candidate) = (behind, head);
                }
            }
            walk.limit = base + offset;
            if walk.candidate <= walk.limit {
                return self.within_data(found);
            }
        }
        while walk.candidate < self.index {
            while !self.may_be_longer(walk.candidate - offset, found.length) {
                if !walk.next(&self.chain) {
                    return found;
                }
            }
            let length = self.common(walk.candidate - offset);
            if length > found.length {
                let start = walk.candidate - offset;
                found = FoundCopy { length, start };
                if self.ends_data(length) {
                    return FoundCopy { length: self.ahead, ..found };
                }
                if length >= self.effort.nice {
                    return found;
                }
                if length > SHORTEST && start + length < self.index {
                    let Some(farther) = self.farther_chain(found, base) else {
                        return self.within_data(found);
                    };
                    (walk.candidate, offset) = farther;
                    walk.limit = base + offset;
                    continue;
                }
            }
            if !walk.next(&self.chain) {
                return found;
            }
        }
        found
    }

    /// Returns the candidate that leads farthest back among the chains of the copy's positions, and
    /// its offset in the copy. `None` if it is out of reach.
    fn farther_chain(&self, found: FoundCopy, base: usize) -> Option<(usize, usize)> {
        let (mut candidate, mut offset) = (found.start, 0);
        for behind in 0..=found.length - SHORTEST {
            let link = usize::from(self.chain[(found.start + behind) % HALF]);
            if link < candidate {
                if link <= base + behind {
                    return None;
                }
                (candidate, offset) = (link, behind);
            }
        }
        // The hash of the last position whose bytes include the one behind the copy.
        let behind = found.length - (SHORTEST + 1);
        let hash = rolling_hash(word(&self.window[..], self.index + behind));
        let head = usize::from(self.heads[hash]);
        if head < candidate {
            if head <= base + behind {
                return None;
            }
            (candidate, offset) = (head, behind);
        }
        Some((candidate, offset))
    }

    fn within_data(&self, found: FoundCopy) -> FoundCopy {
        FoundCopy { length: found.length.min(self.ahead), ..found }
    }
}
