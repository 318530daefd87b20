//! Encoder only: the layout of copies with edits.
//! Never decides if edits pay: the encoder compares.

use crate::{
    group::{StreamReader, StreamWriter},
    layout::{self, Layout},
    script::BaseCopy,
    stream::StreamKind,
};
use imgdelta_instructions::{EditedCopy, ExpectedEdits, InstructionSet, Program};
use imgdelta_wire::matcher;

/// Returns the copies of a target, of which functions are paired by instruction and the rest is as in
/// `copies`.
pub(crate) fn edited_copies(
    base: Program<'_>,
    target: Program<'_>,
    copies: &[BaseCopy],
) -> Vec<EditedCopy> {
    let edited = imgdelta_instructions::changed_functions(base, target);
    let over = |copy: &EditedCopy| BaseCopy {
        target: copy.target.start,
        base: copy.base.start,
        len: copy.target.len(),
    };
    let over: Vec<BaseCopy> = edited.iter().map(over).collect();
    let mut edited = edited.into_iter().peekable();
    let all = matcher::overlaid(copies, &over).into_iter().map(|copy| {
        edited.next_if(|edited| edited.target.start == copy.target).unwrap_or_else(|| EditedCopy {
            target: copy.target..copy.target_end(),
            base: copy.base..copy.base_end(),
            edits: Vec::new(),
        })
    });
    imgdelta_instructions::join_copies(base.set, base.raw, target.raw, all)
}

/// Returns the layout of `copies` of at least so many bytes; `None` with more edits than are read.
pub(crate) fn layout(
    base: &[u8],
    target_len: usize,
    copies: &[EditedCopy],
    least: usize,
) -> Option<Layout> {
    let set = InstructionSet::of_file(base);
    let mut script = StreamWriter::default();
    let mut expected_edits = ExpectedEdits::default();
    let (mut at, mut base_end) = (0, 0);
    let kept = || copies.iter().filter(|copy| copy.target.len() >= least);
    for copy in kept() {
        let literal_len = copy.target.start - at;
        script.number(StreamKind::LiteralLengths, literal_len as u64);
        script.number(StreamKind::CopyLengths, copy.base.len() as u64);
        let expected: usize = base_end + literal_len;
        script.signed(StreamKind::BaseOffsets, copy.base.start as i64 - expected as i64);
        if copy.edits.is_empty() {
            script.number(StreamKind::EditCounts, 0);
        } else {
            let exceptions = copy.exceptions(set, base, &mut expected_edits);
            script.number(StreamKind::EditCounts, exceptions.len() as u64 + 1);
            for (gap, edit) in exceptions {
                script.number(StreamKind::EditGaps, gap);
                layout::write_edit(&mut script, &edit);
            }
        }
        (at, base_end) = (copy.target.end, copy.base.end);
    }
    if at < target_len {
        script.number(StreamKind::LiteralLengths, (target_len - at) as u64);
    }
    let mut layout = Layout::with_edits(base);
    let mut reader = StreamReader::of(&script);
    for copy in kept() {
        let (start, range) = (copy.target.start, copy.base.clone());
        layout.add(&mut reader, base, range, start, target_len - start).ok()?;
    }
    layout.script = script;
    Some(layout)
}
