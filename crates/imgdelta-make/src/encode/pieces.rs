//! The payloads to be rebuilt, divided into pieces, and the pieces grouped into parts.
//! Never matches them.
//!
//! Similar pieces are neighbours, since neighbours are packed together. A worker matches one part at
//! a time. The order depends on the images alone.

use super::{
    layout::{PayloadSpan, RecipeLayout},
    windows,
};
use crate::{
    archives::PartIndex,
    plan::Plan,
    sources::{Choice, PayloadSource},
};
use imgdelta_codec::encode_memory;
use imgdelta_core::{Result, progress::Checkpoint};
use imgdelta_format::recipe::{BaseSource, GroupMember};
use imgdelta_image::volume::{AddressSpace, LayerStream};
use std::ops::Range;

/// Target bytes and base bytes that become one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The member of the recipe.
    pub(super) member: GroupMember,
    /// True if it belongs to a part inside an archive.
    pub(super) is_part: bool,
    /// Range in the target's stream, or among the parts.
    pub(super) target: Range<u64>,
    /// Addresses of the base bytes.
    pub(super) base: Vec<Range<u64>>,
    /// Estimated memory for encoding.
    pub(super) memory_bytes: u64,
}

impl Piece {
    /// Returns the length of the base bytes.
    pub(super) fn base_bytes(&self) -> u64 {
        self.base.iter().map(|range| range.end - range.start).sum()
    }
}

/// Divides the payloads of a layer into pieces.
pub(super) struct PieceCutter<'a> {
    pub(super) plan: &'a Plan,
    pub(super) ordinal: u32,
    pub(super) choices: &'a [Choice],
    pub(super) layout: &'a RecipeLayout,
    pub(super) space: &'a AddressSpace,
    pub(super) target: &'a TargetBytes<'a>,
    /// Most memory for encoding one piece.
    pub(super) memory_bytes: u64,
}

/// The bytes of a target layer: its stream, and the parts inside its archives.
#[derive(Clone, Copy, Debug)]
pub(super) struct TargetBytes<'a> {
    pub(super) stream: &'a LayerStream,
    pub(super) parts: Option<&'a PartIndex>,
}

impl TargetBytes<'_> {
    /// Fills `buffer` with bytes of the stream or of the parts.
    pub(super) fn read_exact_at(&self, is_part: bool, at: u64, buffer: &mut [u8]) -> Result<()> {
        match self.parts.filter(|_| is_part) {
            Some(parts) => parts.space.read_exact_at(at, buffer),
            None => self.stream.read_exact_at(at, buffer),
        }
    }
}

/// Order that makes similar pieces neighbours: class, file extension, path, payload, offset.
type Order<'a> = (PieceClass, &'a [u8], &'a [u8], u32, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PieceClass {
    Program,
    Changed,
    New,
}

impl PieceCutter<'_> {
    /// Returns the parts of a layer, with pieces of all payloads that are rebuilt.
    pub(super) fn parts(&self, spans: &[PayloadSpan]) -> Result<Vec<Vec<Piece>>> {
        let index = &self.plan.target.layers[self.ordinal as usize];
        let mut ordered: Vec<(Order<'_>, Piece)> = Vec::new();
        let mut checkpoint = Checkpoint::new(&*self.plan.context.progress);
        for (payload, span) in (0..).zip(spans) {
            checkpoint.step()?;
            let (entry, choice, is_part) = match span {
                PayloadSpan::Raw(range) => {
                    let head = self.head(false, range)?;
                    for piece in
                        self.pieces(payload, (false, range.clone()), Vec::new(), false, &head)?
                    {
                        let offset = piece.member.window.map_or(0, |window| window.offset);
                        ordered.push(((PieceClass::New, b"", b"", payload, offset), piece));
                    }
                    continue;
                }
                PayloadSpan::Entry(ordinal) => {
                    let ordinal = *ordinal as usize;
                    (index.entries.at(ordinal), &self.choices[ordinal], false)
                }
                PayloadSpan::Part(part) => {
                    let Some(parts) = self.target.parts else { continue };
                    let choice = &self.plan.inner[self.ordinal as usize][*part as usize];
                    (parts.index.entries.at(*part as usize), choice, true)
                }
            };
            let PayloadSource::Built(places, _) = &choice.content else { continue };
            let is_own = matches!(places[..], [place] if choice.header == Some(place));
            let base: Vec<Range<u64>> =
                places.iter().map(|place| self.layout.payload(self.plan, *place)).collect();
            let (target, path) = ((is_part, entry.payload.clone()), entry.path.as_bytes());
            let head = self.head(is_part, &entry.payload)?;
            let class = match (base.is_empty(), head.starts_with(ELF_MAGIC)) {
                (true, _) => PieceClass::New,
                (false, true) => PieceClass::Program,
                (false, false) => PieceClass::Changed,
            };
            for piece in self.pieces(payload, target, base, is_own, &head)? {
                let offset = piece.member.window.map_or(0, |window| window.offset);
                ordered.push(((class, extension(path), path, payload, offset), piece));
            }
        }
        ordered.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(part(ordered.into_iter().map(|(_, piece)| piece)))
    }

    /// Returns one piece, or several windows if one piece would take too much memory.
    fn pieces(
        &self,
        payload: u32,
        (is_part, target): (bool, Range<u64>),
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
            return Ok(vec![Piece { member, is_part, target, base, memory_bytes }]);
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
                    self.target.read_exact_at(is_part, at, piece)
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
                is_part,
                target: start..start + window.bytes,
                base,
            }
        });
        Ok(pieces.collect())
    }

    /// Returns the first bytes of a target, by which the codec recognises its kind.
    fn head(&self, is_part: bool, target: &Range<u64>) -> Result<Vec<u8>> {
        let bytes = usize::try_from(target.end - target.start).unwrap_or(usize::MAX);
        let mut head = vec![0; bytes.min(HEAD_BYTES)];
        self.target.read_exact_at(is_part, target.start, &mut head)?;
        Ok(head)
    }

    /// Returns the memory for encoding: base, target, and the codec's own estimate.
    fn memory(&self, base_bytes: u64, target_bytes: u64, head: &[u8]) -> u64 {
        let sides = base_bytes.saturating_add(target_bytes);
        let lengths = (usize::try_from(base_bytes), usize::try_from(target_bytes));
        let (Ok(base_len), Ok(target_len)) = lengths else { return u64::MAX };
        let effort = super::effort(self.plan.preset);
        sides.saturating_add(encode_memory(effort, base_len, target_len, head))
    }
}

/// Passes a range to a sink in pieces; the range is counted from the start of `whole`.
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

/// Returns base ranges as sources by address.
pub(super) fn slices(base: &[Range<u64>]) -> Vec<BaseSource> {
    let slice = |range: &Range<u64>| BaseSource::Slice {
        address: range.start,
        bytes: range.end - range.start,
    };
    base.iter().map(slice).collect()
}

/// Divides a list into parts of about [`PART_BYTES`] target bytes.
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

/// Returns the file extension; empty if there is none.
fn extension(path: &[u8]) -> &[u8] {
    let name = path.rsplit(|&byte| byte == b'/').next().unwrap_or(path);
    name.iter().rposition(|&byte| byte == b'.').map_or(&[], |dot| &name[dot + 1..])
}

/// Target bytes that one worker matches at a time.
const PART_BYTES: u64 = 8 << 20;
/// First bytes of a target that the codec's estimate needs.
const HEAD_BYTES: usize = 4 << 10;
const ELF_MAGIC: &[u8] = b"\x7fELF";
