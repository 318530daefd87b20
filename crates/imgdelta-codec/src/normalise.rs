//! Encoder only: replaces fields by labels of their targets, so that moved code looks equal.
//! Never used by a decoder: labels steer the matcher, and a bad label costs bytes, not correctness.
//!
//! In the first round a label is a hash of the bytes at the target, with all fields blanked. So a
//! call of a function looks the same wherever the function lies. In the second round the label is
//! the target's address in the base, which the first round's copies give exactly.

use crate::{
    elf::MemoryImage,
    fields::{Fields, Form},
    map::AddressMap,
    script::BaseCopy,
};

/// Bytes at a target that make up its label: about four instructions.
const LABELLED: usize = 24;

/// Returns `file` with each field replaced by a hash of the bytes it refers to.
pub(crate) fn by_content(file: &[u8], image: &MemoryImage, fields: &Fields) -> Vec<u8> {
    let mut blank = file.to_vec();
    for field in &fields.list {
        write_label(&mut blank[field.at as usize..], field.form, 0);
    }
    let label = |target: u32| {
        let Some(offset) = image.offset(target) else { return 1 };
        let bytes = &blank[offset..blank.len().min(offset + LABELLED)];
        let (words, rest) = bytes.as_chunks::<8>();
        let mut hash = rest.iter().fold(0, |hash, &byte| hash << 8 | u64::from(byte));
        for word in words {
            hash = (hash.rotate_left(23) ^ u64::from_le_bytes(*word))
                .wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
        (hash >> 32) as u32
    };
    let labels: Vec<u32> = fields.list.iter().map(|field| label(field.target)).collect();
    for (field, label) in fields.list.iter().zip(labels) {
        write_label(&mut blank[field.at as usize..], field.form, label);
    }
    blank
}

/// Returns `file` with each field replaced by the address it refers to.
pub(crate) fn by_address(file: &[u8], fields: &Fields) -> Vec<u8> {
    let mut labelled = file.to_vec();
    for field in &fields.list {
        write_label(&mut labelled[field.at as usize..], field.form, field.target);
    }
    labelled
}

/// Returns the target's file with each field replaced by its target's address in the base.
pub(crate) fn projected(
    file: &[u8],
    image: &MemoryImage,
    fields: &Fields,
    base: &MemoryImage,
    copies: &[BaseCopy],
) -> Vec<u8> {
    let back: Vec<BaseCopy> = copies
        .iter()
        .map(|copy| BaseCopy { target: copy.base, base: copy.target, len: copy.len })
        .collect();
    let steps = AddressMap::plain_steps(&back, image, base);
    let map = AddressMap::new(&steps, &[], image);
    let moved = image.low.wrapping_sub(base.low);
    let mut labelled = file.to_vec();
    for field in &fields.list {
        let label = match map.shift(field.target) {
            Some(shift) => {
                let address = u64::from(field.target).wrapping_add(moved);
                address.wrapping_add_signed(shift.into()) as u32
            }
            None => field.target ^ 0x8000_0000,
        };
        write_label(&mut labelled[field.at as usize..], field.form, label);
    }
    labelled
}

/// Writes the part of a label that the field has room for; all other bits stay.
fn write_label(bytes: &mut [u8], form: Form, label: u32) {
    let label = match form {
        Form::Absolute64 | Form::Absolute64InData => u64::from(label) | 0x5555_5555 << 32,
        Form::Page21 => u64::from(label >> 12 ^ label & 0xfff),
        Form::Low12(scale) => u64::from(label >> scale),
        _ => u64::from(label),
    };
    form.add(bytes, label.cast_signed().wrapping_sub(form.number(bytes)));
}
