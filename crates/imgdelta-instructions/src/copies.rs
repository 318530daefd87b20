//! Making side only: copies of a program with edits, from the functions of both sides.
//! Never decides which copies are kept.

use crate::{align::Aligner, edit::Edit, matching, set::InstructionSet, units::Function};
use std::ops::Range;

/// A program: its bytes, the same with labels, and its functions.
#[derive(Debug, Clone, Copy)]
pub struct Program<'a> {
    /// The bytes of the file.
    pub raw: &'a [u8],
    /// The same with each call and memory operand replaced by a label of its target, alike on both
    /// sides.
    pub labelled: &'a [u8],
    /// Start and end of each function, ascending and apart.
    pub functions: &'a [(usize, usize)],
    /// The instructions of both.
    pub set: InstructionSet,
}

/// A range of a target that is a range of its base with edits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EditedCopy {
    /// Bytes of the target.
    pub target: Range<usize>,
    /// Bytes of the base.
    pub base: Range<usize>,
    /// Changes, each with the offset of its instruction in the base.
    pub edits: Vec<(usize, Edit)>,
}

/// Returns copies of the functions that changed, by instruction, in target order.
pub fn changed_functions(base: Program<'_>, target: Program<'_>) -> Vec<EditedCopy> {
    let (old, new) = (base.all_functions(), target.all_functions());
    let mut aligner = Aligner::default();
    let mut copies = Vec::new();
    for (number, found) in matching::match_functions(&old, &new) {
        let (from, to) = (base.functions[found].0, target.functions[number].0);
        let moved = |range: Range<usize>, by: usize| range.start + by..range.end + by;
        copies.extend(aligner.runs(old[found], new[number]).into_iter().map(|run| EditedCopy {
            target: moved(run.target, to),
            base: moved(run.base, from),
            edits: run.edits.into_iter().map(|(at, edit)| (from + at, edit)).collect(),
        }));
    }
    copies
}

impl<'a> Program<'a> {
    fn all_functions(&self) -> Vec<Function<'a>> {
        let function = |&(start, end): &(usize, usize)| Function {
            raw: &self.raw[start..end],
            labelled: &self.labelled[start..end],
            set: self.set,
        };
        self.functions.iter().map(function).collect()
    }
}

/// Most bytes between two copies that are joined over equal bytes.
const PADDING: usize = 32;

/// A copy with edits is walked: one without is joined to it if it is not longer than this.
const SHORT: usize = 4 << 10;

/// Joins copies, in target order, that continue each other in both files.
pub fn join_copies(
    set: InstructionSet,
    base: &[u8],
    target: &[u8],
    copies: impl Iterator<Item = EditedCopy>,
) -> Vec<EditedCopy> {
    let mut joined: Vec<EditedCopy> = Vec::new();
    // Start of an instruction in a walk over the last copy.
    let mut walked = 0;
    for copy in copies {
        if let Some(last) = joined.last_mut()
            && copy.base.start.checked_sub(last.base.end)
                == Some(copy.target.start - last.target.end)
            && copy.target.start - last.target.end <= PADDING
            && base[last.base.end..copy.base.start] == target[last.target.end..copy.target.start]
            && last.is_short_or_alike(&copy)
            && copy.is_met(set, base, &mut walked)
        {
            (last.base.end, last.target.end) = (copy.base.end, copy.target.end);
            last.edits.extend(copy.edits);
        } else {
            walked = copy.base.start;
            joined.push(copy);
        }
    }
    joined
}

impl EditedCopy {
    /// True if a walk over this copy and `other` is hardly longer than one over those with edits.
    fn is_short_or_alike(&self, other: &Self) -> bool {
        match (self.edits.is_empty(), other.edits.is_empty()) {
            (true, false) => self.base.len() <= SHORT,
            (false, true) => other.base.len() <= SHORT,
            _ => true,
        }
    }

    /// True if a walk from `walked` on meets the copy's first instruction, or if it has no edits.
    fn is_met(&self, set: InstructionSet, base: &[u8], walked: &mut usize) -> bool {
        if self.edits.is_empty() {
            return true;
        }
        while *walked < self.base.start {
            *walked += set.length(&base[*walked..self.base.end]);
        }
        *walked == self.base.start
    }

    /// Calls `visit` for each edit with the number of instructions since the edit before.
    pub fn each_edit(&self, set: InstructionSet, base: &[u8], mut visit: impl FnMut(u64, &Edit)) {
        let mut at = self.base.start;
        for (place, edit) in &self.edits {
            let mut gap = 0;
            while at < *place {
                at += set.length(&base[at..self.base.end]);
                gap += 1;
            }
            visit(gap, edit);
            at += set.length(&base[at..self.base.end]);
        }
    }
}
