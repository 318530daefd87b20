//! Rebuilds an ELF file with compressed sections from the file with inflated ones.
//! Holds the section headers in memory, never a section.

use super::{
    super::{ArchiveOutput, InnerCoding, InnerPayloads, bytes::length, pieces_of, zlib::Adler32},
    cuts::{Cut, cuts},
    form::SectionForm,
    moves::Moves,
    table::{MOST_OPENED, SectionTable, TABLE_OFFSET},
};
use imgdelta_core::{Error, Result, progress::Progress};
use imgdelta_deflate::{EncoderCache, MemberTrailer, Recipe, RecipeMember, RemakeError, Remaker};
use imgdelta_wire::Cursor;
use std::ops::Range;

/// Writes an ELF file. Its inner payloads are the file with inflated sections, with a compression
/// that has a member for each section, and the structure.
pub(in super::super) fn close(
    inner: &dyn InnerPayloads,
    progress: &dyn Progress,
    out: &mut ArchiveOutput<'_>,
) -> Result<u64> {
    let wrong = |what: &str| Error::bad_input(inner.place(), what);
    let coding = if inner.count() == 2 { inner.coding(0) } else { InnerCoding::Plain };
    let InnerCoding::Deflate(recipe) = coding else {
        return Err(wrong("an ELF file needs a content with a compression, and a structure"));
    };
    let sections = structure(inner)?.ok_or_else(|| wrong("its structure is not valid"))?;
    if recipe.members.len() != sections.len() || !recipe.tail.is_empty() {
        return Err(wrong("its compression has another number of sections"));
    }
    let bytes = inner.bytes(0);
    let read = &mut |at: u64, count: u64| {
        if at.checked_add(count).is_none_or(|end| end > bytes) {
            return Ok(None);
        }
        let mut buffer = vec![0; length(count)];
        inner.read_exact_at(0, at, &mut buffer)?;
        Ok(Some(buffer))
    };
    let table = SectionTable::read(bytes, read)?;
    let table = table.ok_or_else(|| wrong("its section headers are not valid"))?;
    if sections.iter().any(|(number, _)| *number >= table.count()) {
        return Err(wrong("its structure names a section that it does not have"));
    }
    let plain: Vec<_> = sections.iter().map(|(number, _)| table.content(*number)).collect();
    if !plain.is_sorted_by_key(|range| range.start) {
        return Err(wrong("its sections are not in order"));
    }
    let cuts = cuts(bytes, table.range(), plain.iter().cloned());
    let cuts = cuts.ok_or_else(|| wrong("its sections overlap or exceed it"))?;
    let mut writer =
        ElfWriter { inner, progress, encoders: EncoderCache::new(), out: &mut *out, at: 0 };
    let (mut from, mut table_at) = (0, 0);
    let mut moves = vec![(0..0, 0); sections.len()];
    for (range, cut) in cuts {
        writer.copy(from..range.start)?;
        from = range.end;
        match cut {
            // Both are written when the lengths of all sections are known.
            Cut::TableOffset => writer.at += range.end - range.start,
            Cut::Table => {
                table_at = writer.at;
                writer.at += range.end - range.start;
            }
            Cut::Section(ordinal) => {
                let start = writer.at;
                let (_, form) = sections[ordinal];
                writer.section(range.clone(), form, &recipe.members[ordinal])?;
                moves[ordinal] = (range, writer.at - start);
            }
        }
    }
    writer.copy(from..bytes)?;
    let end = writer.at;
    let table = table.deflated(&Moves::new(moves), &sections);
    let table = table.ok_or_else(|| wrong("a section header points into another section"))?;
    out(TABLE_OFFSET.start, &table.offset.to_le_bytes())?;
    out(table_at, &table.headers)?;
    Ok(end)
}

/// Reads the structure; `None` if it is not valid.
fn structure(inner: &dyn InnerPayloads) -> Result<Option<Vec<(usize, SectionForm)>>> {
    let bytes = inner.bytes(1);
    if bytes > MOST_STRUCTURE_BYTES {
        return Ok(None);
    }
    let mut structure = vec![0; length(bytes)];
    inner.read_exact_at(1, 0, &mut structure)?;
    let mut cursor = Cursor::new(&structure);
    let sections = (|| {
        let count = cursor.varint().ok().filter(|&count| count <= MOST_OPENED as u64)?;
        let mut sections = Vec::new();
        for _ in 0..count {
            let number = usize::try_from(cursor.varint().ok()?).ok()?;
            let form = match cursor.u8().ok()? {
                0 => SectionForm::Header { alignment: cursor.varint().ok()? },
                1 => SectionForm::Gnu,
                _ => return None,
            };
            sections.push((number, form));
        }
        cursor.is_empty().then_some(sections)
    })();
    Ok(sections)
}

struct ElfWriter<'a, 'b> {
    inner: &'a dyn InnerPayloads,
    progress: &'a dyn Progress,
    encoders: EncoderCache,
    out: &'a mut ArchiveOutput<'b>,
    /// Place of the next byte in the file.
    at: u64,
}

impl ElfWriter<'_, '_> {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        (self.out)(self.at, bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Writes a range of the part as it is.
    fn copy(&mut self, range: Range<u64>) -> Result<()> {
        let (inner, progress) = (self.inner, self.progress);
        pieces_of(inner, 0, range, progress, &mut |piece| self.put(piece))
    }

    /// Writes a section: the bytes before its zlib stream, and that stream.
    fn section(
        &mut self,
        range: Range<u64>,
        form: SectionForm,
        member: &RecipeMember,
    ) -> Result<()> {
        let (inner, progress) = (self.inner, self.progress);
        let wrong = |error: RemakeError| {
            Error::bad_input_because(inner.place(), "its compression cannot be remade", error)
        };
        let plain_bytes = range.end - range.start;
        self.put(&form.header(plain_bytes))?;
        let trailer = MemberTrailer::None;
        let member = RecipeMember { trailer, plain_bytes, ..member.clone() };
        let recipe = Recipe { members: vec![member], tail: Vec::new() };
        let mut remaker = Remaker::reusing(&recipe, std::mem::take(&mut self.encoders));
        let (mut sum, mut packed) = (Adler32::new(), Vec::new());
        pieces_of(inner, 0, range, progress, &mut |piece| {
            sum.update(piece);
            remaker.write(piece, &mut packed).map_err(wrong)?;
            self.put(&packed)?;
            packed.clear();
            Ok(())
        })?;
        self.encoders = remaker.finish_reusing(&mut packed).map_err(wrong)?;
        self.put(&packed)?;
        self.put(&sum.trailer())
    }
}

/// Far more than the sections that a table can have take.
const MOST_STRUCTURE_BYTES: u64 = 1 << 20;
