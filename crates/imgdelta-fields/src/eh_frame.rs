//! Walks the unwind records (`.eh_frame`) and finds their references.
//! Never reads what stands at another place; the walk ends at the first malformed record.
//!
//! Each record (FDE) refers back to its common record (CIE), to the function it describes, and
//! sometimes to that function's exception table. All three are distances. A library has tens of
//! thousands of them; without this walker they are nearly all that remains to be stored. A record also has
//! the length of its function, and the distances between places in it where the frame changes.

use crate::{
    call_frames,
    elf::MemoryImage,
    fields::{Field, Form},
};
use imgdelta_instructions::unwind::{self, CommonRecord, record};
use imgdelta_wire::fixed::u32_at;
use std::ops::Range;

/// Returns the range of the records in `file`, from the pointer in the sorted table's header.
pub fn locate(
    file: &[u8],
    table: usize,
    table_address: u32,
    image: &MemoryImage,
) -> Option<(usize, usize)> {
    // Version 1, and the pointer in the usual encoding.
    if file.get(table..)?.get(..2)? != [1, unwind::RELATIVE_32] {
        return None;
    }
    let distance = u32_at(file, table + 4)?.cast_signed();
    let address = u32::try_from(i64::from(table_address) + 4 + i64::from(distance)).ok()?;
    let start = image.offset(address)?;
    let segment = image.segments.iter().find(|segment| segment.offset_end() > start)?;
    let records = file.get(start..segment.offset_end())?;
    Some((start, start + unwind::extent(records)))
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
        common = CommonRecord::read(&records[..end], start as usize, content);
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
                common = CommonRecord::read(&records[..end], start, content);
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
                    common = CommonRecord::read(&records[..end], named, content);
                    place.common = named as u32 + 1;
                }
                let distance = |i: usize| u32_at(&records[..end], i).map(u32::cast_signed);
                let mut function = None;
                if common.function_relative
                    && let Some(distance) = distance(content + 4).filter(|&d| d != 0)
                {
                    let start = here + 4 + i64::from(distance);
                    push(content + 4, start, Form::Relative32);
                    function = Some(start).filter(|start| *start >= 0);
                }
                let len = distance(content + 8).filter(|&len| len > 0);
                if let Some((start, len)) = function.zip(len) {
                    push(content + 8, start + i64::from(len) - 1, Form::Length32);
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
                if let (Some(start), Some(_)) = (function, len) {
                    let first = (start, common.code_unit);
                    call_frames::collect(&records[..end], content, first, &mut push);
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
