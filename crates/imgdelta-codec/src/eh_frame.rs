//! Walks the unwind records (`.eh_frame`) and finds their references.
//! Never interprets call-frame instructions; the walk ends at the first malformed record.
//!
//! Each record (FDE) refers back to its common record (CIE), to the function it describes, and
//! sometimes to that function's exception table. All three are distances. A library has tens of
//! thousands of them; without this walker they are nearly all that remains to be stored.

use crate::{
    elf::MemoryImage,
    fields::{Field, Form},
};
use imgdelta_wire::fixed::{u32_at, u64_at};
use std::ops::Range;

/// Pointer encoding: signed four bytes, relative to the field.
const RELATIVE_32: u8 = 0x1b;

/// Returns the range of the records in `file`, from the pointer in the sorted table's header.
pub(crate) fn locate(
    file: &[u8],
    table: usize,
    table_address: u32,
    image: &MemoryImage,
) -> Option<(usize, usize)> {
    // Version 1, and the pointer in the usual encoding.
    if file.get(table..)?.get(..2)? != [1, RELATIVE_32] {
        return None;
    }
    let distance = u32_at(file, table + 4)?.cast_signed();
    let address = u32::try_from(i64::from(table_address) + 4 + i64::from(distance)).ok()?;
    let start = image.offset(address)?;
    let segment = image.segments.iter().find(|segment| segment.offset_end() > start)?;
    let records = file.get(start..segment.offset_end())?;
    Some((start, start + extent(records)))
}

/// Bytes up to the terminator, inclusive, or up to the first malformed record.
fn extent(records: &[u8]) -> usize {
    let mut at = 0;
    while let Some((_, end)) = record(records, at) {
        let terminator = end == at + 4;
        at = end;
        if terminator {
            break;
        }
    }
    at
}

/// Start of the record's content and its end.
fn record(records: &[u8], at: usize) -> Option<(usize, usize)> {
    let len = u32_at(records, at)? as usize;
    // 0xffff_ffff announces a 64-bit length; no linker writes that here.
    let end = (at + 4).checked_add(len)?;
    (end <= records.len()).then_some((at + 4, end))
}

/// The encodings that a common record declares for the records that refer to it.
#[derive(Debug, Clone, Copy, Default)]
struct CommonRecord {
    start: usize,
    function_relative: bool,
    data_relative: bool,
}

/// A place in a walk of the records: a record, and the common record that holds there.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RecordPlace {
    start: u32,
    /// Start of the common record, plus 1; 0 before the first.
    common: u32,
}

/// Adds the fields of `records` that start in `within`. `records` is a zone, which lies at offset
/// `at` and relative address `address`.
///
/// The walk begins at `place`, which no field in `within` precedes. Returns the place of the first
/// record that ends behind `within`.
pub(crate) fn collect(
    records: &[u8],
    (at, address): (usize, u32),
    within: Range<usize>,
    place: RecordPlace,
    image: &MemoryImage,
    list: &mut Vec<Field>,
) -> RecordPlace {
    let mut push = |i: usize, target: i64, form| {
        let target = u32::try_from(target).ok().filter(|&target| target < image.span);
        if let Some(target) = target.filter(|_| within.contains(&i)) {
            list.push(Field { at: (at + i) as u32, target, form });
        }
    };
    let mut common = CommonRecord::default();
    if let Some(start) = place.common.checked_sub(1)
        && let Some((content, end)) = record(records, start as usize)
    {
        common = parse_common(&records[..end], start as usize, content);
    }
    let mut place = place;
    while let Some((content, end)) = record(records, place.start as usize) {
        let start = place.start as usize;
        let before = place.common;
        let pointer = u32_at(&records[..end], content);
        let here = i64::from(address) + content as i64;
        match pointer {
            None => {}
            Some(0) => {
                common = parse_common(&records[..end], start, content);
                place.common = start as u32 + 1;
            }
            Some(pointer) => {
                push(content, here - i64::from(pointer), Form::Backward32);
                // Records of one object file follow their common record; others name it by a
                // distance.
                let named = content.checked_sub(pointer as usize);
                if let Some(named) = named.filter(|&named| named != common.start)
                    && let Some((content, end)) = record(records, named)
                {
                    common = parse_common(&records[..end], named, content);
                    place.common = named as u32 + 1;
                }
                let distance = |i: usize| u32_at(&records[..end], i).map(u32::cast_signed);
                if common.function_relative
                    && let Some(function) = distance(content + 4).filter(|&d| d != 0)
                {
                    push(content + 4, here + 4 + i64::from(function), Form::Relative32);
                }
                // Four bytes at least, and a length that is a single byte.
                let augmented =
                    records[..end].get(content + 12).is_some_and(|len| (4..128).contains(len));
                if common.data_relative
                    && augmented
                    && let Some(data) = distance(content + 13).filter(|&d| d != 0)
                {
                    push(content + 13, here + 13 + i64::from(data), Form::Relative32);
                }
            }
        }
        if end > within.end {
            place.common = before;
            break;
        }
        place.start = end as u32;
    }
    place
}

/// Returns start and length of each function that `records`, at a relative address, describe.
///
/// Functions whose start is not relative to its field are left out.
#[cfg(feature = "encode")]
pub(crate) fn functions(records: &[u8], address: u32) -> Vec<(u32, u32)> {
    let mut functions = Vec::new();
    let mut common = CommonRecord::default();
    let mut start = 0;
    while let Some((content, end)) = record(records, start) {
        match u32_at(&records[..end], content) {
            None => {}
            Some(0) => common = parse_common(&records[..end], start, content),
            Some(pointer) => {
                let named = content.checked_sub(pointer as usize);
                if let Some(named) = named.filter(|&named| named != common.start)
                    && let Some((content, end)) = record(records, named)
                {
                    common = parse_common(&records[..end], named, content);
                }
                let word = |i: usize| u32_at(&records[..end], i);
                if common.function_relative
                    && let (Some(distance), Some(len)) = (word(content + 4), word(content + 8))
                {
                    let here = address.wrapping_add(content as u32 + 4);
                    functions.push((here.wrapping_add(distance), len));
                }
            }
        }
        start = end;
    }
    functions
}

/// Reads the encodings that a common record declares; others count as not relative.
fn parse_common(records: &[u8], start: usize, content: usize) -> CommonRecord {
    encodings(records, content).map_or(
        CommonRecord { start, ..CommonRecord::default() },
        |(function, data)| CommonRecord {
            start,
            function_relative: function == RELATIVE_32,
            data_relative: data == RELATIVE_32,
        },
    )
}

/// The encodings of function start and language data.
fn encodings(records: &[u8], content: usize) -> Option<(u8, u8)> {
    let (mut function, mut data) = (0, 0xff);
    let mut at = content + 5; // the zero that marks a common record, and the version
    let letters = records.get(at..)?;
    let letters = &letters[..letters.iter().take(16).position(|&byte| byte == 0)?];
    if letters.first() != Some(&b'z') {
        return Some((function, data));
    }
    at += letters.len() + 1;
    // Code alignment, data alignment, return register, length of the rest: LEB128 integers.
    for _ in 0..4 {
        let rest = records.get(at..)?;
        at += rest.iter().take(10).position(|byte| byte & 0x80 == 0)? + 1;
    }
    for letter in &letters[1..] {
        match letter {
            b'R' => function = *records.get(at)?,
            b'L' => data = *records.get(at)?,
            b'P' => {
                // Only the four-byte encodings are known; any other ends the reading.
                let encoding = *records.get(at)?;
                at += match encoding & 0x0f {
                    0x03 | 0x0b => 4,
                    0x04 | 0x0c | 0x00 => {
                        u64_at(records, at + 1)?;
                        8
                    }
                    _ => return Some((function, data)),
                };
            }
            b'S' | b'B' => continue,
            _ => return Some((function, data)),
        }
        at += 1;
    }
    Some((function, data))
}
