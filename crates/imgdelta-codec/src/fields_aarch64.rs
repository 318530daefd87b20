//! References in AArch64 code: branches, and addresses made of a page and its low 12 bits.
//! Never follows control flow: registers are tracked line by line, and a wrong pair is harmless while both move alike.
//!
//! `ADRP` loads the page of an address, a later `ADD`, load or store adds the low 12 bits. Alone,
//! neither says where it refers to; when data moves by a few bytes, some pages change and all
//! low bits do. So the two are paired by register: both get the full address as their target.
//! `ADR` and literal loads are left out: in hand-written assembler, constants decode as such.

use crate::{
    elf::Image,
    fields::{Field, Form},
};

/// An `ADRP` and its user lie at most this many words apart.
const PAIRED: usize = 256;

/// A page that a register holds.
#[derive(Clone, Copy)]
struct Page {
    /// First address of the page, relative to the image.
    address: i64,
    /// Word that loaded it.
    word: usize,
    /// The field that will take over the full address of the first user, if there is none yet.
    field: Option<usize>,
}

/// Adds the fields of `code`, which lies at offset `at` and relative address `address`.
pub(crate) fn collect(code: &[u8], at: usize, address: u32, image: &Image, list: &mut Vec<Field>) {
    let skipped = (image.low.wrapping_add(address.into()).wrapping_neg() & 3) as usize;
    let words = code.get(skipped..).unwrap_or_default().as_chunks::<4>().0;
    let mut pages: [Option<Page>; 32] = [None; 32];
    for (i, word) in words.iter().enumerate() {
        let word = u32::from_le_bytes(*word);
        let offset = skipped + i * 4;
        let here = i64::from(address) + offset as i64;
        let mut push = |target: i64, form| {
            let target = u32::try_from(target).ok().filter(|&target| target < image.span)?;
            list.push(Field { at: (at + offset) as u32, target, form });
            Some(list.len() - 1)
        };
        match class(word) {
            Class::Branch(form, distance) => {
                if distance != 0 {
                    push(here + i64::from(distance) * 4, form);
                }
                if word >> 31 == 1 && form == Form::Branch26 {
                    call(&mut pages);
                }
            }
            Class::Call => call(&mut pages),
            Class::Page(distance) => {
                let absolute = image.low.cast_signed().wrapping_add(here);
                let start = ((absolute >> 12) + i64::from(distance)) << 12;
                let address = start.wrapping_sub(image.low.cast_signed());
                // Its first user will name the address; until then the page stands for it.
                let field = push(address, Form::Page21);
                pages[low_register(word)] = field.map(|_| Page { address, word: i, field });
            }
            Class::Low { scale, written } => {
                let base = (word >> 5 & 31) as usize;
                if let Some(page) = pages[base].filter(|page| i - page.word <= PAIRED) {
                    let target = page.address + i64::from((word >> 10 & 0xfff) << scale);
                    if push(target, Form::Low12(scale)).is_some()
                        && let Some(field) = page.field
                    {
                        list[field].target = target as u32;
                        pages[base] = Some(Page { field: None, ..page });
                    }
                }
                if written {
                    pages[low_register(word)] = None;
                }
            }
            Class::PairLoad => {
                pages[low_register(word)] = None;
                pages[(word >> 10 & 31) as usize] = None;
            }
            Class::Writes => pages[low_register(word)] = None,
            Class::Other => {}
        }
    }
}

/// A call may overwrite the registers that a callee need not keep.
fn call(pages: &mut [Option<Page>; 32]) {
    pages[..=18].fill(None);
    pages[30] = None;
}

fn low_register(word: u32) -> usize {
    (word & 31) as usize
}

/// What an instruction does to pages in registers.
enum Class {
    /// A branch with a distance in words.
    Branch(Form, i32),
    /// A call through a register.
    Call,
    /// `ADRP`, with a distance in pages.
    Page(i32),
    /// Adds 12 low bits to a base register.
    Low { scale: u8, written: bool },
    /// Loads two registers.
    PairLoad,
    /// Writes the register in its lowest five bits.
    Writes,
    /// Writes no general register, as far as anyone needs to know.
    Other,
}

#[inline]
fn class(word: u32) -> Class {
    let signed = |number: u32, bits: u32| (number << (32 - bits)).cast_signed() >> (32 - bits);
    if word & 0x7c00_0000 == 0x1400_0000 {
        return Class::Branch(Form::Branch26, signed(word, 26));
    }
    if word & 0xff00_0010 == 0x5400_0000 || word & 0x7e00_0000 == 0x3400_0000 {
        return Class::Branch(Form::Branch19, signed(word >> 5, 19));
    }
    if word & 0x7e00_0000 == 0x3600_0000 {
        return Class::Branch(Form::Branch14, signed(word >> 5, 14));
    }
    if word & 0x9f00_0000 == 0x9000_0000 {
        return Class::Page(signed(word >> 29 & 3 | (word >> 5 & 0x7_ffff) << 2, 21));
    }
    if word & 0xffc0_0000 == 0x9100_0000 {
        return Class::Low { scale: 0, written: true };
    }
    let vector = word & 0x0400_0000 != 0;
    if word & 0x3b00_0000 == 0x3900_0000 {
        let (size, kind) = ((word >> 30) as u8, word >> 22 & 3);
        let scale = if vector && size == 0 && kind >= 2 { 4 } else { size };
        return Class::Low { scale, written: !vector && kind != 0 };
    }
    match word >> 25 & 0xf {
        0b1010 | 0b1011 if word & 0xffff_fc1f == 0xd63f_0000 => Class::Call,
        // Loads and stores.
        0b0100 | 0b0110 | 0b1100 | 0b1110 if vector => Class::Other,
        0b0100 | 0b0110 | 0b1100 | 0b1110 => {
            let pair = word & 0x3a00_0000 == 0x2800_0000;
            match (pair, word >> 22 & 3) {
                (true, kind) if kind & 1 == 1 => Class::PairLoad,
                (true, _) | (false, 0) => Class::Other,
                (false, _) => Class::Writes,
            }
        }
        // Other branches; vector arithmetic.
        0b1010 | 0b1011 | 0b0111 | 0b1111 => Class::Other,
        _ => Class::Writes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields_of(words: &[u32]) -> Vec<(u32, u32, Form)> {
        let code: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let image = Image::flat(0x10_0000).unwrap();
        let mut list = Vec::new();
        collect(&code, 0x1000, 0x1000, &image, &mut list);
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
        // A call in between may have overwritten x0.
        let words = [0x9000_0100, 0x9400_0004, 0x9104_8c00];
        let forms: Vec<Form> = fields_of(&words).iter().map(|field| field.2).collect();
        assert_eq!(forms, [Form::Page21, Form::Branch26]);
    }
}
