//! Type records of kernel modules (`.BTF` sections), whose numbers refer to names and types.
//! Never follows a reference: names and types are numbered together with those of the kernel, which
//! is another file.
//!
//! A record has 12 bytes and, depending on its kind, more numbers behind them. A name is an offset,
//! a type is a number. Both have addresses of their own, behind those of the file: a range of names
//! or types that moved is an override like any other.

use crate::{
    elf::MemoryImage,
    fields::{Field, Form},
};
use imgdelta_wire::fixed::{u16_at, u32_at};
use std::ops::Range;

/// Bytes of a record without those that depend on its kind.
const RECORD: usize = 12;

/// Numbers of a record or behind it.
#[derive(Clone, Copy, PartialEq)]
enum Number {
    Name,
    Type,
    Other,
}

/// The numbers behind a record.
enum Rest {
    /// These, once.
    Once(&'static [Number]),
    /// These, as often as the record says.
    Repeated(&'static [Number]),
}

/// Returns if the third number of a record of this kind is a type, and the numbers behind it.
fn layout(kind: u32) -> Option<(bool, Rest)> {
    use Number::{Name, Other, Type};
    Some(match kind {
        1 => (false, Rest::Once(&[Other])),
        2 | 8..=12 | 18 => (true, Rest::Once(&[])),
        3 => (false, Rest::Once(&[Type, Type, Other])),
        4 | 5 => (false, Rest::Repeated(&[Name, Type, Other])),
        6 => (false, Rest::Repeated(&[Name, Other])),
        7 | 16 => (false, Rest::Once(&[])),
        13 => (true, Rest::Repeated(&[Name, Type])),
        14 | 17 => (true, Rest::Once(&[Other])),
        15 => (false, Rest::Repeated(&[Type, Other, Other])),
        19 => (false, Rest::Repeated(&[Name, Other, Other])),
        _ => return None,
    })
}

/// Returns the range of the records in a section.
fn records(bytes: &[u8]) -> Option<Range<usize>> {
    if bytes.get(..3)? != [0x9f, 0xeb, 1] {
        return None;
    }
    let number = |at| u32_at(bytes, at).map(|number| number as usize);
    let start = number(4)?.checked_add(number(8)?)?;
    Some(start..start.checked_add(number(12)?)?.min(bytes.len()))
}

/// Adds the fields of a section that start in `within`; the section is at offset `at` of the file.
///
/// The walk goes on at `place`, which is 0 at first. Returns the place of the next record, or of one
/// that reaches behind `within`.
pub(crate) fn collect(
    bytes: &[u8],
    at: usize,
    within: Range<usize>,
    place: usize,
    image: &MemoryImage,
    list: &mut Vec<Field>,
) -> usize {
    const END: usize = usize::MAX;
    let Some(records) = records(bytes) else { return END };
    let mut push = |i: usize, number| {
        let value = u32_at(bytes, i).unwrap_or(0);
        let target = match number {
            Number::Name => image.name_address(value),
            Number::Type => image.type_address(value),
            Number::Other => None,
        };
        if let Some(target) = target.filter(|_| value != 0 && within.contains(&i)) {
            list.push(Field { at: (at + i) as u32, target, form: Form::Absolute32 });
        }
    };
    let mut record = place.max(records.start);
    while record < within.end {
        let Some(kind) = u32_at(bytes, record + 4).map(|word| word >> 24 & 31) else { return END };
        let Some((refers, rest)) = layout(kind) else { return END };
        let (numbers, count) = match rest {
            Rest::Once(numbers) => (numbers, 1),
            Rest::Repeated(numbers) => {
                (numbers, usize::from(u16_at(bytes, record + 4).unwrap_or(0)))
            }
        };
        let (first, width) = (record + RECORD, 4 * numbers.len());
        let end = first + count * width;
        if end > records.end {
            return END;
        }
        push(record, Number::Name);
        if refers {
            push(record + 8, Number::Type);
        }
        // A record may be longer than the range by far.
        let from = within.start.saturating_sub(first).checked_div(width).unwrap_or(0);
        for i in (from..count).map(|number| first + number * width) {
            if i >= within.end {
                break;
            }
            (0..).zip(numbers).for_each(|(place, &number)| push(i + 4 * place, number));
        }
        if end > within.end {
            return record;
        }
        record = end;
    }
    record
}
