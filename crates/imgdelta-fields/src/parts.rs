//! Encoder only: the parts of a program without a base, which are its sections by kind.
//! Never changes bytes: a wrong kind costs bytes only.

use crate::elf::{self, Section};
use imgdelta_instructions::parts::{Part, PartKind};
use imgdelta_wire::fixed::{u16_at, u32_at, u64_at};
use std::ops::Range;

/// Returns the parts of a 64-bit little-endian program for x86-64 or AArch64, which cover it;
/// `None` for other files.
pub fn parts(file: &[u8]) -> Option<Vec<Part>> {
    let is_program = file.starts_with(b"\x7fELF\x02\x01\x01") && file.len() >= 64;
    let code = match is_program.then(|| u16_at(file, 18))?? {
        62 => PartKind::X86_64,
        183 => PartKind::Aarch64,
        _ => return None,
    };
    let mut found = known_sections(file, code);
    if found.is_empty() {
        found = segments(file, code);
    }
    found.retain(|(range, _)| range.start < range.end && range.end <= file.len());
    found.sort_by_key(|(range, _)| range.start);
    let (mut parts, mut at) = (Vec::new(), 0);
    let data = |len: usize| Part { kind: PartKind::Data, len, address: 0 };
    for (range, part) in found {
        if range.start < at {
            continue;
        }
        if range.start > at {
            parts.push(data(range.start - at));
        }
        at = range.end;
        parts.push(part);
    }
    if at < file.len() {
        parts.push(data(file.len() - at));
    }
    (parts.len() > 1).then_some(parts)
}

/// Returns the sections that are more than data.
fn known_sections(file: &[u8], code: PartKind) -> Vec<(Range<usize>, Part)> {
    let known = elf::sections(file).into_iter().filter_map(|section| {
        let is_bytes = matches!(section.kind, Section::PROGRAM | Section::UNWIND);
        let (mut start, mut row, mut address) = (section.offset, 1, section.address);
        let kind = match (section.kind, section.name) {
            (Section::PROGRAM, _) if section.flags & Section::EXECUTABLE != 0 => code,
            (_, b".eh_frame_hdr") if is_bytes => {
                (start, row) = (start.saturating_add(UNWIND_HEAD), 8);
                PartKind::UnwindTable
            }
            (_, b".eh_frame") if is_bytes => PartKind::UnwindRecords,
            (Section::RELOCATIONS, _) => PartKind::Relocations,
            (Section::SYMBOLS | Section::DYNAMIC_SYMBOLS, _) => PartKind::Symbols,
            (Section::NAMES, b".dynstr") => PartKind::Names,
            (Section::HASHES, _) => PartKind::HashTable,
            _ => return None,
        };
        match kind {
            PartKind::Relocations | PartKind::Symbols => (row, address) = (24, 0),
            PartKind::Names | PartKind::HashTable => address = 0,
            _ => {}
        }
        let len = (section.offset + section.len).saturating_sub(start) / row * row;
        Some((start..start + len, Part { kind, len, address }))
    });
    known.collect()
}

/// Returns the executable segments.
fn segments(file: &[u8], code: PartKind) -> Vec<(Range<usize>, Part)> {
    let start = u64_at(file, 32).and_then(|start| usize::try_from(start).ok());
    let headers = start.and_then(|start| file.get(start..)).unwrap_or_default().as_chunks::<56>().0;
    let count = usize::from(u16_at(file, 56).unwrap_or(0));
    let segment = |header: &[u8; 56]| {
        let is_code = u32_at(header, 0)? == 1 && u32_at(header, 4)? & 1 != 0;
        let start = usize::try_from(u64_at(header, 8)?).ok()?;
        let len = usize::try_from(u64_at(header, 32)?).ok()?;
        let part = Part { kind: code, len, address: u64_at(header, 16)? };
        is_code.then_some((start..start.checked_add(len)?, part))
    };
    headers.iter().take(count).filter_map(segment).collect()
}

/// Bytes of an unwind table before its rows.
const UNWIND_HEAD: usize = 12;
