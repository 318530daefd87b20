//! References in AArch64 code: branches, and addresses made of a page and its low 12 bits.
//! Never follows control flow: it tracks registers word by word, and a wrong pair is harmless.
//!
//! `ADRP` loads the page of an address; a later `ADD`, load or store adds the low 12 bits. Neither
//! has the full address. Data that moves by a few bytes changes some pages and all low bits. So the
//! two are paired by register and get one target. `ADR` and literal loads are left out: constants
//! in hand-written assembler decode as such.

use crate::{
    elf::MemoryImage,
    fields::{Field, Form},
};
use std::ops::Range;

/// Most words between an `ADRP` and the instruction that uses it.
const PAIRED: usize = 256;

/// A page that a register holds.
#[derive(Clone, Copy)]
struct HeldPage {
    /// First address of the page, relative to the image.
    address: i64,
    /// Index of the word that loaded it.
    word: usize,
    /// The field that takes over the full address of the first use; `None` after that.
    field: Option<usize>,
}

/// Adds the fields of `code` that start in `within`. `code` is a zone, which lies at offset `at` and
/// relative address `address`.
///
/// A field depends on the [`PAIRED`] words before it and behind it, and on no others.
pub(crate) fn collect(
    code: &[u8],
    (at, address): (usize, u32),
    within: Range<usize>,
    image: &MemoryImage,
    list: &mut Vec<Field>,
) {
    let unaligned = (image.low.wrapping_add(address.into()).wrapping_neg() & 3) as usize;
    let words = code.get(unaligned..).unwrap_or_default().as_chunks::<4>().0;
    let word_of = |offset: usize| offset.saturating_sub(unaligned).div_ceil(4);
    let first = word_of(within.start).saturating_sub(PAIRED);
    let last = (word_of(within.end) + PAIRED).min(words.len());
    let words = words.get(first..last).unwrap_or_default();
    let skipped = unaligned + first * 4;
    let kept = list.len();
    let mut pages = [HeldPage { address: 0, word: 0, field: None }; 32];
    // One bit for each register whose entry in `pages` is valid.
    let mut held = 0_u32;
    for (i, word) in words.iter().enumerate() {
        let word = u32::from_le_bytes(*word);
        let class = CLASSES[(word >> 24) as usize];
        let register = 1_u32 << (word & 31);
        if matches!(class, InstructionClass::Writes | InstructionClass::Other) {
            // Two thirds of all words end here, in one branch for both classes.
            held &= !(register & u32::from(class == InstructionClass::Writes).wrapping_neg());
            continue;
        }
        let offset = skipped + i * 4;
        let here = i64::from(address) + offset as i64;
        let mut push = |target: i64, form| {
            let target = u32::try_from(target).ok().filter(|&target| target < image.span)?;
            list.push(Field { at: (at + offset) as u32, target, form });
            Some(list.len() - 1)
        };
        let mut branch = |form, distance: i32| {
            if distance != 0 {
                push(here + i64::from(distance) * 4, form);
            }
        };
        match class {
            InstructionClass::Jump => branch(Form::Branch26, signed(word, 26)),
            InstructionClass::Call => {
                branch(Form::Branch26, signed(word, 26));
                held &= !CLOBBERED;
            }
            InstructionClass::System if word & 0xffff_fc1f == 0xd63f_0000 => held &= !CLOBBERED,
            // With this bit set it is another kind of branch.
            InstructionClass::Conditional if word & 0x10 == 0 => {
                branch(Form::Branch19, signed(word >> 5, 19));
            }
            InstructionClass::Compare => branch(Form::Branch19, signed(word >> 5, 19)),
            InstructionClass::Test => branch(Form::Branch14, signed(word >> 5, 14)),
            // A linker will put the page there.
            InstructionClass::Page if image.is_object() => held &= !register,
            InstructionClass::Page => {
                let distance = signed(word >> 29 & 3 | (word >> 5 & 0x7_ffff) << 2, 21);
                let absolute = image.low.cast_signed().wrapping_add(here);
                let start = ((absolute >> 12) + i64::from(distance)) << 12;
                let address = start.wrapping_sub(image.low.cast_signed());
                // The field's target is the page until the first use names the address.
                let field = push(address, Form::Page21);
                pages[(word & 31) as usize] = HeldPage { address, word: i, field };
                held = if field.is_some() { held | register } else { held & !register };
            }
            InstructionClass::Add | InstructionClass::Access | InstructionClass::VectorAccess => {
                let kind = word >> 22 & 3;
                let base = (word >> 5 & 31) as usize;
                // An addition with this field set shifts its number or is another instruction.
                let is_low = class != InstructionClass::Add || kind == 0;
                if is_low && held >> base & 1 == 1 && i - pages[base].word <= PAIRED {
                    let page = &mut pages[base];
                    let scale = match class {
                        InstructionClass::Add => 0,
                        InstructionClass::VectorAccess if word >> 30 == 0 && kind >= 2 => 4,
                        _ => (word >> 30) as u8,
                    };
                    let target = page.address + i64::from((word >> 10 & 0xfff) << scale);
                    if push(target, Form::Low12(scale)).is_some()
                        && let Some(field) = page.field.take()
                    {
                        list[field].target = target as u32;
                    }
                }
                let is_load = class == InstructionClass::Access && kind != 0;
                if class == InstructionClass::Add || is_load {
                    held &= !register;
                }
            }
            InstructionClass::OtherAccess if word >> 22 & 3 != 0 => held &= !register,
            InstructionClass::PairAccess if word >> 22 & 1 == 1 => {
                held &= !(register | 1 << (word >> 10 & 31));
            }
            _ => {}
        }
    }
    let is_before = |field: &Field| (field.at as usize) < at + within.start;
    let before = list[kept..].partition_point(is_before);
    list.drain(kept..kept + before);
    let inside = list[kept..].partition_point(|field| (field.at as usize) < at + within.end);
    list.truncate(kept + inside);
}

/// Sign-extends the low bits of a number.
#[inline]
fn signed(number: u32, bits: u32) -> i32 {
    (number << (32 - bits)).cast_signed() >> (32 - bits)
}

/// The registers that a callee need not keep: 0 to 18, and the return address.
const CLOBBERED: u32 = 0x7_ffff | 1 << 30;

/// The kind of an instruction, as far as its highest byte shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum InstructionClass {
    /// `B`.
    Jump,
    /// `BL`.
    Call,
    /// `B.cond`.
    Conditional,
    /// `CBZ`, `CBNZ`.
    Compare,
    /// `TBZ`, `TBNZ`.
    Test,
    /// Other branches and system instructions.
    System,
    /// `ADRP`.
    Page,
    /// `ADD` of a number to a 64-bit register.
    Add,
    /// Load or store of a general register at an unsigned offset.
    Access,
    /// The same of a vector register.
    VectorAccess,
    /// Load or store of two general registers.
    PairAccess,
    /// Another load or store of general registers.
    OtherAccess,
    /// Writes the register in its lowest five bits.
    Writes,
    /// Writes no general register that matters here.
    Other,
}

/// The class of each highest byte.
const CLASSES: [InstructionClass; 256] = {
    let mut classes = [InstructionClass::Other; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = class(byte as u32);
        byte += 1;
    }
    classes
};

/// The class of the instructions with this highest byte.
const fn class(byte: u32) -> InstructionClass {
    let vector = byte & 0x04 != 0;
    match byte {
        _ if byte & 0xfc == 0x14 => InstructionClass::Jump,
        _ if byte & 0xfc == 0x94 => InstructionClass::Call,
        0x54 => InstructionClass::Conditional,
        _ if byte & 0x7e == 0x34 => InstructionClass::Compare,
        _ if byte & 0x7e == 0x36 => InstructionClass::Test,
        _ if byte & 0x9f == 0x90 => InstructionClass::Page,
        0x91 => InstructionClass::Add,
        _ if byte & 0x3b == 0x39 => {
            if vector {
                InstructionClass::VectorAccess
            } else {
                InstructionClass::Access
            }
        }
        _ => match byte >> 1 & 0xf {
            0b1010 | 0b1011 => InstructionClass::System,
            0b0100 | 0b0110 | 0b1100 | 0b1110 if vector => InstructionClass::Other,
            0b0100 | 0b0110 | 0b1100 | 0b1110 if byte & 0x3a == 0x28 => {
                InstructionClass::PairAccess
            }
            0b0100 | 0b0110 | 0b1100 | 0b1110 => InstructionClass::OtherAccess,
            // Vector arithmetic.
            0b0111 | 0b1111 => InstructionClass::Other,
            _ => InstructionClass::Writes,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields_of(words: &[u32]) -> Vec<(u32, u32, Form)> {
        let code: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let image = MemoryImage::flat(0x10_0000).unwrap();
        let mut list = Vec::new();
        collect(&code, (0x1000, 0x1000), 0..code.len(), &image, &mut list);
        list.iter().map(|field| (field.at, field.target, field.form)).collect()
    }

    #[test]
    fn branches_refer_to_words() {
        let words = [0x9400_0004, 0x17ff_fffe, 0x5400_0041, 0x3600_0062, 0xb500_0023];
        let expected = [
            (0x1000, 0x1010, Form::Branch26),
            (0x1004, 0x0ffc, Form::Branch26),
            (0x1008, 0x1010, Form::Branch19),
            (0x100c, 0x1018, Form::Branch14),
            (0x1010, 0x1014, Form::Branch19),
        ];
        assert_eq!(fields_of(&words), expected);
    }

    #[test]
    fn page_and_low_bits_share_one_target() {
        // adrp x0, +0x20 pages; ldr x1, [x0, #0x18]; add x0, x0, #0x123; ldr w2, [x0, #4]
        let words = [0x9000_0100, 0xf940_0c01, 0x9104_8c00, 0xb940_0402];
        let expected = [
            (0x1000, 0x21018, Form::Page21),
            (0x1004, 0x21018, Form::Low12(3)),
            (0x1008, 0x21123, Form::Low12(0)),
        ];
        assert_eq!(fields_of(&words), expected);
        // The call may overwrite x0.
        let words = [0x9000_0100, 0x9400_0004, 0x9104_8c00];
        let forms: Vec<Form> = fields_of(&words).iter().map(|field| field.2).collect();
        assert_eq!(forms, [Form::Page21, Form::Branch26]);
    }
}
