//! Finds ranges of a target that are similar to ranges of a base; single bytes may differ.
//! Never decides the meaning of a byte: views pass a second reading of both sides to match by.
//!
//! The idea is bsdiff's without its suffix array:
//!
//! 1. Walk the target and follow the current diagonal (target position minus base position) while
//!    it agrees. Elsewhere look up sparse seeds, and change the diagonal if another is clearly
//!    better. The ranges where a diagonal was certain are anchors.
//! 2. Grow each anchor both ways while more bytes agree than differ. Cut neighbours that overlap
//!    where the most bytes agree.
//! 3. Search each gap once more with short seeds, in a small window of the base around its place.
//!
//! Ranges that are known to be the same are searched in each other, without the rest of the base.
//!
//! A suffix array finds more short distant matches (a few per cent of shuffled text). This takes a
//! tenth of its time and an eighth of its memory.

use crate::{
    compare,
    seeds::SeedIndex,
    window::{self, WindowIndex},
};
use std::ops::Range;

/// A range of the target that is copied from the base; some bytes may differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BaseCopy {
    /// Its start in the target.
    pub target: usize,
    /// Its start in the base.
    pub base: usize,
    /// Its bytes.
    pub len: usize,
}

impl BaseCopy {
    /// Returns the end in the target.
    pub fn target_end(&self) -> usize {
        self.target + self.len
    }

    /// Returns the end in the base.
    pub fn base_end(&self) -> usize {
        self.base + self.len
    }
}

/// A byte string and a view's reading of it; both have the same length.
///
/// Seeds and anchors are found in `read`. While growing, a byte agrees if it does in either.
#[derive(Debug, Clone, Copy)]
pub struct Reading<'a> {
    /// The bytes.
    pub raw: &'a [u8],
    /// The same bytes as a view reads them.
    pub read: &'a [u8],
}

impl<'a> Reading<'a> {
    /// Bytes without a view.
    pub fn plain(raw: &'a [u8]) -> Self {
        Self { raw, read: raw }
    }

    fn slice(&self, start: usize, end: usize) -> Self {
        Self { raw: &self.raw[start..end], read: &self.read[start..end] }
    }
}

/// The depth of a search.
#[derive(Debug, Clone, Copy)]
pub struct SearchDepth {
    /// Bytes of a seed in the index of the whole base.
    pub seed: usize,
    /// Distance between two seeds.
    pub step: usize,
    /// Most base bytes on either side of a gap to search with short seeds; 0 for none.
    pub window: usize,
}

/// Finds copies; keeps the memory of its indexes from one call to the next.
#[derive(Debug, Default)]
pub struct Matcher {
    /// The index of the base that was searched last.
    pub base_seeds: SeedIndex,
    gaps: GapSearcher,
}

/// Finds copies with an index of the base, and searches the gaps between them.
#[derive(Debug, Default)]
pub struct GapSearcher {
    window: WindowIndex,
    /// The range of the base that `window` indexes.
    known: (usize, usize),
}

/// An index of the offsets of seeds.
trait SeedLookup {
    /// Bytes of a seed.
    fn seed(&self) -> usize;
    /// Returns offsets where the seed at the front of `bytes` may occur.
    fn find(&self, bytes: &[u8]) -> impl Iterator<Item = usize>;
}

impl SeedLookup for SeedIndex {
    fn seed(&self) -> usize {
        self.seed()
    }

    #[inline]
    fn find(&self, bytes: &[u8]) -> impl Iterator<Item = usize> {
        self.find(bytes)
    }
}

impl SeedLookup for WindowIndex {
    fn seed(&self) -> usize {
        window::SEED
    }

    #[inline]
    fn find(&self, bytes: &[u8]) -> impl Iterator<Item = usize> {
        self.find(bytes)
    }
}

/// A range where both sides are equal byte by byte.
type Anchor = BaseCopy;

/// A run of this length on the current diagonal needs no comparison with others.
const FOLLOWED: usize = 16;

/// Bytes in which a new diagonal must agree more than the current one.
const ADVANTAGE: usize = 6;

/// Most bytes over which two diagonals are compared. It bounds the work if the base has the same
/// long range twice.
const COMPARED: usize = 4096;

/// Growing stops when the balance of agreeing and differing bytes is this far below its best.
const DROP: i64 = 512;

/// Shorter copies cost more than their bytes as a literal.
const SHORTEST: usize = 10;

/// Shorter parts of a copy that is cut are dropped.
const SHORTEST_PART: usize = 24;

/// Most bytes between two functions, which compilers fill.
const PADDING: usize = 16;

/// Shorter gaps are not searched again.
const SHORTEST_GAP: usize = 12;

/// Shorter bases are indexed at once.
const LEAST_SPARSE: usize = 4 << 20;

/// A sparse index has every so many'th seed.
const SPARSE: usize = 8;

/// A target is nearly the same as its base if fewer than one in so many places is on no diagonal.
const MISSED: usize = 256;

/// Bytes of the base that are indexed for a gap beyond those asked for.
const AHEAD: usize = 2048;

impl Matcher {
    /// Returns copies for `target`, in target order and not overlapping in the target.
    pub fn copies(
        &mut self,
        base: Reading<'_>,
        target: Reading<'_>,
        search: SearchDepth,
    ) -> Vec<BaseCopy> {
        if base.raw.is_empty() || target.raw.is_empty() {
            return Vec::new();
        }
        let copies = self.copies_of_similar(base, target, search).unwrap_or_else(|| {
            self.base_seeds.build(base.read, search.seed, search.step);
            self.gaps.copies(&self.base_seeds, base, (target, 0), search)
        });
        self.base_seeds.free_if_large();
        join(copies, 0)
    }

    /// Returns copies for a target that is nearly the same as its base, by an eighth of the index.
    /// `None` if it is not, or if the base is short.
    fn copies_of_similar(
        &mut self,
        base: Reading<'_>,
        target: Reading<'_>,
        search: SearchDepth,
    ) -> Option<Vec<BaseCopy>> {
        if base.raw.len() < LEAST_SPARSE {
            return None;
        }
        self.base_seeds.build(base.read, search.seed, search.step * SPARSE);
        let most_missed = LEAST_SPARSE / MISSED + target.raw.len() / MISSED;
        let anchors = scan_until(&self.base_seeds, base, target, 0, most_missed)?;
        Some(self.gaps.grown(base, target, &anchors, search))
    }

    /// Returns copies that take the first range of each pair, of the target, from the second, of the
    /// base, and the rest of `target` as `copies` do.
    pub fn copies_within(
        &mut self,
        base: Reading<'_>,
        target: Reading<'_>,
        pairs: &[[Range<usize>; 2]],
        copies: &[BaseCopy],
    ) -> Vec<BaseCopy> {
        let mut found: Vec<BaseCopy> = Vec::new();
        self.gaps.known = (0, 0);
        for [new, old] in pairs {
            let (window, piece) =
                (base.slice(old.start, old.end), target.slice(new.start, new.end));
            self.gaps.window.build(window.read);
            let anchors = scan(&self.gaps.window, window, piece, 0);
            found.extend(grow(window, piece, &anchors).into_iter().map(|copy| BaseCopy {
                target: copy.target + new.start,
                base: copy.base + old.start,
                ..copy
            }));
        }
        join(overlaid(copies, &found), PADDING)
    }
}

impl GapSearcher {
    /// Returns copies for `target`, whose base has the index `seeds`; neighbours may be joined.
    ///
    /// The target is likely to begin near `origin` in the base.
    pub fn copies(
        &mut self,
        seeds: &SeedIndex,
        base: Reading<'_>,
        (target, origin): (Reading<'_>, usize),
        search: SearchDepth,
    ) -> Vec<BaseCopy> {
        let anchors = scan(seeds, base, target, origin);
        self.grown(base, target, &anchors, search)
    }

    /// Returns the copies that grow from `anchors`, and those in the gaps between them.
    fn grown(
        &mut self,
        base: Reading<'_>,
        target: Reading<'_>,
        anchors: &[Anchor],
        search: SearchDepth,
    ) -> Vec<BaseCopy> {
        let copies = grow(base, target, anchors);
        match search.window {
            0 => copies,
            window => self.fill_gaps(base, target, &copies, window),
        }
    }

    /// Searches the gaps between `copies` in windows of the base around the neighbours' ends.
    fn fill_gaps(
        &mut self,
        base: Reading<'_>,
        target: Reading<'_>,
        copies: &[BaseCopy],
        reach: usize,
    ) -> Vec<BaseCopy> {
        let mut filled = Vec::with_capacity(copies.len());
        let (base_len, target_len) = (base.raw.len(), target.raw.len());
        let end = BaseCopy { target: target_len, base: base_len, len: 0 };
        let mut before = BaseCopy { target: 0, base: 0, len: 0 };
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
                filled
                    .extend(found.into_iter().map(|c| BaseCopy { target: c.target + shift, ..c }));
            }
            if after.len > 0 {
                filled.push(after);
            }
            before = after;
        }
        filled
    }

    /// Returns copies of `piece` from the base between `start` and `end`, or a little beyond.
    fn search_window(
        &mut self,
        base: Reading<'_>,
        piece: Reading<'_>,
        (start, end): (usize, usize),
    ) -> Vec<BaseCopy> {
        if start < self.known.0 || end > self.known.1 {
            // The next gaps mostly lie a little further on: one index then serves them all.
            let end = base.raw.len().min(end + AHEAD);
            self.window.build(&base.read[start..end]);
            self.known = (start, end);
        }
        let (start, end) = self.known;
        let window = base.slice(start, end);
        let anchors = scan(&self.window, window, piece, 0);
        let copies = grow(window, piece, &anchors);
        copies.into_iter().map(|copy| BaseCopy { base: copy.base + start, ..copy }).collect()
    }
}

/// Returns the bytes that `copies` save, less the cost of each.
fn worth(copies: &[BaseCopy]) -> usize {
    copies.iter().map(|copy| copy.len.saturating_sub(SHORTEST)).sum()
}

/// Walks the target and records the ranges where a diagonal is certain.
///
/// The target is likely to begin near `origin` in the base.
fn scan(
    seeds: &impl SeedLookup,
    base: Reading<'_>,
    target: Reading<'_>,
    origin: usize,
) -> Vec<Anchor> {
    scan_until(seeds, base, target, origin, usize::MAX).unwrap_or_default()
}

/// Does the same; `None` as soon as more than `most_missed` places are on no diagonal.
fn scan_until(
    seeds: &impl SeedLookup,
    base: Reading<'_>,
    target: Reading<'_>,
    origin: usize,
    most_missed: usize,
) -> Option<Vec<Anchor>> {
    let (old, new) = (base.read, target.read);
    let mut anchors: Vec<Anchor> = Vec::new();
    // Base position of target position 0 on the current diagonal; may lie outside.
    let mut diagonal: Option<isize> = None;
    let (mut at, mut missed, mut all_missed) = (0_usize, 0_usize, 0_usize);
    while at < new.len() {
        let here = diagonal.and_then(|d| at.checked_add_signed(d)).filter(|&b| b < old.len());
        let run = here.map_or(0, |b| compare::common_prefix(&old[b..], &new[at..]));
        if run >= FOLLOWED {
            note(&mut anchors, BaseCopy { target: at, base: here.unwrap_or(0), len: run });
            at += run;
            missed = 0;
            continue;
        }
        if let Some(found) = best_seed(seeds, old, new, at, here.unwrap_or(origin + at)) {
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
        all_missed += 1;
        if all_missed > most_missed {
            return None;
        }
    }
    Some(anchors)
}

/// Adds an anchor, or extends the last one if only a few differing bytes lie between.
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

/// Returns the longest match at `at` in the index; of equals, the one nearest to `here`.
#[inline]
fn best_seed(
    seeds: &impl SeedLookup,
    old: &[u8],
    new: &[u8],
    at: usize,
    here: usize,
) -> Option<Anchor> {
    let mut best: Option<Anchor> = None;
    for base in seeds.find(&new[at..]) {
        let compared = &new[at..new.len().min(at + COMPARED)];
        let len = compare::common_prefix(&old[base..], compared);
        if len < seeds.seed() {
            continue;
        }
        let nearer = |than: usize| base.abs_diff(here) < than.abs_diff(here);
        if best.is_none_or(|best| len > best.len || (len == best.len && nearer(best.base))) {
            best = Some(BaseCopy { target: at, base, len });
        }
    }
    best
}

/// Grows anchors into copies that tolerate differing bytes.
fn grow(base: Reading<'_>, target: Reading<'_>, anchors: &[Anchor]) -> Vec<BaseCopy> {
    let mut copies: Vec<BaseCopy> = Vec::with_capacity(anchors.len());
    let pair = Comparison { base, target };
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
        // The next anchor may grow back over the part that this one grew forward, not further.
        free = anchor.target_end();
        copies.push(copy);
    }
    copies.retain(|copy| copy.len >= SHORTEST);
    copies
}

/// Both sides of a comparison.
struct Comparison<'a> {
    base: Reading<'a>,
    target: Reading<'a>,
}

impl Comparison<'_> {
    #[inline]
    fn agree(&self, base: usize, target: usize) -> bool {
        self.base.raw[base] == self.target.raw[target]
            || self.base.read[base] == self.target.read[target]
    }

    /// Returns the bytes by which `copy` can grow at its end, at most `room`.
    fn forward(&self, copy: BaseCopy, room: usize) -> usize {
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
                balance += run.cast_signed() as i64;
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

    /// Returns the bytes by which `copy` can grow at its start, at most `room`.
    fn backward(&self, copy: BaseCopy, room: usize) -> usize {
        let room = room.min(copy.base);
        let (mut balance, mut best, mut grown, mut i) = (0_i64, 0_i64, 0, 0);
        while i < room && best - balance < DROP {
            let run = compare::common_suffix(
                &self.base.read[copy.base - room..copy.base - i],
                &self.target.read[copy.target - room..copy.target - i],
            );
            if run > 0 {
                i += run;
                balance += run.cast_signed() as i64;
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
    fn divide(&self, left: &mut BaseCopy, right: &mut BaseCopy) {
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

/// Returns `upper` and the parts of `lower` that do not overlap it, in target order.
pub fn overlaid(lower: &[BaseCopy], upper: &[BaseCopy]) -> Vec<BaseCopy> {
    let mut all = Vec::with_capacity(lower.len() + upper.len());
    let (mut free, mut rest) = (0, lower);
    for over in upper.iter().map(Some).chain([None]) {
        let end = over.map_or(usize::MAX, |over| over.target);
        while let Some((under, behind)) = rest.split_first() {
            let (from, to) = (under.target.max(free), under.target_end().min(end));
            let len = to.saturating_sub(from);
            if len >= SHORTEST_PART || (len > 0 && len == under.len) {
                let base = under.base + (from - under.target);
                all.push(BaseCopy { target: from, base, len });
            }
            if under.target_end() > end {
                break;
            }
            rest = behind;
        }
        if let Some(over) = over {
            all.push(*over);
            free = over.target_end();
        }
    }
    all
}

/// Joins copies that continue each other behind at most `gap` bytes.
pub fn join(copies: Vec<BaseCopy>, gap: usize) -> Vec<BaseCopy> {
    let mut joined: Vec<BaseCopy> = Vec::with_capacity(copies.len());
    for copy in copies {
        match joined.last_mut() {
            Some(last)
                if copy.target - last.target_end() <= gap
                    && copy.base.wrapping_sub(last.base) == copy.target - last.target =>
            {
                last.len = copy.target_end() - last.target;
            }
            _ => joined.push(copy),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use imgdelta_testkit::noise;

    const SEARCHES: [SearchDepth; 3] = [
        SearchDepth { seed: 32, step: 16, window: 0 },
        SearchDepth { seed: 32, step: 8, window: 4096 },
        SearchDepth { seed: 16, step: 4, window: 4096 },
    ];

    /// The plain way: the longest match of at least `shortest` bytes at each place, by trying all.
    fn naive(base: &[u8], target: &[u8], shortest: usize) -> Vec<BaseCopy> {
        let (mut copies, mut at) = (Vec::new(), 0);
        while at < target.len() {
            let best = (0..base.len())
                .map(|b| (compare::common_prefix(&base[b..], &target[at..]), std::cmp::Reverse(b)))
                .max();
            match best.filter(|best| best.0 >= shortest) {
                Some((len, std::cmp::Reverse(base))) => {
                    copies.push(BaseCopy { target: at, base, len });
                    at += len;
                }
                None => at += 1,
            }
        }
        copies
    }

    /// Target bytes that the copies predict correctly.
    fn right_bytes(base: &[u8], target: &[u8], copies: &[BaseCopy]) -> usize {
        let pairs = |copy: &BaseCopy| {
            let old = &base[copy.base..copy.base_end()];
            old.iter().zip(&target[copy.target..copy.target_end()]).filter(|(a, b)| a == b).count()
        };
        copies.iter().map(pairs).sum()
    }

    fn edited(base: &[u8]) -> Vec<u8> {
        let mut target = base.to_vec();
        target.splice(700..700, noise(7, 90));
        target.drain(1500..1700);
        target.rotate_left(300);
        (0..40).for_each(|i| target[i * 97] ^= 0x55);
        target
    }

    #[test]
    fn copies_ascend_stay_inside_and_do_not_overlap() {
        let base = noise(1, 4000);
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
        let base = noise(2, 4000);
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
        let base = noise(3, 100_000);
        for moved in 0..8 {
            let target = [noise(4, 50_000 + moved), base[1000..].to_vec()].concat();
            let (old, new) = (Reading::plain(&base), Reading::plain(&target));
            let copies = Matcher::default().copies(old, new, SEARCHES[0]);
            let expected = BaseCopy { target: 50_000 + moved, base: 1000, len: 99_000 };
            assert_eq!(copies, [expected], "moved by {moved}");
        }
    }

    #[test]
    fn a_function_is_copied_from_its_pair_and_the_rest_as_before() {
        let [head, one, tail] = [(1, 500), (2, 300), (3, 500)].map(|(seed, len)| noise(seed, len));
        let mut changed = one.clone();
        changed[100] ^= 1;
        // The base has the function twice: as it was, and with other bytes behind.
        let base = [&head[..], &one, &tail, &one[..150], &noise(4, 150)].concat();
        let target = [&head[..], &changed, &tail].concat();
        let pair = [500..800, 500..800];
        let far = [(0, 0, 500), (500, 1300, 150), (650, 650, 650)];
        let far = far.map(|(target, base, len)| BaseCopy { target, base, len });
        let (old, new) = (Reading::plain(&base), Reading::plain(&target));
        let copies = Matcher::default().copies_within(old, new, &[pair], &far);
        assert_eq!(copies, [BaseCopy { target: 0, base: 0, len: 1300 }]);
    }

    #[test]
    fn copies_that_lie_over_others_cut_them() {
        let copies = |list: &[(usize, usize)]| -> Vec<BaseCopy> {
            let copy = |&(from, to)| BaseCopy { target: from, base: 1000 + from, len: to - from };
            list.iter().map(copy).collect()
        };
        let lower = copies(&[(0, 100), (120, 130), (140, 300), (310, 320)]);
        let upper = copies(&[(30, 40), (110, 145), (160, 200), (315, 330)]);
        let expected = [(0, 30), (30, 40), (40, 100), (110, 145), (160, 200), (200, 300)];
        let expected = [&copies(&expected)[..], &copies(&[(315, 330)])].concat();
        assert_eq!(overlaid(&lower, &upper), expected);
        assert_eq!(overlaid(&lower, &[]), lower);
        assert_eq!(overlaid(&[], &upper), upper);
    }

    #[test]
    fn a_sparse_index_finds_the_copies_of_a_similar_target_and_gives_up_on_another() {
        let base = noise(5, LEAST_SPARSE + 12_345);
        let mut target = base.clone();
        for at in (100_000..LEAST_SPARSE).step_by(500_000) {
            target[at] ^= 0x55;
            target.splice(at + 3001..at + 3001, noise(at as u64, 77));
            target.drain(at + 9000..at + 9013);
        }
        let (old, new) = (Reading::plain(&base), Reading::plain(&target));
        let mut matcher = Matcher::default();
        let sparse = join(matcher.copies_of_similar(old, new, SEARCHES[1]).unwrap(), 0);
        matcher.base_seeds.build(&base, SEARCHES[1].seed, SEARCHES[1].step);
        let full = matcher.gaps.copies(&matcher.base_seeds, old, (new, 0), SEARCHES[1]);
        assert_eq!(sparse, join(full, 0));
        // One part in fifty is new.
        (0..target.len())
            .step_by(5000)
            .for_each(|at| target.splice(at..at + 100, noise(9, 100)).for_each(drop));
        let new = Reading::plain(&target);
        assert!(matcher.copies_of_similar(old, new, SEARCHES[1]).is_none());
    }

    #[test]
    fn zeros_take_linear_time() {
        let (base, target) = (vec![0; 3_000_000], vec![0; 3_100_000]);
        let (old, new) = (Reading::plain(&base), Reading::plain(&target));
        let copies = Matcher::default().copies(old, new, SEARCHES[1]);
        assert!(copies.len() < 10, "{} copies", copies.len());
    }
}
