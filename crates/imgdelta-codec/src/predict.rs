//! Predicts each copied field in the target: the one loop that encoder and decoder share.
//! Never reads the target: a prediction is a function of base, copies and map, for any range.
//!
//! Each copy is cut where a segment of either file ends, so all bytes of a piece move by one shift
//! in memory. A field wholly inside a piece gets a number to add to its copied value. Its form
//! computes the number from the target's shift and the piece's shift, mostly as the difference.

use crate::{
    error::Result, group::StreamReader, map::AddressMap, script::BaseCopy, stream::StreamKind,
};
use imgdelta_fields::{
    elf::MemoryImage,
    field_index::{FieldCache, FieldIndex},
    fields::{Advance, Anchor, Field, Form},
};
use std::ops::Range;

/// The inputs of all predictions.
#[derive(Debug)]
pub(crate) struct Predictor<'a> {
    file: &'a [u8],
    base: &'a MemoryImage,
    target: &'a MemoryImage,
    map: &'a AddressMap,
    pages: &'a PageFlags,
    anchors: &'a [Anchor],
    anchor_shifts: Vec<Option<i64>>,
}

/// A prediction for one field in a copy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prediction {
    /// Offset in the target.
    pub(crate) at: usize,
    pub(crate) field: Field,
    /// Number to add to the copied value.
    pub(crate) more: i64,
    /// The map's shift of the field's target; `None` if the map was not asked.
    #[cfg_attr(not(feature = "encode"), expect(dead_code, reason = "only surveys ask"))]
    pub(crate) mapped: Option<i32>,
    /// The shift of the piece that holds the field.
    #[cfg_attr(not(feature = "encode"), expect(dead_code, reason = "only surveys ask"))]
    pub(crate) own: i64,
}

/// A part of a copy within one segment on both sides.
struct CopyPiece {
    /// Range of base offsets.
    start: usize,
    end: usize,
    /// Address of its start, and its shift, if it is loaded on both sides.
    place: Option<(u32, i64)>,
}

impl<'a> Predictor<'a> {
    pub(crate) fn new(
        base: &'a FieldIndex<'_>,
        target: &'a MemoryImage,
        map: &'a AddressMap,
        pages: &'a PageFlags,
    ) -> Self {
        let anchors = &base.anchors;
        let shift = |anchor: &Anchor| map.shift(anchor.address).map(i64::from);
        let anchor_shifts = anchors.iter().map(shift).collect();
        let (file, base) = (base.file, &base.image);
        Self { file, base, target, map, pages, anchors, anchor_shifts }
    }

    /// Returns the target's image.
    pub(crate) fn target_image(&self) -> &'a MemoryImage {
        self.target
    }

    /// Returns the number of anchors of the base's fields.
    #[cfg(feature = "encode")]
    pub(crate) fn anchor_count(&self) -> usize {
        self.anchors.len()
    }

    /// Calls `visit` for every predictable field of a part of a copy, in target order.
    ///
    /// `part` counts from the start of the copy and cuts no field.
    #[inline]
    pub(crate) fn each<E>(
        &self,
        fields: &mut FieldCache<'_>,
        copy: &BaseCopy,
        part: Range<usize>,
        mut visit: impl FnMut(Prediction) -> Result<(), E>,
    ) -> Result<(), E> {
        let (from, to) = (copy.base + part.start, copy.base + part.end);
        let mut piece = self.piece(copy, copy.base);
        for block in FieldIndex::block_of(from)..=FieldIndex::block_of(to.saturating_sub(1)) {
            let list = fields.block(block);
            let first = list.partition_point(|field| (field.at as usize) < from);
            for &field in &list[first..] {
                let at = field.at as usize;
                if at >= to {
                    return Ok(());
                }
                while at >= piece.end && piece.end < copy.base_end() {
                    piece = self.piece(copy, piece.end);
                }
                if at + field.form.size() > piece.end.min(copy.base_end()) {
                    continue;
                }
                if let Some((more, mapped)) = self.more(field, &piece) {
                    let own = piece.place.map_or(0, |place| place.1);
                    let at = at - copy.base + copy.target;
                    visit(Prediction { at, field, more, mapped, own })?;
                }
            }
        }
        Ok(())
    }

    fn piece(&self, copy: &BaseCopy, start: usize) -> CopyPiece {
        let in_target = start - copy.base + copy.target;
        let (base_end, base) = stretch(self.base, start);
        let (target_end, target) = stretch(self.target, in_target);
        let len = (copy.base_end() - start)
            .min(base_end.saturating_sub(start))
            .min(target_end.saturating_sub(in_target));
        let place = base.zip(target).map(|(base, target)| {
            let from = self.base.low.wrapping_add(u64::from(base));
            let to = self.target.low.wrapping_add(u64::from(target));
            (base, to.wrapping_sub(from).cast_signed())
        });
        CopyPiece { start, end: start + len, place }
    }

    /// Returns the number to add to a field's value, and the map's shift of its target.
    #[inline]
    fn more(&self, field: Field, piece: &CopyPiece) -> Option<(i64, Option<i32>)> {
        if field.form.is_flagged() && !self.pages.is_on(field.at) {
            return None;
        }
        if field.form.is_branch() {
            // Most jumps stay within their copy: nothing changes, and no look-up is needed.
            let (address, _) = piece.place?;
            let len = (piece.end - piece.start) as u64;
            if u64::from(field.target.wrapping_sub(address)) < len {
                return Some((0, None));
            }
        }
        if field.form.is_span() {
            return self.more_of_span(field).map(|more| (more, None));
        }
        let shift = self.map.shift(field.target)?;
        let mapped = i64::from(shift);
        let more = match field.form {
            Form::Branch32 | Form::Relative32 | Form::Relative32InData => {
                mapped.wrapping_sub(piece.place?.1)
            }
            Form::Absolute32
            | Form::Absolute64
            | Form::Absolute64InData
            | Form::Offset32
            | Form::Offset32Big => mapped,
            Form::Backward32 => piece.place?.1.wrapping_sub(mapped),
            Form::Anchored32(number) => {
                let anchor = self.anchors[usize::from(number)];
                (mapped - self.anchor_shifts[usize::from(number)]?) / i64::from(anchor.stride)
            }
            Form::Branch26 | Form::Branch19 | Form::Branch14 => {
                mapped.wrapping_sub(piece.place?.1) >> 2
            }
            Form::Page21 => {
                let (address, own) = piece.place?;
                let address = u64::from(address) + (field.at as usize - piece.start) as u64;
                let here = self.base.low.wrapping_add(address).cast_signed();
                let target = self.base.low.wrapping_add(field.target.into()).cast_signed();
                let moved = (target.wrapping_add(mapped) >> 12) - (here.wrapping_add(own) >> 12);
                moved - ((target >> 12) - (here >> 12))
            }
            Form::Length32 | Form::Advance6(_) | Form::Advance8(_) | Form::Advance16(_) => {
                return None;
            }
            Form::Low12(scale) => {
                let low = |address: u64| (address & 0xfff) >> scale;
                let target = self.base.low.wrapping_add(field.target.into());
                let moved = target.wrapping_add_signed(mapped);
                low(moved).cast_signed() - low(target).cast_signed()
            }
        };
        Some((more, Some(shift)))
    }

    /// Returns the number to add to a length, or to the distance of two places.
    fn more_of_span(&self, field: Field) -> Option<i64> {
        let number = field.form.number(self.file.get(field.at as usize..)?);
        let (scale, is_first, most) = match field.form {
            Form::Advance6(Advance { scale, is_first }) => (scale, is_first, 1 << 6),
            Form::Advance8(Advance { scale, is_first }) => (scale, is_first, 1 << 8),
            Form::Advance16(Advance { scale, is_first }) => (scale, is_first, 1 << 16),
            // A function that becomes much longer is another one.
            _ => (0, true, 2 * number),
        };
        let start = i64::from(field.target) - (number << scale) + i64::from(is_first);
        let start = u32::try_from(start).ok().filter(|start| *start <= field.target)?;
        let [start, end] = [start, field.target].map(|place| self.map.shift(place).map(i64::from));
        let more = (end? - start?) >> scale;
        (1..most).contains(&(number + more)).then_some(more)
    }
}

/// Returns the end of the segment at `offset`, or of the bytes without one, and the address there.
fn stretch(image: &MemoryImage, offset: usize) -> (usize, Option<u32>) {
    match image.segments.iter().find(|segment| segment.offset_end() > offset) {
        None => (usize::MAX, None),
        Some(segment) if segment.offset > offset => (segment.offset, None),
        Some(segment) => {
            (segment.offset_end(), Some(segment.start + (offset - segment.offset) as u32))
        }
    }
}

/// Pages of the base on which words that may be plain numbers count as fields.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct PageFlags {
    /// True for each page that is off; pages past the end are on.
    off: Vec<bool>,
}

impl PageFlags {
    const BITS: u32 = 10;

    #[inline]
    fn is_on(&self, at: u32) -> bool {
        !self.off.get((at >> Self::BITS) as usize).copied().unwrap_or(false)
    }

    /// Reads the flags for a base of `base_len` bytes: pairs of run lengths, pages on, then off.
    pub(crate) fn read(reader: &mut StreamReader, base_len: usize) -> Result<Self> {
        let pages = (base_len >> Self::BITS) + 1;
        let pairs = reader.number(StreamKind::PageFlags)?;
        let mut off = Vec::new();
        for _ in 0..pairs {
            for value in [false, true] {
                let left = pages - off.len();
                let run = reader.number(StreamKind::PageFlags)?;
                match usize::try_from(run) {
                    // A run of pages that are off has a page: otherwise a pair would cost time for
                    // nothing.
                    Ok(run) if run <= left && (run > 0 || !value) => {
                        off.resize(off.len() + run, value);
                    }
                    _ => {
                        let left = left as u64;
                        return Err(reader.malformed(StreamKind::PageFlags, "pages", left, run));
                    }
                }
            }
        }
        Ok(Self { off })
    }

    /// Makes flags from `off`, which is true for each page that is off.
    #[cfg(feature = "encode")]
    pub(crate) fn new(off: Vec<bool>) -> Self {
        Self { off }
    }

    /// Returns the page of a base offset.
    #[cfg(feature = "encode")]
    pub(crate) fn page(at: u32) -> usize {
        (at >> Self::BITS) as usize
    }

    #[cfg(feature = "encode")]
    pub(crate) fn write(&self, writer: &mut crate::group::StreamWriter) {
        let mut runs = Vec::new();
        let mut rest = self.off.as_slice();
        while rest.contains(&true) {
            for value in [false, true] {
                let run = rest.iter().take_while(|&&flag| flag == value).count();
                runs.push(run as u64);
                rest = &rest[run..];
            }
        }
        writer.number(StreamKind::PageFlags, runs.len() as u64 / 2);
        for run in runs {
            writer.number(StreamKind::PageFlags, run);
        }
    }
}
