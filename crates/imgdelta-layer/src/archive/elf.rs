//! ELF files with compressed sections: one part, which is the file with these sections inflated;
//! then the structure.
//! Holds the section headers in memory, never a section.
//!
//! The part is an ELF file again: the offsets and lengths in its headers are those of the inflated
//! sections. So addresses in debug sections are found as in a program without compression.
//! 64-bit little-endian files are opened, and sections compressed by zlib: those that the gABI
//! defines (flag `SHF_COMPRESSED`), and the older ones of GNU whose names begin with `.zdebug_`.

mod close;
mod cuts;
mod form;
mod moves;
mod table;

pub(super) use close::close;
pub(super) use table::{ReadBytes, SectionTable};

use super::{
    ArchiveBytes, ArchivePart, OpenedArchive, PartCompression, inflate as inflate_stream, zlib,
};
use cuts::{Cut, cuts};
use form::SectionForm;
use imgdelta_core::{Result, progress::Progress, sort::SharedSort};
use imgdelta_wire::{fixed, varint};
use moves::Moves;
use std::ops::Range;
use table::MOST_OPENED;

/// First bytes of a file that is opened: 64-bit, little-endian, version 1.
pub(super) const START: &[u8] = table::START;

/// An ELF file with compressed sections.
struct CompressedElf {
    bytes: u64,
    table: SectionTable,
    /// In the order of the file.
    sections: Vec<CompressedSection>,
    /// The part's section headers.
    plain_table: SectionTable,
}

/// A compressed section.
#[derive(Clone, Debug)]
struct CompressedSection {
    /// Number of its header.
    number: usize,
    form: SectionForm,
    /// Its range in the file, with the bytes before the zlib stream.
    stored: Range<u64>,
    plain_bytes: u64,
}

impl CompressedSection {
    /// Returns the range of its zlib stream.
    fn stream(&self) -> Range<u64> {
        self.stored.start + self.form.header_bytes()..self.stored.end
    }

    /// Returns the range of its deflate stream.
    fn deflate(&self) -> Range<u64> {
        let stream = self.stream();
        stream.start + zlib::HEADER_BYTES..stream.end - zlib::TRAILER_BYTES
    }
}

impl CompressedElf {
    /// Reads the headers; `None` if the file is not valid or has no compressed section.
    fn read(slice: &ArchiveBytes<'_>) -> Result<Option<Self>> {
        let read = &mut |at, count| slice.read(at, count);
        let Some(table) = SectionTable::read(slice.bytes(), read)? else { return Ok(None) };
        let mut sections = Vec::new();
        for number in 0..table.count() {
            sections.extend(section(&table, number, slice)?);
        }
        sections.shared_sort_by_key(|section| section.stored.start);
        let Some(first) = sections.first() else { return Ok(None) };
        if sections.len() > MOST_OPENED {
            return Ok(None);
        }
        if !segments_end_before(first.stored.start, slice)? {
            return Ok(None);
        }
        Ok(Self::with(slice.bytes(), table, sections))
    }

    /// Makes the part's headers; `None` if sections overlap, or if the headers would not come back.
    fn with(bytes: u64, table: SectionTable, sections: Vec<CompressedSection>) -> Option<Self> {
        let stored = sections.iter().map(|section| section.stored.clone());
        cuts(bytes, table.range(), stored)?;
        let stored = |section: &CompressedSection| (section.stored.clone(), section.plain_bytes);
        let forms: Vec<_> = sections.iter().map(|section| (section.number, section.form)).collect();
        let moves = Moves::new(sections.iter().map(stored).collect());
        let plain_table = table.inflated(&moves, &forms)?;
        let plain = |section: &CompressedSection| {
            let stored_bytes = section.stored.end - section.stored.start;
            (plain_table.content(section.number), stored_bytes)
        };
        let moves = Moves::new(sections.iter().map(plain).collect());
        let is_reversible = plain_table.deflated(&moves, &forms).as_ref() == Some(&table);
        is_reversible.then_some(Self { bytes, table, sections, plain_table })
    }

    fn structure(&self) -> Vec<u8> {
        let mut structure = Vec::new();
        varint::write(&mut structure, self.sections.len() as u64);
        for section in &self.sections {
            varint::write(&mut structure, section.number as u64);
            match section.form {
                SectionForm::Header { alignment } => {
                    structure.push(0);
                    varint::write(&mut structure, alignment);
                }
                SectionForm::Gnu => structure.push(1),
            }
        }
        structure
    }
}

/// Reads the headers of an ELF file.
pub(super) fn read(slice: &ArchiveBytes<'_>) -> Result<Option<OpenedArchive>> {
    let Some(elf) = CompressedElf::read(slice)? else { return Ok(None) };
    let part = ArchivePart {
        name: PART_NAME.to_vec(),
        stored: 0..slice.bytes(),
        compression: PartCompression::Sections,
    };
    Ok(Some(OpenedArchive { parts: vec![part], structure: elf.structure() }))
}

/// Returns the zlib streams of the sections of an ELF file that [`read`] opens.
pub(super) fn streams(slice: &ArchiveBytes<'_>) -> Result<Vec<Range<u64>>> {
    let elf = CompressedElf::read(slice)?;
    let sections = elf.iter().flat_map(|elf| &elf.sections);
    Ok(sections.map(CompressedSection::stream).collect())
}

/// Passes the file with inflated sections to `sink`, and returns its length.
///
/// Returns `None` if a section is damaged or the result exceeds `most_bytes`.
pub(super) fn inflate(
    slice: &ArchiveBytes<'_>,
    most_bytes: u64,
    progress: &dyn Progress,
    sink: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Option<u64>> {
    let Some(elf) = CompressedElf::read(slice)? else { return Ok(None) };
    let stored = elf.sections.iter().map(|section| section.stored.clone());
    let Some(cuts) = cuts(elf.bytes, elf.table.range(), stored) else { return Ok(None) };
    let plain = elf.sections.iter().map(|section| section.plain_bytes);
    let cut_bytes: u64 =
        elf.sections.iter().map(|section| section.stored.end - section.stored.start).sum();
    let total = plain.fold(elf.bytes - cut_bytes, u64::saturating_add);
    if total > most_bytes {
        return Ok(None);
    }
    let mut at = 0;
    for (range, cut) in cuts {
        slice.pieces(at..range.start, progress, &mut |piece| sink(piece).map(|()| true))?;
        at = range.end;
        match cut {
            Cut::TableOffset => sink(&elf.plain_table.offset.to_le_bytes())?,
            Cut::Table => sink(&elf.plain_table.headers)?,
            Cut::Section(section) => {
                let section = &elf.sections[section];
                let mut sum = zlib::Adler32::new();
                let inflated = inflate_stream(
                    slice,
                    section.deflate(),
                    section.plain_bytes,
                    progress,
                    &mut |piece| {
                        sum.update(piece);
                        sink(piece)
                    },
                )?;
                let trailer = section.deflate().end;
                let found = slice.read(trailer, zlib::TRAILER_BYTES)?;
                if inflated.is_none() || found.is_none_or(|found| found != sum.trailer()) {
                    return Ok(None);
                }
            }
        }
    }
    slice.pieces(at..elf.bytes, progress, &mut |piece| sink(piece).map(|()| true))?;
    Ok(Some(total))
}

/// Returns a section if it is compressed by zlib.
fn section(
    table: &SectionTable,
    number: usize,
    slice: &ArchiveBytes<'_>,
) -> Result<Option<CompressedSection>> {
    if table.is_loaded(number) || !table.has_content(number) {
        return Ok(None);
    }
    let stored = table.content(number);
    if stored.end > slice.bytes() {
        return Ok(None);
    }
    let may_be_gnu = !table.is_compressed(number) && table.has_name_prefix(number, GNU_PREFIX);
    if !table.is_compressed(number) && !may_be_gnu {
        return Ok(None);
    }
    let Some(start) = slice.read(stored.start, (stored.end - stored.start).min(START_BYTES))?
    else {
        return Ok(None);
    };
    let Some((form, plain_bytes)) = SectionForm::read(&start, !may_be_gnu) else {
        return Ok(None);
    };
    let header = start.get(bytes_of(form.header_bytes())..).and_then(|rest| rest.first_chunk());
    let least_bytes = form.header_bytes() + zlib::HEADER_BYTES + zlib::TRAILER_BYTES;
    let is_right = plain_bytes > 0
        && stored.end - stored.start > least_bytes
        && header.is_some_and(|header| zlib::is_header(*header));
    Ok(is_right.then_some(CompressedSection { number, form, stored, plain_bytes }))
}

/// True if all segments and the program headers end before the first compressed section.
fn segments_end_before(first: u64, slice: &ArchiveBytes<'_>) -> Result<bool> {
    let Some(header) = slice.read(0, table::HEADER_BYTES)? else { return Ok(false) };
    let count = fixed::u16_at(&header, 56).unwrap_or(0);
    if count == 0 {
        return Ok(true);
    }
    let entry_bytes = fixed::u16_at(&header, 54);
    let Some(start) = fixed::u64_at(&header, 32) else { return Ok(false) };
    let bytes = u64::from(count) * PROGRAM_HEADER_BYTES;
    let ends_before = |start: u64, bytes: u64| {
        start.checked_add(bytes).is_some_and(|end| end <= first) && start <= first
    };
    if entry_bytes != Some(56) || !ends_before(start, bytes) {
        return Ok(false);
    }
    let Some(headers) = slice.read(start, bytes)? else { return Ok(false) };
    Ok(headers.chunks_exact(bytes_of(PROGRAM_HEADER_BYTES)).all(|header| {
        let (offset, bytes) = (fixed::u64_at(header, 8), fixed::u64_at(header, 32));
        offset.zip(bytes).is_some_and(|(offset, bytes)| ends_before(offset, bytes))
    }))
}

/// Returns a small count as a `usize`.
fn bytes_of(count: u64) -> usize {
    super::bytes::length(count)
}

/// Name of the part, by which the same part of another version is found.
const PART_NAME: &[u8] = b"elf";
/// Bytes at the start of a section: a compression header, and that of zlib.
const START_BYTES: u64 = 26;
const GNU_PREFIX: &[u8] = b".zdebug_";
const PROGRAM_HEADER_BYTES: u64 = 56;
