//! What is to be rebuilt, cut into pieces and put into groups.
//!
//! Like goes with like, since a group's streams are packed together; a group is as much as one
//! worker does at a time. The order depends on the images alone.

use super::{
    layout::{Layout, Stretch},
    windows,
};
use crate::{
    Result,
    plan::Plan,
    sources::{Choice, Content},
    volume::{Space, Stream},
};
use imgdelta_format::recipe::{Member, Source};
use std::ops::Range;

/// One member-to-be: target bytes and base bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// What the recipe says of it.
    pub(super) member: Member,
    /// Where in the target's stream it lies.
    pub(super) target: Range<u64>,
    /// Where its base lies, in addresses.
    pub(super) base: Vec<Range<u64>>,
    /// About how much memory it takes to encode.
    pub(super) memory_bytes: u64,
}

impl Piece {
    /// Returns the length of its base.
    pub(super) fn base_bytes(&self) -> u64 {
        self.base.iter().map(|range| range.end - range.start).sum()
    }
}

/// What a layer's pieces are cut from.
pub(super) struct Cutter<'a> {
    pub(super) plan: &'a Plan<'a>,
    pub(super) ordinal: u32,
    pub(super) choices: &'a [Choice],
    pub(super) layout: &'a Layout,
    pub(super) space: &'a Space,
    pub(super) stream: &'a Stream,
    /// What one piece may take to encode.
    pub(super) memory_bytes: u64,
}

/// Sorts like beside like: machine code, then what has a base, then what has none, each by the
/// ending of its name.
type Order<'a> = (Class, &'a [u8], &'a [u8], u32, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    Program,
    Changed,
    New,
}

impl Cutter<'_> {
    /// Returns the groups of a layer: pieces of everything that is built.
    pub(super) fn groups(&self, stretches: &[Stretch]) -> Result<Vec<Vec<Piece>>> {
        let index = &self.plan.target.layers[self.ordinal as usize];
        let mut ordered: Vec<(Order<'_>, Piece)> = Vec::new();
        for (payload, stretch) in (0..).zip(stretches) {
            let (target, base, is_own, path) = match stretch {
                Stretch::Raw(range) => (range.clone(), Vec::new(), false, &b""[..]),
                Stretch::Entry(ordinal) => {
                    let entry = &index.entries[*ordinal as usize];
                    let choice = &self.choices[*ordinal as usize];
                    let Content::Built(places, _) = &choice.content else { continue };
                    let is_own = matches!(places[..], [place] if choice.header == Some(place));
                    let base =
                        places.iter().map(|place| self.layout.payload(self.plan, *place)).collect();
                    (entry.payload.clone(), base, is_own, entry.path.as_bytes())
                }
            };
            let is_program = self.is_program(&target)?;
            let class = match (base.is_empty(), is_program) {
                (true, _) => Class::New,
                (false, true) => Class::Program,
                (false, false) => Class::Changed,
            };
            for piece in self.pieces(payload, target, base, is_own, is_program)? {
                let offset = piece.member.window.map_or(0, |window| window.offset);
                ordered.push(((class, ending(path), path, payload, offset), piece));
            }
        }
        ordered.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(group(ordered.into_iter().map(|(_, piece)| piece)))
    }

    /// One piece, or windows where one would take too much memory.
    fn pieces(
        &self,
        payload: u32,
        target: Range<u64>,
        base: Vec<Range<u64>>,
        is_own: bool,
        is_program: bool,
    ) -> Result<Vec<Piece>> {
        let target_bytes = target.end - target.start;
        let base_bytes: u64 = base.iter().map(|range| range.end - range.start).sum();
        let memory_bytes = memory(base_bytes, target_bytes, is_program);
        if memory_bytes <= self.memory_bytes {
            let sources = if is_own { vec![Source::Own] } else { slices(&base) };
            let member = Member { payload, window: None, sources };
            return Ok(vec![Piece { member, target, base, memory_bytes }]);
        }
        let first = base.first().cloned().unwrap_or_default();
        let cuts = windows::cut(
            first.end - first.start,
            &mut |range, sink| {
                read_pieces(&first, range, sink, |at, piece| self.space.read_exact_at(at, piece))
            },
            target_bytes,
            &mut |range, sink| {
                read_pieces(&target, range, sink, |at, piece| self.stream.read_exact_at(at, piece))
            },
        )?;
        let pieces = cuts.into_iter().map(|(window, range)| {
            let base = (range.start < range.end)
                .then(|| first.start + range.start..first.start + range.end);
            let base: Vec<_> = base.into_iter().collect();
            let start = target.start + window.offset;
            Piece {
                memory_bytes: memory(range.end - range.start, window.bytes, false),
                member: Member { payload, window: Some(window), sources: slices(&base) },
                target: start..start + window.bytes,
                base,
            }
        });
        Ok(pieces.collect())
    }

    fn is_program(&self, target: &Range<u64>) -> Result<bool> {
        let mut magic = [0; 4];
        if target.end - target.start < SMALLEST_PROGRAM_BYTES {
            return Ok(false);
        }
        self.stream.read_exact_at(target.start, &mut magic)?;
        Ok(magic == *b"\x7fELF")
    }
}

/// Reads a range, counted from the start of `whole`, in pieces.
fn read_pieces(
    whole: &Range<u64>,
    range: Range<u64>,
    sink: &mut dyn FnMut(&[u8]),
    read: impl Fn(u64, &mut [u8]) -> Result<()>,
) -> Result<()> {
    let mut buffer = vec![0; 256 << 10];
    let (mut at, end) = (whole.start + range.start, whole.start + range.end);
    while at < end {
        let count = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        read(at, &mut buffer[..count])?;
        sink(&buffer[..count]);
        at += count as u64;
    }
    Ok(())
}

/// The parts of a base by their addresses.
pub(super) fn slices(base: &[Range<u64>]) -> Vec<Source> {
    let slice =
        |range: &Range<u64>| Source::Slice { address: range.start, bytes: range.end - range.start };
    base.iter().map(slice).collect()
}

/// About what encoding takes: the codec's index, and for programs a second look at both sides.
fn memory(base_bytes: u64, target_bytes: u64, is_program: bool) -> u64 {
    if is_program {
        (base_bytes + target_bytes) * 9 / 2
    } else {
        base_bytes * 5 / 2 + target_bytes * 3
    }
}

/// Cuts a list into groups of about [`GROUP_BYTES`] of targets.
fn group(pieces: impl Iterator<Item = Piece>) -> Vec<Vec<Piece>> {
    let mut groups: Vec<Vec<Piece>> = Vec::new();
    let mut filled = 0;
    for piece in pieces {
        let bytes = piece.target.end - piece.target.start;
        if groups.is_empty() || filled + bytes > GROUP_BYTES {
            groups.push(Vec::new());
            filled = 0;
        }
        filled += bytes;
        groups.last_mut().expect("pushed above").push(piece);
    }
    groups
}

/// What stands behind the last dot of a path's last part; empty without one.
fn ending(path: &[u8]) -> &[u8] {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    name.iter().rposition(|&byte| byte == b'.').map_or(&[], |dot| &name[dot + 1..])
}

/// Enough for streams to be worth packing together, little enough for several workers to have some.
const GROUP_BYTES: u64 = 16 << 20;
/// An ELF file header.
const SMALLEST_PROGRAM_BYTES: u64 = 64;
