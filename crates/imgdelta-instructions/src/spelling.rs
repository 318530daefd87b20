//! References of new code, spelled as addresses instead of distances.
//! Never reads outside the respelled range except for the opcode bytes just before it.
//!
//! New code calls functions and loads variables that the program already has, each time over
//! another distance. As an address, one function is the same four bytes at every call, which
//! compress. Only calls and memory operands are respelled, since these are often shared. Most jumps
//! lead nowhere else in the program and stay as they are.
//!
//! A pattern that is not an instruction comes back, too. x86-64 swaps two ranges of numbers,
//! `[-e, span - e)` and `[0, span)`. AArch64 adds modulo the width of the number.
//!
//! One case does not come back on x86-64: of two candidates that overlap, the first is out of range
//! and stays, and the second is respelled. If the first one's number then lies within range, a
//! decoder respells it. No spelling gives such bytes, so the encoder lays out the literals as a
//! decoder does, and patches correct them.

use crate::candidates::operand_bytes;
use std::ops::Range;

/// The direction of respelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// From distances to addresses.
    #[cfg(feature = "encode")]
    Address,
    /// From addresses to distances.
    Distance,
}

/// Respells a range of x86-64 code, whose first byte has this address within a span of addresses.
///
/// Up to two bytes before the range are read.
pub fn x86_64(file: &mut [u8], range: Range<usize>, address: i64, span: u32, spell: Spelling) {
    let Range { start, end } = range;
    let span = i64::from(span);
    if i32::try_from(span).is_err() {
        return;
    }
    // The field's first byte lies in the literal; its opcode may lie before.
    let mut at = start.max(2);
    // The last byte of a field just respelled, as a decoder has it at that point.
    let mut decoded = None;
    while at + 4 <= end {
        let (byte, before) = (file[at - 1], decoded.take().unwrap_or(file[at - 2]));
        let immediate = match byte {
            0xE8 => 0,
            _ if byte & 0xC7 == 0x05 => operand_bytes(before).into(),
            _ => {
                at += 1;
                continue;
            }
        };
        let Some(field) = file[at..].first_chunk_mut::<4>() else { return };
        let number = i64::from(i32::from_le_bytes(*field));
        let after = address + (at - start) as i64 + 4 + immediate;
        let spelled = match spell {
            #[cfg(feature = "encode")]
            Spelling::Address if -after <= number && number < span - after => number + after,
            #[cfg(feature = "encode")]
            Spelling::Address if span - after <= number && number < span => number - span,
            Spelling::Distance if 0 <= number && number < span => number - after,
            Spelling::Distance if -after <= number && number < 0 => number + span,
            _ => number,
        };
        if spelled == number {
            at += 1;
        } else {
            #[cfg(feature = "encode")]
            if spell == Spelling::Address {
                decoded = Some(field[3]);
            }
            *field = (spelled as i32).to_le_bytes();
            at += 5;
        }
    }
}

/// Respells the words of `AArch64` code, whose first byte has this absolute address.
pub fn aarch64(code: &mut [u8], address: u64, spell: Spelling) {
    const CALL: u32 = (1 << 26) - 1;
    const PAGES: u32 = (1 << 21) - 1;
    let skipped = (address.wrapping_neg() & 3) as usize;
    let words = code.get_mut(skipped..).unwrap_or_default().as_chunks_mut::<4>().0;
    for (i, bytes) in words.iter_mut().enumerate() {
        let here = address.wrapping_add((skipped + i * 4) as u64);
        let word = u32::from_le_bytes(*bytes);
        let moved = |number: u32, here: u64| match spell {
            #[cfg(feature = "encode")]
            Spelling::Address => number.wrapping_add(here as u32),
            Spelling::Distance => number.wrapping_sub(here as u32),
        };
        let spelled = if word & !CALL == 0x9400_0000 {
            word & !CALL | moved(word, here >> 2) & CALL
        } else if word & 0x9f00_0000 == 0x9000_0000 {
            let pages = moved(word >> 29 & 3 | (word >> 5 & 0x7_ffff) << 2, here >> 12) & PAGES;
            word & 0x9f00_001f | (pages & 3) << 29 | (pages >> 2) << 5
        } else {
            continue;
        };
        *bytes = spelled.to_le_bytes();
    }
}

#[cfg(all(test, feature = "encode"))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_function_called_from_two_places_is_spelled_once() {
        let respell = |code: &mut [u8], spell| x86_64(code, 0..0x1000, 0, 0x1000, spell);
        let mut code = vec![0x90; 0x1000];
        for at in [0x100_usize, 0x234] {
            code[at] = 0xE8;
            code[at + 1..at + 5].copy_from_slice(&(0x777 - (at as i32 + 5)).to_le_bytes());
        }
        // A store of a byte: the distance counts from behind its operand.
        code[0x300..0x307].copy_from_slice(&[0xC6, 0x05, 0x70, 0x04, 0, 0, 1]);
        let plain = code.clone();
        respell(&mut code, Spelling::Address);
        assert_eq!(code[0x101..0x105], [0x77, 7, 0, 0]);
        assert_eq!(code[0x235..0x239], [0x77, 7, 0, 0]);
        assert_eq!(code[0x302..0x306], [0x77, 7, 0, 0]);
        respell(&mut code, Spelling::Distance);
        assert_eq!(code, plain);
    }

    #[test]
    fn the_opcode_behind_a_field_is_read_as_the_decoder_reads_it() {
        let respell =
            |code: &mut [u8], spell| x86_64(code, 0..0x40, 0x6000_0000, 0x7000_0000, spell);
        // The call's last byte, C0, makes an operand of one byte follow the next field.
        let mut code = vec![0x90; 0x40];
        code[0x0F] = 0xE8;
        code[0x10..0x14].copy_from_slice(&[0, 0, 0, 0xC0]);
        code[0x14] = 0x05;
        code[0x15..0x19].copy_from_slice(&[0x70, 0, 0, 0]);
        let plain = code.clone();
        respell(&mut code, Spelling::Address);
        assert_eq!(code[0x15..0x19], [0x8A, 0, 0, 0x60]);
        respell(&mut code, Spelling::Distance);
        assert_eq!(code, plain);
    }

    #[test]
    fn of_two_candidates_that_overlap_the_first_may_come_back_changed() {
        let respell = |code: &mut [u8], spell| x86_64(code, 0..0x40, 0x1000, 0x200_0000, spell);
        // The first call's number is out of range, until the second call is respelled.
        let mut code = vec![0x90; 0x40];
        code[0x0F..0x15].copy_from_slice(&[0xE8, 0xE8, 0x00, 0xFF, 0xFF, 0xFF]);
        let plain = code.clone();
        respell(&mut code, Spelling::Address);
        assert_eq!(code[0x0F..0x15], [0xE8, 0xE8, 0x15, 0x0F, 0, 0]);
        respell(&mut code, Spelling::Distance);
        assert_ne!(code, plain);
    }

    /// Overwrites candidates that overlap the one before.
    fn set_candidates_apart(code: &mut [u8]) {
        let mut free = 0;
        for (at, byte) in code.iter_mut().enumerate() {
            if *byte == 0xE8 || *byte & 0xC7 == 0x05 {
                if at < free {
                    *byte = 0x90;
                } else {
                    free = at + 5;
                }
            }
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_back_whose_candidates_do_not_overlap(
            mut code in prop::collection::vec(
                prop_oneof![any::<u8>(), Just(0xE8), Just(0x05), Just(0x94), Just(0x90), Just(0)],
                0..400,
            ),
            cuts in prop::collection::vec(0..50_usize, 0..8),
            is_arm in any::<bool>(),
            address in 0..4_u32,
        ) {
            let (mut ranges, mut at) = (Vec::new(), 0);
            for cut in cuts {
                ranges.push(at..at + cut);
                at += cut + cut / 2;
            }
            ranges.retain(|range| range.end <= code.len());
            ranges.push(at.min(code.len())..code.len());
            if !is_arm {
                set_candidates_apart(&mut code);
            }
            let plain = code.clone();
            let span = code.len() as u32;
            for spell in [Spelling::Address, Spelling::Distance] {
                for range in &ranges {
                    if is_arm {
                        let here = u64::from(address) + range.start as u64;
                        aarch64(&mut code[range.clone()], here, spell);
                    } else {
                        x86_64(&mut code, range.clone(), range.start as i64, span, spell);
                    }
                }
            }
            prop_assert_eq!(code, plain);
        }
    }
}
