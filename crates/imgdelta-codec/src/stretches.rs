//! The stretches of a member's literals, for an aligned code: where they lie in the target, and where
//! they would begin in the base. Never reads a byte of either.

use crate::{layout::Layout, prefix::Reference, script::BaseCopy};
use imgdelta_coding::aligned::{Kind, Stretch};
use imgdelta_fields::elf::{Machine, MemoryImage};

/// Returns the stretches of a target of `len` bytes, in its order: what no copy holds, cut where the
/// kind of bytes changes.
pub(crate) fn stretches(
    layout: &Layout,
    len: usize,
    target: &MemoryImage,
    reference: &Reference,
) -> Vec<Stretch> {
    let mut all = Vec::new();
    let mut at = 0;
    let mut before: Option<BaseCopy> = None;
    let end = BaseCopy { target: len, base: usize::MAX, len: 0 };
    for copy in layout.copies.iter().chain([&end]) {
        let is_placed = copy.target < len && layout.is_placed(copy);
        let (mut from, to) = (at, copy.target);
        for (end, kind) in kinds(target, to) {
            let end = end.min(to);
            if from >= end {
                continue;
            }
            // Bytes of the base that follow the copy before, and those that precede this one.
            let old = match before {
                Some(copy) => (copy.base_end()).checked_add(from - copy.target_end()),
                None => Some(from),
            };
            let new = if is_placed { copy.base.checked_sub(to - from) } else { None };
            all.push(Stretch {
                len: end - from,
                target: from,
                before: old.and_then(|at| reference.place(at)),
                after: new.and_then(|at| reference.place(at)),
                kind,
            });
            from = end;
        }
        at = copy.target_end();
        if is_placed {
            before = Some(*copy);
        }
    }
    all
}

/// Returns the ends of ranges of a file up to `len` with their kinds, ascending.
pub(crate) fn kinds(image: &MemoryImage, len: usize) -> impl Iterator<Item = (usize, Kind)> {
    let code = match image.machine {
        Machine::X86_64 => Kind::X86,
        Machine::Aarch64 => Kind::Words,
        Machine::ClassData | Machine::None => Kind::Data,
    };
    let executable = image.segments.iter().filter(|segment| segment.executable);
    let ranges = executable
        .flat_map(move |segment| [(segment.offset, Kind::Data), (segment.offset_end(), code)]);
    ranges.chain([(len, Kind::Data)])
}

#[cfg(all(test, feature = "encode"))]
mod tests;
