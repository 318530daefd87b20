//! References in x86-64 code, found by the bytes before them.
//! Never disassembles: a false match is harmless as long as it moves with its surroundings.
//!
//! A distance of four bytes follows `E8` and `E9` (call, jump) and `0F 80` to `0F 8F` (conditional
//! jump). One also follows every ModRM byte of the form `..000101`-`..111101`, which addresses
//! memory relative to the next instruction. An immediate operand moves that instruction's end back.
//!
//! One byte in fifteen is a candidate, so 64 bytes are tested at a time. The fields are those of a
//! scan byte by byte, on every processor.

use crate::{
    elf::MemoryImage,
    fields::{Field, Form},
};
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
    // Position of the last byte before a field; one more byte precedes it.
    let mut opcode = within.start.saturating_sub(1).max(1);
    let end = within.end.saturating_sub(1).min(code.len());
    while opcode + BLOCK <= end
        && let Some(block) = code.get(opcode - 1..).and_then(|rest| rest.first_chunk())
    {
        let mut candidates = candidates(block);
        while candidates != 0 {
            take(opcode + candidates.trailing_zeros() as usize, list);
            candidates &= candidates - 1;
        }
        opcode += BLOCK;
    }
    for opcode in opcode..end {
        if is_candidate(code[opcode], code[opcode - 1]) {
            take(opcode, list);
        }
    }
    free
}

/// Returns the target of the field behind a candidate, if it lies in the image.
#[inline]
fn target(code: &[u8], opcode: usize, address: u32, image: &MemoryImage) -> Option<(u32, Form)> {
    let distance = i32::from_le_bytes(*code.get(opcode + 1..)?.first_chunk()?);
    let (immediate, form) = if code[opcode] & 0xC7 == 0x05 {
        let immediate = match code[opcode - 1] {
            0x80 | 0x83 | 0xC0 | 0xC1 | 0xC6 | 0x6B => 1,
            0x81 | 0xC7 | 0x69 => 4,
            _ => 0,
        };
        (immediate, Form::Relative32)
    } else {
        (0, Form::Branch32)
    };
    let end = i64::from(address) + opcode as i64 + 5 + immediate;
    let target = u32::try_from(end + i64::from(distance)).ok()?;
    (distance != 0 && target < image.span).then_some((target, form))
}

/// Bytes tested at a time: one bit of a `u64` for each.
const BLOCK: usize = 64;

/// Returns one bit for each byte of a block that is a candidate; one more byte precedes the block.
///
/// The first loop has no branches and no carries between bytes, so compilers vectorise it. The
/// second gathers the lowest bits of eight bytes by one multiplication.
#[inline]
fn candidates(block: &[u8; BLOCK + 1]) -> u64 {
    let mut flags = [0_u8; BLOCK];
    for (i, flag) in flags.iter_mut().enumerate() {
        *flag = u8::from(is_candidate(block[i + 1], block[i]));
    }
    let mut mask = 0;
    for (i, eight) in flags.as_chunks::<8>().0.iter().enumerate() {
        let bits = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        mask |= bits << (8 * i);
    }
    mask
}

/// True if a field may follow `byte`.
#[inline]
#[expect(clippy::needless_bitwise_bool, reason = "branches would keep compilers from vectorising")]
fn is_candidate(byte: u8, before: u8) -> bool {
    (byte & 0xFE == 0xE8) | (byte & 0xC7 == 0x05) | ((byte & 0xF0 == 0x80) & (before == 0x0F))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_at_a_time_equals_a_byte_at_a_time() {
        let mut bytes: Vec<u8> = (0..=255).collect();
        bytes.extend((0..=255_u8).flat_map(|byte| [0x0F, byte, 0x01, 0x80, byte]));
        for (at, block) in bytes.windows(BLOCK + 1).enumerate() {
            let naive = (0..BLOCK).filter(|&i| is_candidate(block[i + 1], block[i]));
            let naive: u64 = naive.map(|i| 1 << i).sum();
            assert_eq!(candidates(block.try_into().unwrap()), naive, "at {at}");
        }
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
