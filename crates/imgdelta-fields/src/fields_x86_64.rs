//! References in x86-64 code, found by the bytes before them.
//! Never disassembles: a false match is harmless as long as it moves with its surroundings.
//!
//! A distance of four bytes follows `E8` and `E9` (call, jump) and `0F 80` to `0F 8F` (conditional
//! jump). One also follows every ModRM byte of the form `..000101`-`..111101`, which addresses
//! memory relative to the next instruction. An immediate operand moves that instruction's end back.
//! Programs at a fixed address have addresses of four bytes as well, mostly as immediates.

use crate::{
    elf::MemoryImage,
    fields::{Field, Form},
};
use imgdelta_instructions::candidates::{self, is_candidate, operand_bytes};
use std::ops::Range;

/// Adds the fields of `code` that start in `within`; `code` is a zone, or all of it up to 5 bytes
/// behind `within`. It lies at offset `at` and relative address `address`.
///
/// No field starts before `free`. Returns the first position behind the last field.
pub(crate) fn collect(
    code: &[u8],
    (at, address): (usize, u32),
    within: Range<usize>,
    free: usize,
    image: &MemoryImage,
    list: &mut Vec<Field>,
) -> usize {
    let mut free = free;
    let mut take = |opcode: usize, list: &mut Vec<Field>| {
        if opcode + 1 < free {
            return;
        }
        if let Some((target, form)) = target(code, opcode, address, image) {
            list.push(Field { at: (at + opcode + 1) as u32, target, form });
            // The next field has an opcode of its own behind this one.
            free = opcode + 6;
        }
    };
    candidates::each(code, within, is_fixed(image), |opcode| take(opcode, list));
    free
}

/// True if addresses in the image take four bytes, and do not look like small numbers.
fn is_fixed(image: &MemoryImage) -> bool {
    let end = image.low.saturating_add(image.span.into());
    image.low >= 1 << 16 && end <= 1 << 31
}

/// Returns the target of the field behind a candidate, if it lies in the image.
#[inline]
fn target(code: &[u8], opcode: usize, address: u32, image: &MemoryImage) -> Option<(u32, Form)> {
    let distance = i32::from_le_bytes(*code.get(opcode + 1..)?.first_chunk()?);
    if !is_candidate(code[opcode], code[opcode - 1]) {
        let target = image.relative(distance.cast_unsigned().into())?;
        return Some((target, Form::Absolute32));
    }
    let (immediate, form) = if code[opcode] & 0xC7 == 0x05 {
        if image.is_object() {
            // A linker will put the distance there: what is there by now is something else.
            return None;
        }
        (i64::from(operand_bytes(code[opcode - 1])), Form::Relative32)
    } else {
        (0, Form::Branch32)
    };
    let end = i64::from(address) + opcode as i64 + 5 + immediate;
    let target = u32::try_from(end + i64::from(distance)).ok()?;
    (distance != 0 && target < image.span).then_some((target, form))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_programs_at_a_fixed_address() {
        let mut image = MemoryImage::flat(0x1000).unwrap();
        let mut code = vec![0x90; 64];
        code[10..15].copy_from_slice(&[0xBF, 0x34, 2, 0x40, 0]);
        code[20..25].copy_from_slice(&[0xBF, 0x34, 0x12, 0x40, 0]);
        code[30..37].copy_from_slice(&[0xFF, 0x24, 0xC5, 0, 1, 0x40, 0]);
        let mut list = Vec::new();
        collect(&code, (500, 100), 0..64, 0, &image, &mut list);
        assert_eq!(list, []);
        image.low = 0x40_0000;
        collect(&code, (500, 100), 0..64, 0, &image, &mut list);
        let found: Vec<_> = list.iter().map(|f| (f.at, f.target, f.form)).collect();
        assert_eq!(found, [(511, 0x234, Form::Absolute32), (533, 0x100, Form::Absolute32)]);
    }

    #[test]
    fn call_jump_and_memory_operands_are_found() {
        let image = MemoryImage::flat(0x1000).unwrap();
        let mut code = vec![0x90; 64];
        code[10..15].copy_from_slice(&[0xE8, 1, 2, 0, 0]);
        code[20..26].copy_from_slice(&[0x0F, 0x84, 0xF0, 0xFF, 0xFF, 0xFF]);
        code[30..37].copy_from_slice(&[0x48, 0x8D, 0x0D, 0x10, 0, 0, 0]);
        code[40..50].copy_from_slice(&[0xC7, 0x05, 0x20, 0, 0, 0, 1, 0, 0, 0]);
        let mut list = Vec::new();
        collect(&code, (500, 100), 0..64, 0, &image, &mut list);
        let found: Vec<_> = list.iter().map(|f| (f.at, f.target, f.form)).collect();
        assert_eq!(
            found,
            [
                (511, 100 + 15 + 0x201, Form::Branch32),
                (522, 100 + 26 - 16, Form::Branch32),
                (533, 100 + 37 + 16, Form::Relative32),
                (542, 100 + 50 + 32, Form::Relative32),
            ]
        );
    }
}
