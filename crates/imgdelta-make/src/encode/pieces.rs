//! What is to be rebuilt, cut into pieces, and those put into parts.
//!
//! Like goes with like, since neighbours are packed together; a part is as much as one worker
//! matches at a time. The order depends on the images alone.

use super::{
    layout::{Layout, Stretch},
    windows,
};
use crate::{
    inside::Parts,
    plan::Plan,
    sources::{Choice, Content},
};
use imgdelta_codec::encode_memory;
use imgdelta_core::Result;
use imgdelta_format::recipe::{BaseSource, GroupMember};
use imgdelta_image::volume::{AddressSpace, LayerStream};
use std::ops::Range;

/// One member-to-be: target bytes and base bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// What the recipe says of it.
    pub(super) member: GroupMember,
    /// Whether it is of a part inside an archive.
    pub(super) is_inside: bool,
    /// Where in the target's stream it lies, or among the parts.
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
    pub(super) plan: &'a Plan,
    pub(super) ordinal: u32,
    pub(super) choices: &'a [Choice],
    pub(super) layout: &'a Layout,
    pub(super) space: &'a AddressSpace,
    pub(super) target: &'a Target<'a>,
    /// What one piece may take to encode.
    pub(super) memory_bytes: u64,
}

/// The bytes of a target layer: its stream, and the parts inside its archives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) stream: &'a LayerStream,
    pub(super) parts: Option<&'a Parts>,
}

impl Target<'_> {
    /// Fills `buffer` with bytes of the stream or of the parts.
    pub(super) fn read_exact_at(&self, is_inside: bool, at: u64, buffer: &mut [u8]) -> Result<()> {
        match self.parts.filter(|_| is_inside) {
            Some(parts) => parts.space.read_exact_at(at, buffer),
            None => self.stream.read_exact_at(at, buffer),
        }
    }
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
    /// Returns the parts of a layer: pieces of everything that is built.
    pub(super) fn parts(&self, stretches: &[Stretch]) -> Result<Vec<Vec<Piece>>> {
        let index = &self.plan.target.layers[self.ordinal as usize];
        let mut ordered: Vec<(Order<'_>, Piece)> = Vec::new();
        for (payload, stretch) in (0..).zip(stretches) {
            let (entry, choice, is_inside) = match stretch {
                Stretch::Raw(range) => {
                    let head = self.head(false, range)?;
                    for piece in
                        self.pieces(payload, (false, range.clone()), Vec::new(), false, &head)?
                    {
                        let offset = piece.member.window.map_or(0, |window| window.offset);
                        ordered.push(((Class::New, b"", b"", payload, offset), piece));
                    }
                    continue;
                }
                Stretch::Entry(ordinal) => {
                    let ordinal = *ordinal as usize;
                    (&index.entries[ordinal], &self.choices[ordinal], false)
                }
                Stretch::Part(part) => {
                    let Some(parts) = self.target.parts else { continue };
                    let choice = &self.plan.inner[self.ordinal as usize][*part as usize];
                    (&parts.index.entries[*part as usize], choice, true)
                }
            };
            let Content::Built(places, _) = &choice.content else { continue };
            let is_own = matches!(places[..], [place] if choice.header == Some(place));
            let base: Vec<Range<u64>> =
                places.iter().map(|place| self.layout.payload(self.plan, *place)).collect();
            let (target, path) = ((is_inside, entry.payload.clone()), entry.path.as_bytes());
            let head = self.head(is_inside, &entry.payload)?;
            let class = match (base.is_empty(), head.starts_with(ELF_MAGIC)) {
                (true, _) => Class::New,
                (false, true) => Class::Program,
                (false, false) => Class::Changed,
            };
            for piece in self.pieces(payload, target, base, is_own, &head)? {
                let offset = piece.member.window.map_or(0, |window| window.offset);
                ordered.push(((class, ending(path), path, payload, offset), piece));
            }
        }
        ordered.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(part(ordered.into_iter().map(|(_, piece)| piece)))
    }

    /// One piece, or windows where one would take too much memory.
    fn pieces(
        &self,
        payload: u32,
        (is_inside, target): (bool, Range<u64>),
        base: Vec<Range<u64>>,
        is_own: bool,
        head: &[u8],
    ) -> Result<Vec<Piece>> {
        let target_bytes = target.end - target.start;
        let base_bytes: u64 = base.iter().map(|range| range.end - range.start).sum();
        let memory_bytes = self.memory(base_bytes, target_bytes, head);
        if memory_bytes <= self.memory_bytes {
            let sources = if is_own { vec![BaseSource::Own] } else { slices(&base) };
            let member = GroupMember { payload, window: None, sources };
            return Ok(vec![Piece { member, is_inside, target, base, memory_bytes }]);
        }
        let first = base.first().cloned().unwrap_or_default();
        let cuts = windows::cut(
            first.end - first.start,
            &mut |range, sink| {
                read_pieces(&first, range, sink, |at, piece| self.space.read_exact_at(at, piece))
            },
            target_bytes,
            &mut |range, sink| {
                read_pieces(&target, range, sink, |at, piece| {
                    self.target.read_exact_at(is_inside, at, piece)
                })
            },
        )?;
        let pieces = cuts.into_iter().map(|(window, range)| {
            let base = (range.start < range.end)
                .then(|| first.start + range.start..first.start + range.end);
            let base: Vec<_> = base.into_iter().collect();
            let start = target.start + window.offset;
            Piece {
                memory_bytes: self.memory(range.end - range.start, window.bytes, &[]),
                member: GroupMember { payload, window: Some(window), sources: slices(&base) },
                is_inside,
                target: start..start + window.bytes,
                base,
            }
        });
        Ok(pieces.collect())
    }

    /// The first bytes of a target, from which the codec knows what it will take it for.
    fn head(&self, is_inside: bool, target: &Range<u64>) -> Result<Vec<u8>> {
        let bytes = usize::try_from(target.end - target.start).unwrap_or(usize::MAX);
        let mut head = vec![0; bytes.min(HEAD_BYTES)];
        self.target.read_exact_at(is_inside, target.start, &mut head)?;
        Ok(head)
    }

    /// What encoding takes: both sides, and what the codec says it needs beside them.
    fn memory(&self, base_bytes: u64, target_bytes: u64, head: &[u8]) -> u64 {
        let sides = base_bytes.saturating_add(target_bytes);
        let lengths = (usize::try_from(base_bytes), usize::try_from(target_bytes));
        let (Ok(base_len), Ok(target_len)) = lengths else { return u64::MAX };
        let effort = super::effort(self.plan.preset);
        sides.saturating_add(encode_memory(effort, base_len, target_len, head))
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
pub(super) fn slices(base: &[Range<u64>]) -> Vec<BaseSource> {
    let slice = |range: &Range<u64>| BaseSource::Slice {
        address: range.start,
        bytes: range.end - range.start,
    };
    base.iter().map(slice).collect()
}

/// Cuts a list into parts of about [`PART_BYTES`] of targets.
fn part(pieces: impl Iterator<Item = Piece>) -> Vec<Vec<Piece>> {
    let mut parts: Vec<Vec<Piece>> = Vec::new();
    let mut filled = 0;
    for piece in pieces {
        let bytes = piece.target.end - piece.target.start;
        if parts.is_empty() || filled + bytes > PART_BYTES {
            parts.push(Vec::new());
            filled = 0;
        }
        filled += bytes;
        parts.last_mut().expect("pushed above").push(piece);
    }
    parts
}

/// What stands behind the last dot of a path's last part; empty without one.
fn ending(path: &[u8]) -> &[u8] {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    name.iter().rposition(|&byte| byte == b'.').map_or(&[], |dot| &name[dot + 1..])
}

/// What one worker matches at a time.
const PART_BYTES: u64 = 8 << 20;
/// What the codec wants to see of a target to know what it will take.
const HEAD_BYTES: usize = 4 << 10;
const ELF_MAGIC: &[u8] = b"\x7fELF";
