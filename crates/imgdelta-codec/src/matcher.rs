//! Finds the ranges of a target that look like ranges of a base, bytes that differ here and there included.
//! Never decides what a byte means: views hand in a second reading of both sides to match by.
//!
//! The idea is bsdiff's, without its suffix array. Walk the target; follow the current diagonal
//! (target position less base position) as long as it agrees; elsewhere ask an index of sparse
//! seeds for another one, and change over when that is clearly better. The places where a
//! diagonal was certain are anchors. Each is then grown both ways over single differing bytes as
//! long as more bytes agree than differ, neighbours that overlap are cut where most agrees, and
//! what is left between them is searched once more with short seeds in a small window of the base
//! around the place where it should be.
//!
//! It loses where a suffix array would find short far matches (a few per cent on shuffled
//! text), and wins ten times in speed and eight in memory.

use crate::{
    compare,
    effort::Effort,
    script::Copy,
    seeds::Seeds,
    window::{self, Window},
};

/// A byte string and how a view reads it; both have the same length.
///
/// Seeds and anchors are found in `read`; while growing, a byte agrees when either agrees.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading<'a> {
    pub(crate) raw: &'a [u8],
    pub(crate) read: &'a [u8],
}

impl<'a> Reading<'a> {
    /// Bytes that are read as they are.
    pub(crate) fn plain(raw: &'a [u8]) -> Self {
        Self { raw, read: raw }
    }

    fn slice(&self, start: usize, end: usize) -> Self {
        Self { raw: &self.raw[start..end], read: &self.read[start..end] }
    }
}

/// How hard to look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Search {
    /// Bytes of a seed in the index of the whole base.
    pub(crate) seed: usize,
    /// Distance of two seeds.
    pub(crate) step: usize,
    /// Most base bytes on either side of a gap that are searched with short seeds; 0 for none.
    pub(crate) window: usize,
}

impl Search {
    /// How hard each effort looks.
    pub(crate) fn of(effort: Effort) -> Self {
        match effort {
            // Half the index, and gaps only where the base has something right there.
            Effort::Fast => Self { seed: 32, step: 16, window: 4 << 10 },
            Effort::Default => Self { seed: 32, step: 8, window: 32 << 10 },
            // Twice the index. Shorter seeds were tried: in programs they find too many false friends.
            Effort::Best => Self { seed: 32, step: 4, window: 128 << 10 },
        }
    }
}

/// Finds copies, keeping its indexes' memory from one call to the next.
#[derive(Debug, Default)]
pub(crate) struct Matcher {
    base_seeds: Seeds,
    window: Window,
    /// The part of the base that `window` knows.
    known: (usize, usize),
}

/// An index that can be asked where a seed may occur.
trait Find {
    /// Bytes of a seed.
    fn seed(&self) -> usize;
    /// Offsets where the seed at the front of `bytes` may occur.
    fn find(&self, bytes: &[u8]) -> impl Iterator<Item = usize>;
}

impl Find for Seeds {
    fn seed(&self) -> usize {
        self.seed()
    }

    #[inline]
    fn find(&self, bytes: &[u8]) -> impl Iterator<Item = usize> {
        self.find(bytes)
    }
}

impl Find for Window {
    fn seed(&self) -> usize {
        window::SEED
    }

    #[inline]
    fn find(&self, bytes: &[u8]) -> impl Iterator<Item = usize> {
        self.find(bytes)
    }
}

/// A stretch where both sides are equal byte for byte.
type Anchor = Copy;

/// A run on the current diagonal this long needs no comparison with other diagonals.
const FOLLOWED: usize = 16;

/// A new diagonal must agree in this many bytes more than the current one.
const ADVANTAGE: usize = 6;

/// Two diagonals are compared over at most this many bytes. It bounds the work where the base holds
/// the same long range twice.
const COMPARED: usize = 4096;

/// Growing stops when the balance of agreeing and differing bytes has fallen this far.
const DROP: i64 = 512;

/// Copies shorter than this cost more than their bytes as a literal.
const SHORTEST: usize = 10;

/// Gaps shorter than this are not searched again.
const SHORTEST_GAP: usize = 12;

/// How much more of the base than asked for is indexed for a gap.
const AHEAD: usize = 2048;

impl Matcher {
    /// The copies `target` can be laid out from, in target order, not overlapping in the target.
    pub(crate) fn copies(
        &mut self,
        base: Reading<'_>,
        target: Reading<'_>,
        search: Search,
    ) -> Vec<Copy> {
        if base.raw.is_empty() || target.raw.is_empty() {
            return Vec::new();
        }
        self.base_seeds.build(base.read, search.seed, search.step);
        let anchors = scan(&self.base_seeds, base, target);
        self.base_seeds.free_if_large();
        let mut copies = grow(base, target, &anchors);
        drop(anchors);
        if search.window > 0 {
            copies = self.fill_gaps(base, target, &copies, search.window);
        }
        join(copies)
    }

    /// Searches what lies between `copies` in windows of the base around the neighbours' ends.
    fn fill_gaps(
        &mut self,
        base: Reading<'_>,
        target: Reading<'_>,
        copies: &[Copy],
        reach: usize,
    ) -> Vec<Copy> {
        let mut filled = Vec::with_capacity(copies.len());
        let (base_len, target_len) = (base.raw.len(), target.raw.len());
        let end = Copy { target: target_len, base: base_len, len: 0 };
        let mut before = Copy { target: 0, base: 0, len: 0 };
        self.known = (0, 0);
        for &after in copies.iter().chain([&end]) {
            let gap = after.target - before.target_end();
            if gap >= SHORTEST_GAP {
                let reach = (4 * gap).clamp(256, reach.max(256));
                let near = |at: usize| (at.saturating_sub(reach), (at + reach).min(base_len));
                let (low, high) = near(before.base_end());
                let (next_low, next_high) = near(after.base);
                let piece = target.slice(before.target_end(), after.target);
                let found = if next_low <= high && low <= next_high {
                    self.search_window(base, piece, (low.min(next_low), high.max(next_high)))
                } else {
                    let found = self.search_window(base, piece, (low, high));
                    let other = match after.len {
                        0 => Vec::new(),
                        _ => self.search_window(base, piece, (next_low, next_high)),
                    };
                    if worth(&other) > worth(&found) { other } else { found }
                };
                let shift = before.target_end();
                filled.extend(found.into_iter().map(|c| Copy { target: c.target + shift, ..c }));
            }
            if after.len > 0 {
                filled.push(after);
            }
            before = after;
        }
        filled
    }

    /// The copies of `piece` in the base from `start` to `end`, or in a little more of it.
    fn search_window(
        &mut self,
        base: Reading<'_>,
        piece: Reading<'_>,
        (start, end): (usize, usize),
    ) -> Vec<Copy> {
        if start < self.known.0 || end > self.known.1 {
            // The next gaps mostly lie a little farther on: one index then serves them all.
            let end = base.raw.len().min(end + AHEAD);
            self.window.build(&base.read[start..end]);
            self.known = (start, end);
        }
        let (start, end) = self.known;
        let window = base.slice(start, end);
        let anchors = scan(&self.window, window, piece);
        let copies = grow(window, piece, &anchors);
        copies.into_iter().map(|copy| Copy { base: copy.base + start, ..copy }).collect()
    }
}

/// Bytes that `copies` save, allowing for what each costs.
fn worth(copies: &[Copy]) -> usize {
    copies.iter().map(|copy| copy.len.saturating_sub(SHORTEST)).sum()
}

/// Walks the target and notes where a diagonal is certain.
fn scan(seeds: &impl Find, base: Reading<'_>, target: Reading<'_>) -> Vec<Anchor> {
    let (old, new) = (base.read, target.read);
    let mut anchors: Vec<Anchor> = Vec::new();
    // Base position that the current diagonal gives to target position 0; may lie outside.
    let mut diagonal: Option<isize> = None;
    let (mut at, mut missed) = (0_usize, 0_usize);
    while at < new.len() {
        let here = diagonal.and_then(|d| at.checked_add_signed(d)).filter(|&b| b < old.len());
        let run = here.map_or(0, |b| compare::common_prefix(&old[b..], &new[at..]));
        if run >= FOLLOWED {
            note(&mut anchors, Copy { target: at, base: here.unwrap_or(0), len: run });
            at += run;
            missed = 0;
            continue;
        }
        if let Some(found) = best_seed(seeds, old, new, at, here) {
            let agreeing = here.map_or(0, |b| {
                old[b..].iter().zip(&new[at..at + found.len]).filter(|(x, y)| x == y).count()
            });
            if found.len > agreeing + ADVANTAGE || here.is_none() {
                note(&mut anchors, found);
                diagonal = Some(found.base.cast_signed() - at.cast_signed());
                at += found.len;
                missed = 0;
                continue;
            }
        }
        // In bytes that match nowhere, look less and less often. The stride stays odd: an even one
        // would never meet the seeds of a base that moved by an odd multiple of half their step.
        missed += 1;
        at += run.max(1 + 2 * (missed / 64).min(3));
    }
    anchors
}

/// Adds an anchor, unless it only continues the last one over a few differing bytes.
fn note(anchors: &mut Vec<Anchor>, found: Anchor) {
    if let Some(last) = anchors.last_mut() {
        let same = found.target - last.target == found.base.wrapping_sub(last.base);
        if same && found.target - last.target_end() <= FOLLOWED {
            last.len = found.target_end() - last.target;
            return;
        }
    }
    anchors.push(found);
}

/// The longest match at `at` of those the index knows; of equals, the one nearest to `here`.
#[inline]
fn best_seed(
    seeds: &impl Find,
    old: &[u8],
    new: &[u8],
    at: usize,
    here: Option<usize>,
) -> Option<Anchor> {
    let mut best: Option<Anchor> = None;
    for base in seeds.find(&new[at..]) {
        let compared = &new[at..new.len().min(at + COMPARED)];
        let len = compare::common_prefix(&old[base..], compared);
        if len < seeds.seed() {
            continue;
        }
        let nearer = |than: usize| {
            let here = here.unwrap_or(at);
            base.abs_diff(here) < than.abs_diff(here)
        };
        if best.is_none_or(|best| len > best.len || (len == best.len && nearer(best.base))) {
            best = Some(Copy { target: at, base, len });
        }
    }
    best
}

/// Grows anchors into copies that tolerate differing bytes.
fn grow(base: Reading<'_>, target: Reading<'_>, anchors: &[Anchor]) -> Vec<Copy> {
    let mut copies: Vec<Copy> = Vec::with_capacity(anchors.len());
    let pair = Pair { base, target };
    let mut free = 0; // the end of the copy before, as far as it has been grown backward
    for (i, &anchor) in anchors.iter().enumerate() {
        let next = anchors.get(i + 1);
        let room = next.map_or(target.raw.len(), |next| next.target) - anchor.target_end();
        let mut copy = anchor;
        let back = pair.backward(anchor, anchor.target.saturating_sub(free));
        copy.target -= back;
        copy.base -= back;
        copy.len += back;
        if let Some(last) = copies.last_mut().filter(|last| last.target_end() > copy.target) {
            pair.divide(last, &mut copy);
        }
        copy.len += pair.forward(copy, room);
        // The next anchor may grow back over all that this one has grown forward, not farther.
        free = anchor.target_end();
        copies.push(copy);
    }
    copies.retain(|copy| copy.len >= SHORTEST);
    copies
}

/// Both sides of a comparison.
struct Pair<'a> {
    base: Reading<'a>,
    target: Reading<'a>,
}

impl Pair<'_> {
    #[inline]
    fn agree(&self, base: usize, target: usize) -> bool {
        self.base.raw[base] == self.target.raw[target]
            || self.base.read[base] == self.target.read[target]
    }

    /// How far `copy` can be grown at its end, at most by `room`.
    fn forward(&self, copy: Copy, room: usize) -> usize {
        let room = room.min(self.base.raw.len() - copy.base_end());
        let (base, target) = (copy.base_end(), copy.target_end());
        let (mut balance, mut best, mut grown, mut i) = (0_i64, 0_i64, 0, 0);
        while i < room && best - balance < DROP {
            let run = compare::common_prefix(
                &self.base.read[base + i..base + room],
                &self.target.read[target + i..target + room],
            );
            if run > 0 {
                i += run;
                balance += run as i64;
            } else {
                balance += if self.agree(base + i, target + i) { 1 } else { -1 };
                i += 1;
            }
            if balance > best {
                (best, grown) = (balance, i);
            }
        }
        grown
    }

    /// How far `copy` can be grown at its start, at most by `room`.
    fn backward(&self, copy: Copy, room: usize) -> usize {
        let room = room.min(copy.base);
        let (mut balance, mut best, mut grown, mut i) = (0_i64, 0_i64, 0, 0);
        while i < room && best - balance < DROP {
            let run = compare::common_suffix(
                &self.base.read[copy.base - room..copy.base - i],
                &self.target.read[copy.target - room..copy.target - i],
            );
            if run > 0 {
                i += run;
                balance += run as i64;
            } else {
                let agree = self.agree(copy.base - i - 1, copy.target - i - 1);
                balance += if agree { 1 } else { -1 };
                i += 1;
            }
            if balance > best {
                (best, grown) = (balance, i);
            }
        }
        grown
    }

    /// Cuts two copies that overlap in the target where the most bytes agree.
    fn divide(&self, left: &mut Copy, right: &mut Copy) {
        let overlap = left.target_end() - right.target;
        let (mut balance, mut best, mut kept) = (0_i64, 0_i64, 0);
        for i in 0..overlap {
            let back = overlap - i;
            let by_left = self.agree(left.base_end() - back, left.target_end() - back);
            let by_right = self.agree(right.base + i, right.target + i);
            balance += i64::from(by_left) - i64::from(by_right);
            if balance > best {
                (best, kept) = (balance, i + 1);
            }
        }
        left.len -= overlap - kept;
        right.target += kept;
        right.base += kept;
        right.len -= kept;
    }
}

/// Joins copies that continue each other.
fn join(copies: Vec<Copy>) -> Vec<Copy> {
    let mut joined: Vec<Copy> = Vec::with_capacity(copies.len());
    for copy in copies {
        match joined.last_mut() {
            Some(last) if last.target_end() == copy.target && last.base_end() == copy.base => {
                last.len += copy.len;
            }
            _ => joined.push(copy),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEARCHES: [Search; 3] = [
        Search { seed: 32, step: 16, window: 0 },
        Search { seed: 32, step: 8, window: 4096 },
        Search { seed: 16, step: 4, window: 4096 },
    ];

    fn noise(len: usize, mut state: u32) -> Vec<u8> {
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        };
        (0..len).map(|_| next()).collect()
    }

    /// The plain way: at each place the longest match of at least `shortest` bytes, by trying all.
    fn naive(base: &[u8], target: &[u8], shortest: usize) -> Vec<Copy> {
        let (mut copies, mut at) = (Vec::new(), 0);
        while at < target.len() {
            let best = (0..base.len())
                .map(|b| (compare::common_prefix(&base[b..], &target[at..]), std::cmp::Reverse(b)))
                .max();
            match best.filter(|best| best.0 >= shortest) {
                Some((len, std::cmp::Reverse(base))) => {
                    copies.push(Copy { target: at, base, len });
                    at += len;
                }
                None => at += 1,
            }
        }
        copies
    }

    /// Target bytes that copies get right.
    fn right_bytes(base: &[u8], target: &[u8], copies: &[Copy]) -> usize {
        let pairs = |copy: &Copy| {
            let old = &base[copy.base..copy.base_end()];
            old.iter().zip(&target[copy.target..copy.target_end()]).filter(|(a, b)| a == b).count()
        };
        copies.iter().map(pairs).sum()
    }

    fn edited(base: &[u8]) -> Vec<u8> {
        let mut target = base.to_vec();
        target.splice(700..700, noise(90, 7));
        target.drain(1500..1700);
        target.rotate_left(300);
        (0..40).for_each(|i| target[i * 97] ^= 0x55);
        target
    }

    #[test]
    fn copies_ascend_stay_inside_and_do_not_overlap() {
        let base = noise(4000, 1);
        let target = edited(&base);
        for search in SEARCHES {
            let (old, new) = (Reading::plain(&base), Reading::plain(&target));
            let copies = Matcher::default().copies(old, new, search);
            assert!(copies.iter().all(|c| c.len > 0 && c.base_end() <= base.len()));
            assert!(copies.windows(2).all(|pair| pair[0].target_end() <= pair[1].target));
            assert!(copies.last().is_none_or(|last| last.target_end() <= target.len()));
        }
    }

    #[test]
    fn nearly_all_bytes_are_found_that_the_naive_way_finds() {
        let base = noise(4000, 2);
        let target = edited(&base);
        let naive = right_bytes(&base, &target, &naive(&base, &target, 16));
        for search in SEARCHES {
            let (old, new) = (Reading::plain(&base), Reading::plain(&target));
            let copies = Matcher::default().copies(old, new, search);
            let found = right_bytes(&base, &target, &copies);
            assert!(found * 100 >= naive * 98, "{found} of {naive} with {search:?}");
        }
    }

    #[test]
    fn an_odd_move_is_found_behind_unknown_bytes() {
        let base = noise(100_000, 3);
        for moved in 0..8 {
            let target = [noise(50_000 + moved, 4), base[1000..].to_vec()].concat();
            let (old, new) = (Reading::plain(&base), Reading::plain(&target));
            let copies = Matcher::default().copies(old, new, SEARCHES[0]);
            let expected = Copy { target: 50_000 + moved, base: 1000, len: 99_000 };
            assert_eq!(copies, [expected], "moved by {moved}");
        }
    }

    #[test]
    fn zeros_take_linear_time() {
        let (base, target) = (vec![0; 3_000_000], vec![0; 3_100_000]);
        let (old, new) = (Reading::plain(&base), Reading::plain(&target));
        let copies = Matcher::default().copies(old, new, SEARCHES[1]);
        assert!(copies.len() < 10, "{} copies", copies.len());
    }
}
