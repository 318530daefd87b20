//! The bytes that a member is laid out from: copies of its base, and instructions of it with changes.
//! Never touches the target; what is read here holds for any of its pieces.
//!
//! A copy of code may have *edits*: instructions of the base some of whose fields are new. Such a copy
//! is walked by instruction. An edited instruction of the same length lies over the copy. One of
//! another length divides it: the edited bytes are a copy of their own, with an address behind the
//! base. Distances of jumps that divisions may change follow from the map, once it is complete.

use crate::{
    error::{CodecError, Result},
    group::StreamReader,
    map::AddressMap,
    member::MemberHead,
    script::BaseCopy,
    stream::StreamKind,
};
use imgdelta_fields::elf::MemoryImage;
use imgdelta_instructions::{
    self as instructions, Edit, EditPart, EditedInstruction, ExpectedEdits, InstructionSet,
};
use std::{borrow::Cow, ops::Range};

/// Copies and edited instructions of a member.
#[derive(Debug, Default, Clone)]
pub(crate) struct Layout {
    /// In target order. Those that begin behind the base are of edited bytes.
    pub(crate) copies: Vec<BaseCopy>,
    /// True if copies may have edits.
    pub(crate) is_edited: bool,
    set: InstructionSet,
    base_len: usize,
    /// Ranges of the base that the script takes.
    taken: Vec<Range<usize>>,
    /// Bytes of edited instructions.
    edited: Vec<u8>,
    /// Edited instructions over copies: target offset, and range of `edited`.
    overlays: Vec<(usize, Range<usize>)>,
    distances: Vec<Distance>,
    /// Edits that the next instruction may share with those before.
    expected: ExpectedEdits,
    /// Edited instructions.
    edits: usize,
    /// The script in its streams, if copies may have edits.
    #[cfg(feature = "encode")]
    pub(crate) script: crate::group::StreamWriter,
}

/// The distance of a jump or memory operand that is computed last.
#[derive(Debug, Clone, Copy)]
struct Distance {
    /// Place in the target, and bytes.
    at: usize,
    len: usize,
    /// Offset of the next instruction in the target and in the base.
    target_end: usize,
    base_end: usize,
    /// The distance in the base.
    old: i64,
    /// Number of the copy that holds it, if it is short.
    copy: usize,
}

/// Reads the layout of a target of `target_len` bytes.
///
/// Bytes outside of its copies are literals, which are read later.
pub(crate) fn read(
    reader: &mut StreamReader,
    head: MemberHead,
    base: &[u8],
    target_len: usize,
) -> Result<Layout> {
    let mut layout =
        if head.is_edited { Layout::with_edits(base) } else { Layout::plain(Vec::new()) };
    if head.is_whole {
        if target_len > base.len() {
            return Err(past_the_base(target_len as u64, base));
        }
        if target_len > 0 {
            layout.copies.push(BaseCopy { target: 0, base: 0, len: target_len });
        }
        return Ok(layout);
    }
    let (mut at, mut base_end) = (0, 0_u64);
    while at < target_len {
        let literal =
            bounded(reader, StreamKind::LiteralLengths, "literal length", target_len - at)?;
        at += literal;
        if at == target_len {
            break;
        }
        let len = bounded(reader, StreamKind::CopyLengths, "copy length", target_len - at)?;
        if len == 0 {
            // An empty copy does nothing, and a run of them would cost time for nothing.
            return Err(reader.malformed(StreamKind::CopyLengths, "copy length", 1, 0));
        }
        let expected = base_end.saturating_add(literal as u64);
        let start = expected.checked_add_signed(reader.signed(StreamKind::BaseOffsets)?);
        let end = start.and_then(|start| start.checked_add(len as u64));
        let (Some(start), Some(end)) = (start, end) else {
            return Err(past_the_base(u64::MAX, base));
        };
        if end > base.len() as u64 {
            return Err(past_the_base(end, base));
        }
        // It fits `usize`: it lies within a slice.
        let start = usize::try_from(start).unwrap_or(0);
        if head.is_edited {
            at += layout.add(reader, base, start..start + len, at, target_len - at)?;
        } else {
            layout.copies.push(BaseCopy { target: at, base: start, len });
            at += len;
        }
        base_end = end;
    }
    Ok(layout)
}

impl Layout {
    /// Returns the layout of copies without edits.
    pub(crate) fn plain(copies: Vec<BaseCopy>) -> Self {
        Self { copies, base_len: usize::MAX, ..Self::default() }
    }

    /// Starts the layout of copies of a base with edits.
    pub(crate) fn with_edits(base: &[u8]) -> Self {
        let set = InstructionSet::of_file(base);
        Self { is_edited: true, set, base_len: base.len(), ..Self::default() }
    }

    /// Returns true for a copy of bytes that lie in the base.
    #[inline]
    pub(crate) fn is_placed(&self, copy: &BaseCopy) -> bool {
        copy.base < self.base_len
    }

    /// Returns the copies of bytes that lie in the base.
    pub(crate) fn placed(&self) -> Cow<'_, [BaseCopy]> {
        if self.edited.is_empty() {
            return Cow::Borrowed(&self.copies);
        }
        Cow::Owned(self.copies.iter().copied().filter(|copy| self.is_placed(copy)).collect())
    }

    /// Returns the ranges of the base that the script takes, in target order.
    pub(crate) fn taken(&self) -> Vec<Range<usize>> {
        if self.is_edited {
            return self.taken.clone();
        }
        self.copies.iter().map(|copy| copy.base..copy.base_end()).collect()
    }

    /// Returns the bytes of a part of a copy.
    #[inline]
    pub(crate) fn source<'a>(
        &'a self,
        base: &'a [u8],
        copy: &BaseCopy,
        part: Range<usize>,
    ) -> &'a [u8] {
        match copy.base.checked_sub(self.base_len) {
            Some(start) => &self.edited[start + part.start..start + part.end],
            None => &base[copy.base + part.start..copy.base + part.end],
        }
    }

    /// Lays edited instructions over the copies in a piece that starts at `start` in the target.
    pub(crate) fn lay_over(&self, piece: &mut [u8], start: usize) {
        let end = start + piece.len();
        let first = self.overlays.partition_point(|(at, bytes)| at + bytes.len() <= start);
        for (at, bytes) in &self.overlays[first..] {
            if *at >= end {
                break;
            }
            // A piece may begin or end within an instruction.
            let (from, to) = (start.max(*at), end.min(at + bytes.len()));
            let bytes = &self.edited[bytes.start + from - at..bytes.start + to - at];
            piece[from - start..to - start].copy_from_slice(bytes);
        }
    }

    /// Calls `visit` for each distance in a piece of the target: place in it, bytes, predicted number.
    pub(crate) fn each_distance<E>(
        &self,
        places: &DistancePlaces<'_>,
        piece: Range<usize>,
        mut visit: impl FnMut(usize, usize, i64) -> Result<(), E>,
    ) -> Result<(), E> {
        let first = self.distances.partition_point(|distance| distance.at < piece.start);
        for distance in &self.distances[first..] {
            if distance.at >= piece.end {
                break;
            }
            let number = places.number(distance).unwrap_or(distance.old);
            visit(distance.at - piece.start, distance.len, number)?;
        }
        Ok(())
    }

    /// Adds a copy of a range of the base, with its edits; returns its bytes in the target.
    pub(crate) fn add(
        &mut self,
        reader: &mut StreamReader,
        base: &[u8],
        range: Range<usize>,
        target: usize,
        room: usize,
    ) -> Result<usize> {
        self.taken.push(range.clone());
        let count = reader.number(StreamKind::EditCounts)?;
        let mut walk = Walk {
            code: &base[..range.end],
            at: range.start,
            to: target,
            open: BaseCopy { target, base: range.start, len: 0 },
        };
        if count == 0 {
            (walk.at, walk.to) = (range.end, target + range.len());
        } else {
            let first = self.distances.len();
            self.expected.begin(range.start);
            for _ in 1..count {
                for _ in 0..reader.number(StreamKind::EditGaps)? {
                    if walk.at == range.end {
                        return Err(out_of(reader, "instructions in a copy"));
                    }
                    walk.step(self)?;
                }
                walk.edit(self, reader)?;
            }
            while walk.at < range.end {
                walk.step(self)?;
            }
            self.expected.end(range.end);
            walk.close(self);
            self.forget_inner(first);
        }
        walk.close(self);
        let len = walk.to - target;
        if len > room {
            let (room, len) = (room as u64, len as u64);
            return Err(reader.malformed(StreamKind::EditCounts, "bytes of a copy", room, len));
        }
        Ok(len)
    }

    /// Removes distances from `first` on that lead into their own copy: its bytes move alike.
    fn forget_inner(&mut self, first: usize) {
        let mut kept = first;
        for number in first..self.distances.len() {
            let distance = self.distances[number];
            let is_inner = self.copies.get(distance.copy).is_some_and(|copy| {
                let place = (distance.base_end as i64).saturating_add(distance.old);
                usize::try_from(place).is_ok_and(|at| (copy.base..copy.base_end()).contains(&at))
            });
            if !is_inner {
                self.distances[kept] = distance;
                kept += 1;
            }
        }
        self.distances.truncate(kept);
    }
}

/// Reads a length of at most `left`.
fn bounded(
    reader: &mut StreamReader,
    stream: StreamKind,
    what: &'static str,
    left: usize,
) -> Result<usize> {
    let found = reader.number(stream)?;
    match usize::try_from(found) {
        Ok(len) if len <= left => Ok(len),
        _ => Err(reader.malformed(stream, what, left as u64, found)),
    }
}

/// Returns the error for bytes that this base does not have.
#[cold]
fn past_the_base(expected: u64, base: &[u8]) -> CodecError {
    CodecError::BaseUnlike { what: "length in bytes", expected, found: base.len() as u64 }
}

/// Most edits of a member, and most distances at a time. They take up to 100 bytes each.
const MOST: usize = 1 << 19;

fn admit(what: &'static str, count: usize) -> Result<()> {
    let (limit, found) = (MOST as u64, count as u64);
    if count > MOST { Err(CodecError::TooLarge { what, limit, found }) } else { Ok(()) }
}

/// A walk over the instructions of a copy.
struct Walk<'a> {
    /// The base up to the end of the copy.
    code: &'a [u8],
    at: usize,
    /// Place of the instruction in the target.
    to: usize,
    /// The copy since the last division, whose length is not known yet.
    open: BaseCopy,
}

impl Walk<'_> {
    /// Passes over an instruction without an edit in the streams: it changes as expected.
    #[inline]
    fn step(&mut self, layout: &mut Layout) -> Result<()> {
        let code = &self.code[self.at..];
        let (len, expected) = layout.expected.next(layout.set, code);
        if let Some((_, edited)) = expected {
            return self.replace(layout, &edited, false);
        }
        if layout.set.is_short_jump(code) {
            admit("distances of edited copies", layout.distances.len() + 1)?;
            layout.distances.push(Distance {
                at: self.to + 1,
                len: 1,
                target_end: self.to + 2,
                base_end: self.at + 2,
                old: code[1].cast_signed().into(),
                copy: layout.copies.len(),
            });
        }
        self.at += len;
        self.to += len;
        Ok(())
    }

    /// Reads the edit of the next instruction.
    fn edit(&mut self, layout: &mut Layout, reader: &mut StreamReader) -> Result<()> {
        let code = &self.code[self.at..];
        let edit = read_edit(reader)?;
        let (_, expected) = layout.expected.next(layout.set, code);
        let expected = expected.map_or_else(Edit::default, |(expected, _)| expected);
        let Some(edited) = layout.set.edited(code, &expected.then(&edit)) else {
            return Err(out_of(reader, "instruction that this edit fits"));
        };
        layout.expected.learn(layout.set, code, &expected, &edit);
        self.replace(layout, &edited, edit.form)
    }

    /// Puts an edited instruction in the place of the next one.
    fn replace(
        &mut self,
        layout: &mut Layout,
        edited: &EditedInstruction,
        has_other_form: bool,
    ) -> Result<()> {
        layout.edits += 1;
        admit("edits of a member", layout.edits)?;
        let code = &self.code[self.at..];
        let (old_len, bytes) = (edited.old_len, edited.bytes);
        let (place, bytes_start) = (self.to, layout.edited.len());
        layout.edited.extend_from_slice(bytes.as_slice());
        let len = bytes.as_slice().len();
        if len == old_len && !has_other_form {
            layout.overlays.push((place, bytes_start..layout.edited.len()));
        } else {
            self.close(layout);
            let base = layout.base_len + bytes_start;
            layout.copies.push(BaseCopy { target: place, base, len });
            if let (Some(new), Some(old)) = (bytes.reference(), edited.old_reference) {
                layout.distances.push(Distance {
                    at: place + new.at,
                    len: new.len,
                    target_end: place + len,
                    base_end: self.at + old_len,
                    old: instructions::distance(&code[old.at..], old.len),
                    copy: usize::MAX,
                });
            }
            self.open = BaseCopy { target: place + len, base: self.at + old_len, len: 0 };
        }
        self.at += old_len;
        self.to += len;
        Ok(())
    }

    /// Ends the open copy, if it has bytes.
    fn close(&mut self, layout: &mut Layout) {
        let len = self.to - self.open.target;
        if len > 0 {
            layout.copies.push(BaseCopy { len, ..self.open });
        }
        self.open = BaseCopy { target: self.to, base: self.at, len: 0 };
    }
}

fn read_edit(reader: &mut StreamReader) -> Result<Edit> {
    let parts = reader.byte(StreamKind::EditParts)?;
    let edit = Edit::read(parts, |part| match part {
        EditPart::Register => reader.byte(StreamKind::EditRegisters).map(i64::from),
        EditPart::Displacement => reader.signed(StreamKind::EditDisplacements),
        EditPart::Immediate => reader.signed(StreamKind::EditImmediates),
    })?;
    edit.ok_or_else(|| {
        reader.malformed(StreamKind::EditParts, "parts of an edit", 63, parts.into())
    })
}

/// Writes an edit, which changes something.
#[cfg(feature = "encode")]
pub(crate) fn write_edit(writer: &mut crate::group::StreamWriter, edit: &Edit) {
    let parts = edit.write(|part, value| match part {
        EditPart::Register => writer.byte(StreamKind::EditRegisters, value as u8),
        EditPart::Displacement => writer.signed(StreamKind::EditDisplacements, value),
        EditPart::Immediate => writer.signed(StreamKind::EditImmediates, value),
    });
    writer.byte(StreamKind::EditParts, parts);
}

#[cold]
fn out_of(reader: &StreamReader, what: &'static str) -> CodecError {
    reader.malformed(StreamKind::EditGaps, what, 1, 0)
}

/// The places that distances lead to.
pub(crate) struct DistancePlaces<'a> {
    pub(crate) base: &'a MemoryImage,
    pub(crate) target: &'a MemoryImage,
    pub(crate) map: &'a AddressMap,
}

impl DistancePlaces<'_> {
    /// Returns the distance in the target, if the map knows it.
    fn number(&self, distance: &Distance) -> Option<i64> {
        let end_of = |image: &MemoryImage, end: usize| {
            Some(i64::from(image.address(end.checked_sub(1)?)?) + 1)
        };
        let led_to = end_of(self.base, distance.base_end)?.checked_add(distance.old)?;
        let led_to = u32::try_from(led_to).ok().filter(|&address| address < self.base.span)?;
        let shift = self.map.shift(led_to)?;
        let absolute = self.base.low.wrapping_add(led_to.into()).wrapping_add_signed(shift.into());
        let here = end_of(self.target, distance.target_end)?;
        let here = self.target.low.wrapping_add(here.cast_unsigned());
        Some(absolute.wrapping_sub(here).cast_signed())
    }
}
