//! The bytes of the base and those coded so far, and the places in them that predict the next byte.
//! Never depends on a byte that is still to come.

use super::Stretch;
use crate::arithmetic::mixed;

/// Zeros before the first byte, so that every place has bytes before it.
pub(super) const ZEROS: usize = 32;

/// A place in the history that may predict the next byte; 0 stands for none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pointer {
    pub(super) at: usize,
    /// A bit for each of the last bytes, the lowest for the last one: 1 if it predicted a wrong byte.
    pub(super) misses: u32,
}

impl Pointer {
    /// Moves on behind `byte`.
    #[inline]
    fn step(&mut self, seen: &[u8], byte: u8) {
        if self.at > 0 {
            self.misses = self.misses << 1 | u32::from(seen[self.at] != byte);
            self.at += 1;
        }
    }

    /// Returns the number of right bytes since the last wrong one, at most 32.
    #[inline]
    pub(super) fn hits(&self) -> u32 {
        self.misses.trailing_zeros()
    }

    /// Returns the number of wrong bytes among the last `count`.
    #[inline]
    pub(super) fn recent(&self, count: u32) -> u32 {
        (self.misses & ((1 << count) - 1)).count_ones()
    }
}

/// All bytes so far.
pub(super) struct History {
    /// Zeros, the reference, then what was coded, each stretch behind some bytes of the reference.
    pub(super) seen: Vec<u8>,
    /// The base at the same place, and the place before a jump or after the stretch.
    pub(super) aligned: Pointer,
    pub(super) second: Pointer,
    /// A place where the last instructions had the same operations.
    pub(super) similar: Pointer,
    /// The longest match, and its length.
    pub(super) matched: usize,
    pub(super) match_len: usize,
    /// Matches that failed without a long one between them, at most 15.
    pub(super) failed: u32,
    short: Vec<[u32; WAYS]>,
    long: Vec<[u32; WAYS]>,
    /// Hash of the letters and digits just before, and of the word before.
    pub(super) word: u32,
    pub(super) word_before: u32,
}

/// Places that are kept for a hash.
const WAYS: usize = 4;

/// Bytes that are hashed.
const SHORT: usize = 5;
const LONG: usize = 10;

/// Bytes that are compared at most.
const MOST_COMPARED: usize = 64;

/// No longer match is searched for beyond this length.
const LONG_ENOUGH: usize = 24;

/// Bytes of the reference that a stretch begins behind.
const LEAD: usize = 8;

/// Rows of places for each kind of hash.
const MOST_ROWS: usize = 1 << 18;

/// Farthest jump to a place nearby, and the bytes that must agree there.
const MOST_SHIFT: usize = 40;
const LEAST_AGREED: usize = 5;

/// Length of a match that the aligned place may jump to.
const LEAST_JUMPED: usize = 12;

impl History {
    pub(super) fn new(reference: &[u8], room: usize) -> Self {
        let mut seen = Vec::with_capacity(ZEROS + reference.len() + room);
        seen.resize(ZEROS, 0);
        seen.extend_from_slice(reference);
        let rows = (seen.len() + room) / WAYS;
        let rows = rows.next_power_of_two().clamp(1 << 8, MOST_ROWS);
        let mut history = Self {
            seen,
            aligned: Pointer::default(),
            second: Pointer::default(),
            similar: Pointer::default(),
            matched: 0,
            match_len: 0,
            failed: 0,
            short: vec![[0; WAYS]; rows],
            long: vec![[0; WAYS]; rows],
            word: 0,
            word_before: 0,
        };
        let mask = rows - 1;
        for (at, last) in history.seen.windows(LONG).enumerate().skip(ZEROS) {
            let [short, long] = hashes(last.first_chunk().expect("as many bytes"), mask);
            insert(&mut history.short[short], at + LONG);
            insert(&mut history.long[long], at + LONG);
        }
        history
    }

    /// Starts a stretch.
    pub(super) fn begin(&mut self, stretch: &Stretch) {
        let place = |at: Option<usize>| at.map_or(0, |at| at + ZEROS);
        let (before, after) = (place(stretch.before), place(stretch.after));
        if before > 0 {
            self.seen.extend_from_within(before - LEAD..before);
        }
        self.aligned = Pointer { at: before, misses: 1 };
        let is_second = after > 0 && after != before;
        self.second = Pointer { at: if is_second { after } else { 0 }, misses: 0x11 };
        self.similar = Pointer::default();
        self.match_len = 0;
        (self.word, self.word_before) = (0, 0);
    }

    /// Returns the byte that is `distance` bytes back, 1 for the last one; `distance` is at most 32.
    #[inline]
    pub(super) fn back(&self, distance: usize) -> u32 {
        self.seen[self.seen.len() - distance].into()
    }

    /// Returns the byte that a place predicts, plus 1; 0 if there is none.
    #[inline]
    pub(super) fn guess_at(&self, at: usize) -> u32 {
        if at == 0 { 0 } else { self.seen.get(at).map_or(0, |&byte| u32::from(byte) + 1) }
    }

    /// Returns the place of the match, or 0.
    #[inline]
    pub(super) fn match_place(&self) -> usize {
        if self.match_len > 0 { self.matched } else { 0 }
    }

    /// Appends a byte.
    pub(super) fn push(&mut self, byte: u8) {
        self.aligned.step(&self.seen, byte);
        self.second.step(&self.seen, byte);
        self.similar.step(&self.seen, byte);
        if self.second.recent(16) > 12 {
            self.second.at = 0;
        }
        if self.match_len > 0 {
            if self.seen[self.matched] == byte {
                self.matched += 1;
                self.match_len += 1;
                if self.match_len > 16 {
                    self.failed = 0;
                }
            } else {
                self.match_len = 0;
                self.failed = (self.failed + 1).min(15);
            }
        }
        if byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 128 {
            self.word = mixed(self.word, byte.into());
        } else if self.word != 0 {
            (self.word_before, self.word) = (self.word, 0);
        }
        self.seen.push(byte);
        let end = self.seen.len();
        let last = self.seen.last_chunk().expect("zeros are before the first byte");
        let [short, long] = hashes(last, self.short.len() - 1);
        if self.match_len < LONG_ENOUGH {
            let (long, short) = (self.long[long], self.short[short]);
            self.search(long, LONG);
            if self.match_len < 16 {
                self.search(short, SHORT);
            }
        }
        insert(&mut self.short[short], end);
        insert(&mut self.long[long], end);
        self.realign();
    }

    /// Takes the longest match of a row, if it is longer than the present one.
    fn search(&mut self, places: [u32; WAYS], least: usize) {
        for place in places {
            let at = place as usize;
            if at == 0 {
                break;
            }
            let len = self.agreed(at, MOST_COMPARED);
            let is_nearer =
                || at.abs_diff(self.aligned.at) < self.matched.abs_diff(self.aligned.at);
            if len >= least
                && (len > self.match_len
                    || len == self.match_len && self.aligned.at > 0 && is_nearer())
            {
                (self.matched, self.match_len) = (at, len);
            }
        }
    }

    /// Returns how many bytes before `at` are equal to the last ones, at most `most`.
    #[inline]
    fn agreed(&self, at: usize, most: usize) -> usize {
        let (before, last) = (self.seen[..at].iter().rev(), self.seen.iter().rev());
        before.zip(last).take(most).take_while(|(a, b)| a == b).count()
    }

    /// Moves the aligned place to another one that predicts more.
    fn realign(&mut self) {
        let misses = self.aligned.misses;
        if self.aligned.at == 0 {
            if self.match_len >= LEAST_JUMPED {
                self.aligned = Pointer { at: self.matched, misses: 0x55 };
            }
            return;
        }
        if self.aligned.hits() >= 8 {
            return;
        }
        if misses & 1 == 1 && misses & 0xfe != 0 && self.shift_nearby() {
            return;
        }
        let (second, similar) = (self.second, self.similar);
        if second.at > 0 && second.hits() >= 8 && self.aligned.recent(8) >= 3 {
            (self.aligned, self.second) = (second, self.aligned);
        } else if similar.at > 0
            && similar.hits() >= 12
            && similar.at != self.aligned.at
            && self.aligned.recent(16) >= 5
        {
            self.jump(similar.at, 0x110);
        } else if self.aligned.recent(8) >= 6 && self.match_len >= LEAST_JUMPED {
            self.jump(self.matched, 0x55);
        }
    }

    /// Moves the aligned place to the nearest one whose last bytes agree, if there is one.
    fn shift_nearby(&mut self) -> bool {
        let (at, len) = (self.aligned.at, self.seen.len());
        for shift in 1..=MOST_SHIFT {
            for to in [at + shift, at.saturating_sub(shift)] {
                if to >= ZEROS && to < len && self.agreed(to, LEAST_AGREED) == LEAST_AGREED {
                    self.jump(to, 0x11);
                    return true;
                }
            }
        }
        false
    }

    fn jump(&mut self, at: usize, misses: u32) {
        self.second = self.aligned;
        self.aligned = Pointer { at, misses };
    }
}

/// Returns the rows for some bytes.
#[inline]
fn hashes(last: &[u8; LONG], mask: usize) -> [usize; 2] {
    let [outer, inner, before @ .., b0, b1, b2, b3] = *last;
    let word = u32::from_le_bytes([b0, b1, b2, b3]);
    let short = mixed(word, before[3].into());
    let outermost = u32::from(inner) << 8 | u32::from(outer);
    let long = mixed(mixed(word, u32::from_le_bytes(before)), outermost);
    [short as usize >> 8 & mask, long as usize >> 8 & mask]
}

/// Puts a place before those of the same hash.
#[inline]
fn insert(row: &mut [u32; WAYS], at: usize) {
    *row = [at as u32, row[0], row[1], row[2]];
}
