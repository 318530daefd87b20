//! The payloads to be rebuilt, divided into pieces, and the pieces grouped into parts.
//! Never matches them.
//!
//! A worker matches one part at a time.

use super::{
    layout::RecipeLayout,
    mapped::HOSTED_THREADS,
    order::{ELF_MAGIC, PieceClass, RebuiltPayload},
    read_pieces,
    target::TargetBytes,
    windows,
};
use crate::plan::Plan;
use imgdelta_codec::encode_memory;
use imgdelta_core::{Result, progress::Checkpoint};
use imgdelta_format::recipe::{BaseSource, GroupMember};
use imgdelta_image::volume::AddressSpace;
use std::ops::Range;

/// Target bytes and base bytes that become one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The member of the recipe.
    pub(super) member: GroupMember,
    /// True if it belongs to a part inside an archive.
    pub(super) is_part: bool,
    pub(super) class: PieceClass,
    /// Range in the target's stream, or among the parts.
    pub(super) target: Range<u64>,
    /// Addresses of the base bytes.
    pub(super) base: Vec<Range<u64>>,
    /// Estimated memory for encoding.
    pub(super) memory_bytes: u64,
    /// Memory with which this first window of a program would be a part of the whole program.
    pub(super) whole_memory_bytes: Option<u64>,
}

impl Piece {
    /// Returns true if base and target are mapped for encoding, not read into memory.
    pub(super) fn is_mapped(&self) -> bool {
        self.base_bytes() + self.target_bytes() >= MAPPED_BYTES
    }

    /// Returns the length of the target.
    pub(super) fn target_bytes(&self) -> u64 {
        self.target.end - self.target.start
    }

    /// Returns the length of the base bytes.
    pub(super) fn base_bytes(&self) -> u64 {
        self.base.iter().map(|range| range.end - range.start).sum()
    }
}

/// Divides the payloads of a layer into pieces.
pub(super) struct PieceCutter<'a> {
    pub(super) plan: &'a Plan,
    pub(super) layout: &'a RecipeLayout,
    pub(super) space: &'a AddressSpace,
    pub(super) target: &'a TargetBytes<'a>,
    pub(super) most: PieceMemory,
}

/// Most memory for encoding one piece.
#[derive(Clone, Copy, Debug)]
pub(super) struct PieceMemory {
    /// For a program, which loses its view without it.
    pub(super) program_bytes: u64,
    /// For any other file.
    pub(super) file_bytes: u64,
}

impl PieceCutter<'_> {
    /// Returns the parts of a layer, with pieces of all payloads that are rebuilt. `siblings` are
    /// the addresses of the siblings of each payload.
    pub(super) fn parts(
        &self,
        rebuilt: &[RebuiltPayload<'_>],
        siblings: Vec<Vec<Range<u64>>>,
    ) -> Result<Vec<Vec<Piece>>> {
        let mut pieces = Vec::new();
        let mut checkpoint = Checkpoint::new(&*self.plan.context.progress);
        for (payload, siblings) in rebuilt.iter().zip(siblings) {
            checkpoint.step()?;
            let base = payload.places.iter().map(|place| self.layout.payload(self.plan, *place));
            pieces.extend(self.pieces(payload, base.collect(), siblings)?);
        }
        Ok(part(pieces))
    }

    /// Returns one piece, or several windows if one piece would take too much memory.
    fn pieces(
        &self,
        rebuilt: &RebuiltPayload<'_>,
        base: Vec<Range<u64>>,
        siblings: Vec<Range<u64>>,
    ) -> Result<Vec<Piece>> {
        let RebuiltPayload { payload, is_part, ref target, is_own, class, .. } = *rebuilt;
        let head = self.head(is_part, target)?;
        let target_bytes = target.end - target.start;
        let base_bytes = bytes_of(&base);
        let (base, base_bytes) = match base.first() {
            Some(first) if base.len() > 1 && base_bytes > COPIED_BYTES => {
                (vec![first.clone()], first.end - first.start)
            }
            _ => (base, base_bytes),
        };
        let is_program = !base.is_empty() && head.starts_with(ELF_MAGIC);
        let most = if is_program { self.most.program_bytes } else { self.most.file_bytes };
        // A base of several ranges is put together in memory, however long it is.
        let memory = |base_bytes: u64, count: usize| {
            let copied_bytes = if count > 1 { base_bytes } else { 0 };
            self.memory(base_bytes, target_bytes, &head).saturating_add(copied_bytes)
        };
        let memory_bytes = memory(base_bytes, base.len());
        if memory_bytes <= most {
            let with_siblings =
                memory(base_bytes + bytes_of(&siblings), base.len() + siblings.len());
            let siblings = if with_siblings <= most { siblings } else { Vec::new() };
            let memory_bytes = if siblings.is_empty() { memory_bytes } else { with_siblings };
            let mut sources = if is_own { vec![BaseSource::Own] } else { slices(&base) };
            sources.extend(slices(&siblings));
            let base = base.into_iter().chain(siblings).collect();
            let member = GroupMember { payload, window: None, sources };
            let (target, whole_memory_bytes) = (target.clone(), None);
            let piece =
                Piece { member, is_part, class, target, base, memory_bytes, whole_memory_bytes };
            return Ok(vec![piece]);
        }
        let first = base.first().cloned().unwrap_or_default();
        let cuts = windows::cut(
            first.end - first.start,
            &mut |range, sink| {
                read_pieces(within(&first, &range), sink, |at, piece| {
                    self.space.read_exact_at(at, piece)
                })
            },
            target_bytes,
            &mut |range, sink| {
                read_pieces(within(target, &range), sink, |at, piece| {
                    self.target.read_exact_at(is_part, at, piece)
                })
            },
        )?;
        let pieces = cuts.into_iter().map(|(window, range)| {
            let base = (range.start < range.end).then(|| within(&first, &range));
            let base: Vec<_> = base.into_iter().collect();
            let start = target.start + window.offset;
            Piece {
                memory_bytes: self.memory(range.end - range.start, window.bytes, &[]),
                whole_memory_bytes: (is_program && window.offset == 0).then_some(memory_bytes),
                member: GroupMember { payload, window: Some(window), sources: slices(&base) },
                is_part,
                class,
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
        // Mapped sides are given back while they are read.
        let sides = base_bytes.saturating_add(target_bytes);
        let sides = if sides >= MAPPED_BYTES { RELEASED_BYTES } else { sides };
        let lengths = (usize::try_from(base_bytes), usize::try_from(target_bytes));
        let (Ok(base_len), Ok(target_len)) = lengths else { return u64::MAX };
        let effort = super::effort(self.plan.preset);
        sides.saturating_add(encode_memory(effort, (base_len, target_len), head, HOSTED_THREADS))
    }
}

/// Returns a range that is counted from the start of another one.
fn within(whole: &Range<u64>, range: &Range<u64>) -> Range<u64> {
    whole.start + range.start..whole.start + range.end
}

fn bytes_of(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

/// Returns base ranges as sources by address.
pub(super) fn slices(base: &[Range<u64>]) -> Vec<BaseSource> {
    let slice = |range: &Range<u64>| BaseSource::Slice {
        address: range.start,
        bytes: range.end - range.start,
    };
    base.iter().map(slice).collect()
}

/// Returns the class of all pieces of a part, if they have one.
pub(super) fn class(part: &[Piece]) -> Option<PieceClass> {
    let class = part.first()?.class;
    part.iter().all(|piece| piece.class == class).then_some(class)
}

/// Divides a list into parts of about [`PART_BYTES`] target bytes. Many new files begin a part of
/// their own.
fn part(pieces: Vec<Piece>) -> Vec<Vec<Piece>> {
    let bytes_of = |class| -> u64 {
        let pieces = pieces.iter().filter(|piece| piece.class == class);
        pieces.map(Piece::target_bytes).sum()
    };
    let is_large = [PieceClass::New, PieceClass::NewProgram]
        .map(|class| (class, bytes_of(class) >= APART_BYTES));
    let begins = |class| is_large.contains(&(class, true));
    let mut parts: Vec<Vec<Piece>> = Vec::new();
    let (mut filled, mut before) = (0, None);
    for piece in pieces {
        let bytes = piece.target_bytes();
        let is_other =
            before != Some(piece.class) && (begins(piece.class) || before.is_some_and(begins));
        before = Some(piece.class);
        if parts.is_empty() || is_other || filled + bytes > PART_BYTES {
            parts.push(Vec::new());
            filled = 0;
        }
        filled += bytes;
        parts.last_mut().expect("pushed above").push(piece);
    }
    parts
}

/// New files of so many bytes together are packed apart from others.
pub(super) const APART_BYTES: u64 = 1 << 20;
/// Target bytes that one worker matches at a time.
const PART_BYTES: u64 = 8 << 20;
/// Base and target of this length together are mapped, not read into memory.
const MAPPED_BYTES: u64 = 16 << 20;
/// Most bytes of a base of several ranges: those who apply a delta put it together in memory, and a
/// pull admits 56 MiB.
const COPIED_BYTES: u64 = 48 << 20;
/// Mapped bytes in memory before they are released.
const RELEASED_BYTES: u64 = 32 << 20;
/// First bytes of a target that the codec's estimate needs.
const HEAD_BYTES: usize = 4 << 10;
