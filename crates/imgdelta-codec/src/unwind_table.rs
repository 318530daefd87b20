//! The sorted table in front of a program's unwind records, which follows from them.
//! Never reads a base: the records of the finished target are enough.
//!
//! Entries of the table move when functions change places, so that most of them would be corrections.
//! A reader sorts the records instead. It holds the target from the table to the end of the records.

use crate::{error::Result, group::StreamReader, stream::StreamKind};
use imgdelta_fields::{
    elf::{MemoryImage, Segment},
    field_index::UNWIND_TABLE_HEAD as TABLE_HEAD,
};
use imgdelta_instructions::fill_unwind_table;
use std::ops::Range;

/// Bytes in front of the rows, and of a row.
const TABLE_FRONT: usize = 12;
const ROW: usize = 8;

/// Most bytes from the table to the end of the records, which are held at a time.
const MOST_HELD: usize = 16 << 20;

/// The places of a target's table and records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnwindTable {
    table: Range<usize>,
    records: Range<usize>,
    /// Address of the first byte of the table.
    address: u32,
}

impl UnwindTable {
    /// Reads the place of the records of a target with these headers.
    pub(crate) fn read(reader: &mut StreamReader, image: &MemoryImage) -> Result<Self> {
        let gap = reader.number(StreamKind::Headers)?;
        let len = reader.number(StreamKind::Headers)?;
        let place = |number: u64| usize::try_from(number).ok();
        let table = place(gap).zip(place(len)).and_then(|(gap, len)| Self::at(image, gap, len));
        let what = "records behind an unwind table";
        table.ok_or_else(|| reader.malformed(StreamKind::Headers, what, 1, 0))
    }

    fn at(image: &MemoryImage, gap: usize, len: usize) -> Option<Self> {
        let (address, table_len) = image.eh_frame_hdr?;
        let start = image.offset(address)?;
        let table = start..start.checked_add(table_len as usize)?;
        let records_start = table.end.checked_add(gap)?;
        let records = records_start..records_start.checked_add(len)?;
        let holds =
            |segment: &&Segment| segment.offset <= start && records.end <= segment.offset_end();
        image.segments.iter().find(holds)?;
        let fits = table.len() >= TABLE_FRONT && records.end - start <= MOST_HELD;
        fits.then_some(Self { table, records, address })
    }

    /// Returns the range that has to be in one piece.
    pub(crate) fn held(&self) -> Range<usize> {
        self.table.start..self.records.end
    }

    /// Computes the table in a piece that begins at `start` in the target, if it lies there. Returns
    /// false if the records describe fewer functions than the table has rows.
    pub(crate) fn lay_over(&self, piece: &mut [u8], start: usize) -> bool {
        let held = self.held();
        let Some(from) = held.start.checked_sub(start) else { return true };
        let Some(held) = piece.get_mut(from..from + held.len()) else { return true };
        let (table, behind) = held.split_at_mut(self.table.len());
        let records = &behind[self.records.start - self.table.end..];
        let address = self.address.wrapping_add((self.records.start - self.table.start) as u32);
        let (front, rows) = table.split_at_mut(TABLE_FRONT);
        front[TABLE_HEAD..].copy_from_slice(&((rows.len() / ROW) as u32).to_le_bytes());
        fill_unwind_table(rows, self.address, records, address)
    }
}

#[cfg(feature = "encode")]
impl UnwindTable {
    /// Finds the table of a program, if a reader can compute it.
    pub(crate) fn of(file: &[u8], image: &MemoryImage) -> Option<Self> {
        let (address, len) = image.eh_frame_hdr?;
        let start = image.offset(address)?;
        let (records, end) = imgdelta_fields::eh_frame::locate(file, start, address, image)?;
        let gap = records.checked_sub(start + len as usize)?;
        let table = Self::at(image, gap, end - records)?;
        let held = &file[table.held()];
        let mut computed = held.to_vec();
        (table.lay_over(&mut computed, start) && computed == held).then_some(table)
    }

    /// Returns `file` with the table of its base, `None` if both are alike.
    pub(crate) fn replaced(
        &self,
        file: &[u8],
        base: &[u8],
        image: &MemoryImage,
    ) -> Option<Vec<u8>> {
        let place = self.table.start + TABLE_HEAD..self.table.end;
        let old = image.eh_frame_hdr.and_then(|(address, len)| {
            let start = image.offset(address)?;
            base.get(start + TABLE_HEAD..start.checked_add(len as usize)?)
        });
        let old = old.unwrap_or_default();
        if old == &file[place.clone()] || replaced_bytes(file.len()) == 0 {
            return None;
        }
        let mut file = file.to_vec();
        let len = old.len().min(place.len());
        file[place.clone()].fill(0);
        file[place.start..place.start + len].copy_from_slice(&old[..len]);
        Some(file)
    }

    /// Writes the place of the records.
    pub(crate) fn write(&self, streams: &mut crate::group::StreamWriter) {
        let gap = self.records.start - self.table.end;
        streams.number(StreamKind::Headers, gap as u64);
        streams.number(StreamKind::Headers, self.records.len() as u64);
    }
}

/// Returns the bytes of the copy of a file in which its table is replaced; 0 if it is too long for that.
#[cfg(feature = "encode")]
pub(crate) fn replaced_bytes(len: usize) -> usize {
    if len > 64 << 20 { 0 } else { len }
}
