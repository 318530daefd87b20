//! Making side only: copies of a program with edits, from the functions of both sides.
//! Never decides which copies are kept.

use crate::{
    align::Aligner, edit::Edit, expected::ExpectedEdits, matching, operands::Operands,
    set::InstructionSet, units::Function,
};
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

/// Returns the change that makes what is expected of an instruction into what it becomes.
fn exception(set: InstructionSet, code: &[u8], expected: &Edit, wanted: &Edit) -> Edit {
    if expected.is_empty() {
        return *wanted;
    }
    let Some(Operands { fields, .. }) = set.operands(code) else { return *wanted };
    let changed = |old: u8, expected: Option<u8>, wanted: Option<u8>| {
        let wanted = wanted.unwrap_or(old);
        (wanted != expected.unwrap_or(old)).then_some(wanted)
    };
    let more = |expected: Option<i64>, wanted: Option<i64>| {
        Some(wanted.unwrap_or(0).wrapping_sub(expected.unwrap_or(0))).filter(|&more| more != 0)
    };
    Edit {
        register: changed(fields.register, expected.register, wanted.register),
        base: changed(fields.base, expected.base, wanted.base),
        index: changed(fields.index, expected.index, wanted.index),
        displacement: more(expected.displacement, wanted.displacement),
        immediate: more(expected.immediate, wanted.immediate),
        form: wanted.form,
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

    /// Returns the edits that are not expected, each with the number of instructions since the one
    /// before.
    pub fn exceptions(
        &self,
        set: InstructionSet,
        base: &[u8],
        expected: &mut ExpectedEdits,
    ) -> Vec<(u64, Edit)> {
        let mut exceptions = Vec::new();
        let mut edits = self.edits.iter().peekable();
        let (mut at, mut gap) = (self.base.start, 0);
        expected.begin(at);
        while at < self.base.end {
            let code = &base[at..self.base.end];
            let edit = edits.next_if(|(place, _)| *place == at).map(|(_, edit)| *edit);
            let (len, likely) = expected.next(set, code);
            if edit.is_none() && likely.is_none() {
                (at, gap) = (at + len, gap + 1);
                continue;
            }
            let likely = likely.map_or_else(Edit::default, |(likely, _)| likely);
            let exception = exception(set, code, &likely, &edit.unwrap_or_default());
            if exception.is_empty() {
                gap += 1;
            } else {
                expected.learn(set, code, &likely, &exception);
                exceptions.push((std::mem::take(&mut gap), exception));
            }
            at += len;
        }
        expected.end(self.base.end);
        exceptions
    }
}
