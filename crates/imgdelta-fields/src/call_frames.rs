//! Walks the call-frame instructions of an unwind record for distances in its function.
//! Never computes a frame.
//!
//! An instruction that has no effect on the walk is passed over by its operands. The walk ends at an
//! instruction that it does not know.

use crate::fields::{Advance, Form};

/// Bytes of a record that are read; those of compilers are shorter.
const MOST_READ: usize = 1 << 10;

/// Fields in front of the instructions.
const FRONT_FIELDS: usize = 4;

/// Passes the distances of a record to `push`, in order: each with its place, its target and its form.
///
/// The content begins at `content`. The function begins at `place`, and distances count units of so many bytes.
///
/// A record has at most one field for four bytes, and is read up to a limit: a hostile one may be as long as a
/// file, and is walked again for each block of it.
pub(crate) fn collect(
    record: &[u8],
    content: usize,
    (mut place, unit): (i64, u8),
    push: &mut impl FnMut(usize, i64, Form),
) {
    let mut left = ((record.len() - content) / 4).saturating_sub(FRONT_FIELDS);
    let record = &record[..record.len().min(content + MOST_READ)];
    let at = content + 12;
    let (1 | 2 | 4, Some(&skipped @ 0..0x80)) = (unit, record.get(at)) else { return };
    let scale = unit.trailing_zeros() as u8;
    let (mut at, mut is_first) = (at + 1 + usize::from(skipped), true);
    while left > 0
        && let Some(&code) = record.get(at)
    {
        let advance = Advance { scale, is_first };
        let (form, field) = match code {
            0x40..0x80 => (Form::Advance6(advance), at),
            0x02 => (Form::Advance8(advance), at + 1),
            0x03 => (Form::Advance16(advance), at + 1),
            _ => match passed(record, at) {
                Some(next) => {
                    at = next;
                    continue;
                }
                None => return,
            },
        };
        at = field + form.size();
        let Some(bytes) = record.get(field..at) else { return };
        let distance = form.number(bytes) << scale;
        if distance > 0 {
            place += distance;
            push(field, place - 1, form);
            is_first = false;
            left -= 1;
        }
    }
}

/// Returns the end of the instruction at `at`, if it is known.
fn passed(record: &[u8], at: usize) -> Option<usize> {
    let number = |at: usize| {
        let rest = record.get(at..)?;
        Some(at + rest.iter().take(10).position(|byte| byte & 0x80 == 0)? + 1)
    };
    let block = |at: usize| {
        let len = record.get(at).filter(|len| **len < 0x80)?;
        Some(at + 1 + usize::from(*len))
    };
    let behind = at + 1;
    match record[at] {
        0x00 | 0x0a | 0x0b | 0x2d | 0xc0.. => Some(behind),
        0x80..0xc0 | 0x06 | 0x07 | 0x08 | 0x0d | 0x0e | 0x13 | 0x2e => number(behind),
        0x05 | 0x09 | 0x0c | 0x11 | 0x12 | 0x14 | 0x15 | 0x2f => number(number(behind)?),
        0x0f => block(behind),
        0x10 | 0x16 => block(number(behind)?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the fields of instructions, with places from the first one.
    fn found(code: &[u8], unit: u8) -> Vec<(usize, i64, Form)> {
        let record = [&[9; 15][..], &[1, 0x55], code].concat();
        let mut found = Vec::new();
        let mut push = |at, target, form| found.push((at - 17, target, form));
        collect(&record, 3, (0x1000, unit), &mut push);
        found
    }

    #[test]
    fn distances_between_other_instructions_are_fields() {
        let code = [
            0x44, 0x0e, 0x20, 0x86, 0x04, 0x02, 0x50, 0xc6, 0x40, 0x03, 0x00, 0x01, 0x16, 0x04,
            0x02, 0x76, 0x00, 0x41, 0x3f, 0x41,
        ];
        let advance = |is_first| Advance { scale: 2, is_first };
        let expected = [
            (0, 0x100f, Form::Advance6(advance(true))),
            (6, 0x114f, Form::Advance8(advance(false))),
            (10, 0x154f, Form::Advance16(advance(false))),
            // Instruction 3F is not known.
            (17, 0x1553, Form::Advance6(advance(false))),
        ];
        assert_eq!(found(&code, 4), expected);
        assert_eq!(found(&code, 3), []);
    }

    #[test]
    fn a_record_that_ends_early_has_the_fields_before() {
        let code = [0x41, 0x03, 1, 0, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!([3, 5, 6, 10, 14].map(|len| found(&code[..len], 1).len()), [0, 0, 1, 2, 3]);
    }

    #[test]
    fn a_record_has_at_most_a_field_for_four_bytes() {
        assert_eq!(found(&[0x41; 102], 1).len(), (102 + 14) / 4 - 4);
        // Of long ones, the front is read.
        let code = [0x41, 0, 0, 0, 0, 0, 0, 0].repeat(1 << 10);
        assert_eq!(found(&code, 1).len(), 1010_usize.div_ceil(8));
    }
}
