//! The parts of a program without a base: its sections by kind.
//! Never changes bytes: the codec writes the parts, and a wrong kind costs bytes only.

use imgdelta_codec::{Part, PartKind};
use imgdelta_core::sort::SharedSort;
use imgdelta_wire::fixed::{u16_at, u32_at, u64_at};
use std::ops::Range;

/// Returns the parts of a 64-bit little-endian program for x86-64 or `AArch64`, which cover it;
/// `None` for other files.
pub(super) fn parts(file: &[u8]) -> Option<Vec<Part>> {
    let is_program = file.starts_with(b"\x7fELF\x02\x01\x01") && file.len() >= 64;
    let code = match is_program.then(|| word16(file, 18))? {
        62 => PartKind::X86_64,
        183 => PartKind::Aarch64,
        _ => return None,
    };
    let mut found = sections(file, code);
    if found.is_empty() {
        found = segments(file, code);
    }
    found.retain(|(range, _)| range.start < range.end && range.end <= file.len());
    found.shared_sort_by_key(|(range, _)| range.start);
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
fn sections(file: &[u8], code: PartKind) -> Vec<(Range<usize>, Part)> {
    let (start, count) = (word64(file, 40), usize::from(word16(file, 60)));
    let headers = usize::try_from(start).ok().and_then(|start| file.get(start..));
    let headers = headers.unwrap_or_default().as_chunks::<64>().0;
    let headers = headers.get(..count).unwrap_or_default();
    let place = |header: &[u8; 64]| {
        let start = usize::try_from(word64(header, 24)).unwrap_or(usize::MAX);
        let len = usize::try_from(word64(header, 32)).unwrap_or(usize::MAX);
        start..start.saturating_add(len)
    };
    let names = headers.get(usize::from(word16(file, 62))).map(place);
    let names = names.and_then(|names| file.get(names)).unwrap_or_default();
    let mut found = Vec::new();
    for header in headers {
        let (name, kind, flags) = (word32(header, 0), word32(header, 4), word64(header, 8));
        let address = word64(header, 16);
        let name = usize::try_from(name).ok().and_then(|name| names.get(name..));
        let name = name.unwrap_or_default();
        let is_named = |wanted: &[u8]| name.starts_with(wanted);
        let mut range = place(header);
        let mut put = |range: Range<usize>, kind, address| {
            found.push((
                range.clone(),
                Part { kind, len: range.end.saturating_sub(range.start), address },
            ));
        };
        let rows = |range: &Range<usize>, row: usize| {
            range.start..range.end - (range.end.saturating_sub(range.start)) % row
        };
        match kind {
            PROGBITS if flags & EXECUTABLE != 0 => put(range, code, address),
            PROGBITS | X86_64_UNWIND if is_named(b".eh_frame_hdr\0") => {
                range.start = range.start.saturating_add(UNWIND_HEAD);
                put(rows(&range, 8), PartKind::UnwindTable, address);
            }
            PROGBITS | X86_64_UNWIND if is_named(b".eh_frame\0") => {
                put(range, PartKind::UnwindRecords, address);
            }
            RELA => put(rows(&range, 24), PartKind::Relocations, 0),
            SYMBOLS | DYNAMIC_SYMBOLS => put(rows(&range, 24), PartKind::Symbols, 0),
            NAMES if is_named(b".dynstr\0") => put(range, PartKind::Names, 0),
            HASHES => put(range, PartKind::HashTable, 0),
            _ => {}
        }
    }
    found
}

/// Returns the executable segments.
fn segments(file: &[u8], code: PartKind) -> Vec<(Range<usize>, Part)> {
    let headers = usize::try_from(word64(file, 32)).ok().and_then(|start| file.get(start..));
    let headers = headers.unwrap_or_default().as_chunks::<56>().0;
    let headers = headers.iter().take(usize::from(word16(file, 56)));
    let executable =
        headers.filter(|header| word32(*header, 0) == 1 && word32(*header, 4) & 1 != 0);
    let segment = |header: &[u8; 56]| {
        let start = usize::try_from(word64(header, 8)).unwrap_or(usize::MAX);
        let len = usize::try_from(word64(header, 32)).unwrap_or(usize::MAX);
        (start..start.saturating_add(len), Part { kind: code, len, address: word64(header, 16) })
    };
    executable.map(segment).collect()
}

// Bytes that are not there read as 0: no range follows from them.

fn word16(bytes: &[u8], at: usize) -> u16 {
    u16_at(bytes, at).unwrap_or(0)
}

fn word32(bytes: &[u8], at: usize) -> u32 {
    u32_at(bytes, at).unwrap_or(0)
}

fn word64(bytes: &[u8], at: usize) -> u64 {
    u64_at(bytes, at).unwrap_or(0)
}

const PROGBITS: u32 = 1;
const SYMBOLS: u32 = 2;
const NAMES: u32 = 3;
const RELA: u32 = 4;
const DYNAMIC_SYMBOLS: u32 = 11;
const HASHES: u32 = 0x6fff_fff6;
const X86_64_UNWIND: u32 = 0x7000_0001;
const EXECUTABLE: u64 = 4;
/// Bytes of an unwind table before its rows.
const UNWIND_HEAD: usize = 12;
