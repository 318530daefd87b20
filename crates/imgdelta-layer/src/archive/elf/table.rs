//! The section headers of an ELF file.
//! Holds their bytes, so that all that is not understood stays as it is.

use super::{form::SectionForm, moves::Moves};
use imgdelta_core::Result;
use imgdelta_wire::fixed::{u16_at, u32_at, u64_at};
use std::ops::Range;

/// The section headers, with their place in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in super::super) struct SectionTable {
    /// Offset in the file.
    pub(super) offset: u64,
    pub(super) headers: Vec<u8>,
    /// The names of sections.
    names: Vec<u8>,
    /// Range of the names in the file.
    names_range: Range<u64>,
}

/// Reads bytes of the file; `None` if they exceed it.
pub(in super::super) type ReadBytes<'a> = dyn FnMut(u64, u64) -> Result<Option<Vec<u8>>> + 'a;

impl SectionTable {
    /// Reads the table of a file of `bytes` bytes; `None` if it is not valid.
    pub(in super::super) fn read(bytes: u64, read: &mut ReadBytes<'_>) -> Result<Option<Self>> {
        let Some(header) = read(0, HEADER_BYTES)? else { return Ok(None) };
        let numbers = (|| {
            let count = u16_at(&header, 60)?;
            let is_known = header.starts_with(START)
                && usize::from(u16_at(&header, 58)?) == ENTRY_BYTES
                && (1..=MOST_SECTIONS).contains(&count);
            let offset = u64_at(&header, OFFSET_PLACE)?;
            is_known.then_some((offset, count, u16_at(&header, 62)?))
        })();
        let Some((offset, count, names)) = numbers else { return Ok(None) };
        let table_bytes = u64::from(count) * ENTRY_BYTES as u64;
        if offset < HEADER_BYTES || offset.checked_add(table_bytes).is_none_or(|end| end > bytes) {
            return Ok(None);
        }
        let Some(headers) = read(offset, table_bytes)? else { return Ok(None) };
        let mut table = Self { offset, headers, names: Vec::new(), names_range: 0..0 };
        if names < count {
            let names = table.content(usize::from(names));
            let name_bytes = names.end - names.start;
            if name_bytes <= MOST_NAME_BYTES
                && let Some(bytes) = read(names.start, name_bytes)?
            {
                (table.names, table.names_range) = (bytes, names);
            }
        }
        Ok(Some(table))
    }

    /// Returns the number of headers.
    pub(in super::super) fn count(&self) -> usize {
        self.headers.len() / ENTRY_BYTES
    }

    /// Returns the table's range in the file.
    pub(super) fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.headers.len() as u64
    }

    /// Returns the ranges of the file from which the table was read.
    pub(in super::super) fn ranges(&self) -> [Range<u64>; 3] {
        [0..HEADER_BYTES, self.range(), self.names_range.clone()]
    }

    fn header(&self, number: usize) -> &[u8] {
        &self.headers[number * ENTRY_BYTES..][..ENTRY_BYTES]
    }

    /// Returns a section's range in the file. It may exceed the file.
    pub(in super::super) fn content(&self, number: usize) -> Range<u64> {
        let header = self.header(number);
        let start = u64_at(header, OFFSET).unwrap_or(0);
        start..start.saturating_add(u64_at(header, SIZE).unwrap_or(0))
    }

    /// True if the section has bytes in the file.
    pub(in super::super) fn has_content(&self, number: usize) -> bool {
        u32_at(self.header(number), KIND) != Some(WITHOUT_CONTENT)
    }

    /// True if the section is loaded when the program runs.
    pub(super) fn is_loaded(&self, number: usize) -> bool {
        self.flags(number) & LOADED != 0
    }

    /// True if the section has a compression header.
    pub(super) fn is_compressed(&self, number: usize) -> bool {
        self.flags(number) & COMPRESSED != 0
    }

    fn flags(&self, number: usize) -> u64 {
        u64_at(self.header(number), FLAGS).unwrap_or(0)
    }

    /// True if the section's name begins with `prefix`.
    pub(in super::super) fn has_name_prefix(&self, number: usize, prefix: &[u8]) -> bool {
        let name = u32_at(self.header(number), NAME).and_then(|at| self.names.get(at as usize..));
        name.is_some_and(|name| name.starts_with(prefix))
    }

    fn put(&mut self, number: usize, field: usize, value: u64) {
        self.headers[number * ENTRY_BYTES + field..][..8].copy_from_slice(&value.to_le_bytes());
    }

    /// Returns the table of the file with inflated sections. `moves` has a range of this file for
    /// each section; `None` if an offset lies inside one.
    pub(super) fn inflated(
        &self,
        moves: &Moves,
        sections: &[(usize, SectionForm)],
    ) -> Option<Self> {
        self.with(moves, sections, 0)
    }

    /// Returns the table of the file with compressed sections. `moves` has a range of this file for
    /// each section; `None` if an offset lies inside one.
    pub(super) fn deflated(
        &self,
        moves: &Moves,
        sections: &[(usize, SectionForm)],
    ) -> Option<Self> {
        self.with(moves, sections, COMPRESSED)
    }

    fn with(&self, moves: &Moves, sections: &[(usize, SectionForm)], flag: u64) -> Option<Self> {
        let mut table = self.clone();
        table.offset = moves.map(self.offset)?;
        for number in 0..self.count() {
            table.put(number, OFFSET, moves.map(self.content(number).start)?);
        }
        for (&(number, form), bytes) in sections.iter().zip(moves.lengths()) {
            table.put(number, SIZE, bytes);
            if form != SectionForm::Gnu {
                table.put(number, FLAGS, self.flags(number) & !COMPRESSED | flag);
            }
        }
        Some(table)
    }
}

/// First bytes of a 64-bit little-endian file.
pub(super) const START: &[u8] = b"\x7fELF\x02\x01\x01";
/// Compressed sections of a file that is opened. Debug information has about a dozen.
pub(super) const MOST_OPENED: usize = 256;
/// Length of the file header.
pub(super) const HEADER_BYTES: u64 = 64;
/// Place of the table's offset in the file header.
pub(super) const TABLE_OFFSET: Range<u64> = 40..48;
const OFFSET_PLACE: usize = 40;
/// Far more than linkers write, except into object files with a section for each function.
const MOST_SECTIONS: u16 = 16_384;
const MOST_NAME_BYTES: u64 = 1 << 20;
const ENTRY_BYTES: usize = 64;
/// Fields of a section header.
const NAME: usize = 0;
const KIND: usize = 4;
const FLAGS: usize = 8;
const OFFSET: usize = 24;
const SIZE: usize = 32;
/// Flags and kinds of sections.
const LOADED: u64 = 2;
const COMPRESSED: u64 = 0x800;
const WITHOUT_CONTENT: u32 = 8;
