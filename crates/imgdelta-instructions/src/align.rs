//! Making side only: pairs the instructions of a function with those of its older version.
//! Never pairs instructions that no change turns into each other, and never moves backwards.
//!
//! Windows that occur once on both sides divide long functions. Between them a global alignment with
//! affine gaps finds the cheapest pairs. Costs are tenths of a bit, from the streams of real deltas.

use crate::{
    edit::Edit,
    units::{Function, Unit, read_units},
};
use std::ops::Range;

/// Instructions of a target function that follow each other as in the base's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PairRun {
    /// Bytes of the base function.
    pub(crate) base: Range<usize>,
    /// Bytes of the target function.
    pub(crate) target: Range<usize>,
    /// Changes, each with the place of its instruction in the base function.
    pub(crate) edits: Vec<(usize, Edit)>,
}

/// Costs of a base instruction passed over, and of a gap.
const SKIPPED: u32 = 4;
const GAP: u32 = 160;

/// A run that saves less than its copy costs is left out.
const LEAST_SAVING: u32 = 300;

/// Instructions of a window, from the first division on.
const WINDOWS: [usize; 3] = [8, 4, 2];
/// Gaps with more cells are divided, and left unpaired if that fails.
const FEW_CELLS: usize = 1 << 12;
const MOST_CELLS: usize = 1 << 21;

const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

/// Pairs functions; memory stays between calls.
#[derive(Debug, Default)]
pub(crate) struct Aligner {
    base: Vec<Unit>,
    target: Vec<Unit>,
    pairs: Vec<(usize, usize)>,
    row: Vec<Cell>,
    steps: Vec<u8>,
}

impl Aligner {
    /// Returns the runs of pairs that pay, ascending on both sides.
    pub(crate) fn runs(&mut self, base: Function<'_>, target: Function<'_>) -> Vec<PairRun> {
        read_units((base, &mut self.base), (target, &mut self.target));
        self.pairs.clear();
        let (base, target) = (0..self.base.len(), 0..self.target.len());
        self.align(base, target, 0);
        self.collect()
    }

    /// Pairs two ranges of instructions; `depth` divisions were made.
    fn align(&mut self, mut base: Range<usize>, mut target: Range<usize>, depth: usize) {
        let is_equal = |own: &Self, i: usize, j: usize| own.base[i].cost(&own.target[j]) == Some(0);
        while !base.is_empty() && !target.is_empty() && is_equal(self, base.start, target.start) {
            self.pairs.push((base.start, target.start));
            (base.start, target.start) = (base.start + 1, target.start + 1);
        }
        let end = (base.end, target.end);
        while !base.is_empty() && !target.is_empty() && is_equal(self, base.end - 1, target.end - 1)
        {
            (base.end, target.end) = (base.end - 1, target.end - 1);
        }
        if !base.is_empty() && !target.is_empty() {
            let cells = base.len().saturating_mul(target.len());
            let chain = if cells > FEW_CELLS && depth < WINDOWS.len() {
                self.chain(base.clone(), target.clone(), WINDOWS[depth])
            } else {
                Vec::new()
            };
            if !chain.is_empty() || cells > FEW_CELLS && depth < WINDOWS.len() {
                let mut from = (base.start, target.start);
                for (i, j) in chain.into_iter().chain([(base.end, target.end)]) {
                    if i < from.0 || j < from.1 {
                        continue;
                    }
                    self.align(from.0..i, from.1..j, depth + 1);
                    from = (i, j);
                }
            } else if cells <= MOST_CELLS {
                self.fill(base.clone(), target.clone());
            }
        }
        let count = end.0 - base.end;
        self.pairs.extend((0..count).map(|k| (base.end + k, target.end + k)));
    }

    /// Returns places of windows that occur once in both ranges, in the longest ascending chain.
    fn chain(
        &self,
        base: Range<usize>,
        target: Range<usize>,
        window: usize,
    ) -> Vec<(usize, usize)> {
        let hashes = |units: &[Unit], range: Range<usize>| {
            let start = range.start;
            let units = &units[range];
            let hash = |window: &[Unit]| {
                window.iter().fold(0_u64, |hash, unit| {
                    (hash.rotate_left(17) ^ unit.token()).wrapping_mul(MULTIPLIER)
                })
            };
            let mut list: Vec<(u64, usize)> =
                units.windows(window).map(hash).zip(start..).collect();
            list.sort_unstable();
            let mut single = Vec::new();
            for same in list.chunk_by(|a, b| a.0 == b.0) {
                if let [only] = same {
                    single.push(*only);
                }
            }
            single
        };
        let (old, new) = (hashes(&self.base, base), hashes(&self.target, target));
        let mut found = Vec::new();
        let mut rest = old.iter().peekable();
        for &(hash, j) in &new {
            while rest.next_if(|item| item.0 < hash).is_some() {}
            if let Some(&&(_, i)) = rest.peek().filter(|item| item.0 == hash) {
                found.push((j, i));
            }
        }
        found.sort_unstable();
        ascending(&found)
    }

    /// Pairs two ranges by global alignment.
    fn fill(&mut self, base: Range<usize>, target: Range<usize>) {
        let (old, new) = (&self.base[base.clone()], &self.target[target.clone()]);
        let width = new.len() + 1;
        self.steps.clear();
        self.steps.resize(width * (old.len() + 1), 0);
        let (first_steps, steps) = self.steps.split_at_mut(width);
        // Nothing of the base: all instructions are new.
        self.row.clear();
        self.row.push(Cell { paired: 0, gap: UNREACHED });
        let mut gap = GAP;
        for (unit, step) in new.iter().zip(&mut first_steps[1..]) {
            *step = if gap == GAP { ADD_FROM_PAIR } else { ADD };
            gap += unit.new_cost();
            self.row.push(Cell { paired: UNREACHED, gap });
        }
        for (unit, steps) in old.iter().zip(steps.chunks_exact_mut(width)) {
            fill_row(unit, new, &mut self.row, steps);
        }
        let (mut i, mut j) = (old.len(), new.len());
        let last = self.row[j];
        let mut in_gap = last.gap < last.paired;
        let before = self.pairs.len();
        while i > 0 || j > 0 {
            let step = self.steps[i * width + j];
            if in_gap {
                match step & GAP_STEPS {
                    SKIP => i -= 1,
                    SKIP_FROM_PAIR => (i, in_gap) = (i - 1, false),
                    ADD => j -= 1,
                    _ => (j, in_gap) = (j - 1, false),
                }
            } else {
                (i, j) = (i - 1, j - 1);
                self.pairs.push((base.start + i, target.start + j));
                in_gap = step & PAIR_FROM_GAP != 0;
            }
        }
        self.pairs[before..].reverse();
    }

    /// Joins the pairs into runs.
    fn collect(&self) -> Vec<PairRun> {
        let mut runs = Vec::new();
        let follows = |a: &(usize, usize), b: &(usize, usize)| (a.0 + 1, a.1 + 1) == *b;
        for pairs in self.pairs.chunk_by(follows) {
            let mut edits = Vec::new();
            let (mut saved, mut spent) = (0, 0);
            for &(i, j) in pairs {
                let (old, new) = (&self.base[i], &self.target[j]);
                saved += new.new_cost();
                spent += old.cost(new).unwrap_or(0);
                edits.extend(old.edit(new).map(|edit| (old.at as usize, edit)));
            }
            if saved > spent + LEAST_SAVING {
                let bytes = |first: &Unit, last: &Unit| {
                    first.at as usize..last.at as usize + usize::from(last.len)
                };
                let (first, last) = (pairs[0], pairs[pairs.len() - 1]);
                runs.push(PairRun {
                    base: bytes(&self.base[first.0], &self.base[last.0]),
                    target: bytes(&self.target[first.1], &self.target[last.1]),
                    edits,
                });
            }
        }
        runs
    }
}

/// The costs of the cheapest ways to a place of both ranges: behind a pair, and within a gap.
#[derive(Debug, Clone, Copy)]
struct Cell {
    paired: u32,
    gap: u32,
}

/// The cost of a place that no way leads to: more than all instructions cost, and sums stay in range.
const UNREACHED: u32 = u32::MAX / 2;

/// Replaces the cells of the row before by those behind one more instruction of the base, and writes
/// the step that leads to each.
fn fill_row(old: &Unit, new: &[Unit], row: &mut [Cell], steps: &mut [u8]) {
    let mut diagonal = row[0];
    let skipped = (diagonal.paired + GAP + SKIPPED, diagonal.gap + SKIPPED);
    let mut left = Cell { paired: UNREACHED, gap: skipped.0.min(skipped.1).min(UNREACHED) };
    (row[0], steps[0]) = (left, if skipped.0 < skipped.1 { SKIP_FROM_PAIR } else { SKIP });
    for ((unit, cell), step) in new.iter().zip(&mut row[1..]).zip(&mut steps[1..]) {
        let above = *cell;
        let paired = match old.cost(unit) {
            Some(cost) => cost + diagonal.paired.min(diagonal.gap),
            None => UNREACHED,
        };
        let pair_step = if diagonal.gap < diagonal.paired { PAIR_FROM_GAP } else { 0 };
        let (open, more) = (above.paired + GAP + SKIPPED, above.gap + SKIPPED);
        let skip = open.min(more);
        let skip_step = if open < more { SKIP_FROM_PAIR } else { SKIP };
        let cost = unit.new_cost();
        let (open, more) = (left.paired + GAP + cost, left.gap + cost);
        let add = open.min(more);
        let add_step = if open < more { ADD_FROM_PAIR } else { ADD };
        let gap_step = if add < skip { add_step } else { skip_step };
        *step = pair_step | gap_step;
        diagonal = above;
        left = Cell { paired: paired.min(UNREACHED), gap: add.min(skip).min(UNREACHED) };
        *cell = left;
    }
}

/// The step that leads to a cell as a pair, and the one that leads to it as a part of a gap.
const PAIR_FROM_GAP: u8 = 1;
const SKIP: u8 = 2;
const SKIP_FROM_PAIR: u8 = 4;
const ADD: u8 = 6;
const ADD_FROM_PAIR: u8 = 8;
const GAP_STEPS: u8 = 14;

/// Returns the longest chain of `places` whose second numbers ascend; the first ones do. The numbers
/// of each place change places.
fn ascending(places: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let (mut ends, mut before): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
    for (number, place) in places.iter().enumerate() {
        let rank = ends.partition_point(|&end: &usize| places[end].1 < place.1);
        before.push(rank.checked_sub(1).map_or(usize::MAX, |rank| ends[rank]));
        if rank == ends.len() {
            ends.push(number);
        } else {
            ends[rank] = number;
        }
    }
    let mut chain = Vec::with_capacity(ends.len());
    let mut number = ends.last().copied().unwrap_or(usize::MAX);
    while let Some(&(first, second)) = places.get(number) {
        chain.push((second, first));
        number = before[number];
    }
    chain.reverse();
    chain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::set::InstructionSet;

    fn runs(base: &[u8], target: &[u8]) -> Vec<PairRun> {
        let function = |raw| Function { raw, labelled: raw, set: InstructionSet::X86_64 };
        Aligner::default().runs(function(base), function(target))
    }

    /// mov edx, [rax + 8]; add rcx, 100; jmp +5; lea rdi, [rsp + 16]; call; ret; five times.
    fn code() -> Vec<u8> {
        let once = [
            &[0x8B, 0x50, 8][..],
            &[0x48, 0x83, 0xC1, 100],
            &[0xEB, 5],
            &[0x48, 0x8D, 0x7C, 0x24, 16],
            &[0xE8, 1, 0, 0, 0],
            &[0xC3],
        ];
        once.concat().repeat(5)
    }

    #[test]
    fn equal_functions_are_one_run_without_changes() {
        let code = code();
        let all = 0..code.len();
        assert_eq!(runs(&code, &code), [PairRun { base: all.clone(), target: all, edits: vec![] }]);
    }

    #[test]
    fn a_new_register_and_a_longer_number_are_changes() {
        let base = code();
        // mov r10d, [rax + 8]; the sum's number no longer fits a byte.
        let target =
            [&base[..20], &[0x44, 0x8B, 0x50, 8, 0x48, 0x81, 0xC1, 0xC8, 0, 0, 0], &base[27..]]
                .concat();
        let found = runs(&base, &target);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].base.clone(), found[0].target.clone()), (0..100, 0..104));
        let register = Edit { register: Some(10), ..Edit::default() };
        let number = Edit { immediate: Some(100), ..Edit::default() };
        assert_eq!(found[0].edits, [(20, register), (23, number)]);
    }

    #[test]
    fn new_instructions_divide_runs() {
        let base = code();
        let target = [&base[..40], &[0x0F, 0xA2].repeat(20), &base[40..]].concat();
        let places: Vec<_> =
            runs(&base, &target).into_iter().map(|run| (run.base, run.target)).collect();
        assert_eq!(places, [(0..40, 0..40), (40..100, 80..140)]);
    }
}
