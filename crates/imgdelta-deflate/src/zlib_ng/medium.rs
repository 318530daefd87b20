//! Levels 3 to 6: each copy is found together with the next one.
//!
//! From level 5 on, the next copy may be moved towards the start of the data, if that shortens the
//! copy before it to a literal or to nothing. A copy that was looked up in advance and then forgotten
//! becomes a literal, because its position is already the newest of its hash. Never looks further
//! ahead than one copy.

use super::{FARTHEST, LOOKAHEAD, MIN_COPY, ZlibNgEncoder, ZlibNgVersion};
use crate::token::Token;
use crate::window::BUFFER_BYTES;

/// The copy that was found in advance.
#[derive(Default)]
pub(super) struct MediumState {
    next: Option<PlannedCopy>,
}

impl MediumState {
    /// Forgets the copy that was found in advance.
    pub(super) fn forget(&mut self) {
        self.next = None;
    }
}

/// A copy, or a literal if the length is one. A length of zero is nothing.
#[derive(Clone, Copy)]
struct PlannedCopy {
    /// Index of its first byte.
    index: usize,
    /// Index of the bytes that it repeats.
    source: usize,
    length: usize,
    /// Indexes below this one are in the chains already.
    inserted: usize,
}

/// First level that looks for the next copy.
const LOOKS_AHEAD: u8 = 5;
/// A copy longer than this many times the level's lazy length is not indexed before 2.2.
const LONG_COPY: usize = 16;
/// Length from which a copy is not moved.
const MOST_MOVED: usize = 256;

impl ZlibNgEncoder {
    pub(super) fn parse_medium(&mut self, at_end: bool) {
        let looks_ahead = self.level >= LOOKS_AHEAD;
        while self.may_go_on(at_end) {
            let mut current = match self.medium.next.take() {
                Some(next) => next,
                None if self.ahead >= MIN_COPY => self.plan(),
                None => self.literal(),
            };
            self.index_copy(current);
            let behind = current.index + current.length;
            if looks_ahead && self.ahead > LOOKAHEAD && behind < BUFFER_BYTES - LOOKAHEAD {
                let here = std::mem::replace(&mut self.index, behind);
                let mut next = self.plan();
                if next.length >= MIN_COPY {
                    self.join(&mut current, &mut next);
                }
                self.index = here;
                self.medium.next = Some(next);
            }
            let mut is_full = false;
            if current.length >= MIN_COPY {
                let distance = current.index - current.source;
                is_full = self.push(Token::copy(current.length, distance));
            } else if current.length == 1 {
                is_full = self.push(Token::literal(self.window[current.index]));
            }
            self.index += current.length;
            self.ahead -= current.length;
            if is_full {
                self.end_block(false);
            }
        }
    }

    fn literal(&self) -> PlannedCopy {
        PlannedCopy { index: self.index, source: 0, length: 1, inserted: self.index }
    }

    /// Inserts the current index and finds its copy.
    fn plan(&mut self) -> PlannedCopy {
        let candidate = self.insert(self.index);
        if !self.is_in_reach(candidate) {
            return self.literal();
        }
        let found = self.longest(candidate, 0, self.lazy.start);
        self.lazy.start = found.start;
        if found.length < MIN_COPY || found.start >= self.index {
            // A chain that runs in a circle leads to the position itself.
            return PlannedCopy { source: found.start, ..self.literal() };
        }
        PlannedCopy { source: found.start, length: found.length, ..self.literal() }
    }

    /// Inserts the positions of a copy, except those that are in the chains already.
    fn index_copy(&mut self, copy: PlannedCopy) {
        if self.ahead <= copy.length + MIN_COPY || copy.length < 2 {
            return;
        }
        let end = copy.index + copy.length;
        let is_indexed =
            self.version == ZlibNgVersion::V2_2_0 || copy.length <= LONG_COPY * self.effort.lazy;
        if is_indexed {
            let start = (copy.index + 1).max(copy.inserted);
            self.insert_all(start, end.saturating_sub(start));
        } else {
            self.insert(end - 1);
        }
    }

    /// Moves the next copy towards the start of the data, as far as its source has the same bytes.
    /// Changes neither unless at most one byte is left of the current copy.
    fn join(&self, current: &mut PlannedCopy, next: &mut PlannedCopy) {
        let bytes = &self.window;
        let longest = 1 + next.source.min(next.index);
        if current.length <= 1
            || current.length > longest
            || bytes[next.source + 1 - current.length] != bytes[next.index + 1 - current.length]
        {
            return;
        }
        let limit = next.index.saturating_sub(FARTHEST);
        let (mut moved, mut left) = (*next, current.length);
        while left > 0
            && moved.index > limit
            && moved.length < MOST_MOVED
            && moved.source > 1
            && bytes[moved.source - 1] == bytes[moved.index - 1]
        {
            moved.index -= 1;
            moved.source -= 1;
            moved.length += 1;
            left -= 1;
        }
        if moved.index < next.index && left <= 1 {
            moved.inserted += 1;
            *next = moved;
            current.length = left;
        }
    }
}
