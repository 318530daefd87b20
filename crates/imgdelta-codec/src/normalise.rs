//! Encoder only: rewrites fields as labels of what they refer to, so that moved code looks equal.
//! Never seen by a decoder: labels steer the matcher, and a bad label costs bytes, not truth.
//!
//! First round: a label is a hash of the bytes at the target with all fields blanked, so the call of
//! a function looks the same wherever the function lies. Second round: the first round's copies
//! tell where each target lay in the base, and the label is that address, which is exact.

use crate::{
    elf::Image,
    fields::{Fields, Form},
    map::AddressMap,
    script::Copy,
};

/// Bytes at a target that its label is made of: about four instructions.
const LABELLED: usize = 24;

/// `file` with each field replaced by a hash of the bytes it refers to.
pub(crate) fn by_content(file: &[u8], image: &Image, fields: &Fields) -> Vec<u8> {
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

/// `file` with each field replaced by the address it refers to.
pub(crate) fn by_address(file: &[u8], fields: &Fields) -> Vec<u8> {
    let mut labelled = file.to_vec();
    for field in &fields.list {
        write_label(&mut labelled[field.at as usize..], field.form, field.target);
    }
    labelled
}

/// The target's file with each field replaced by the address its target has in the base.
pub(crate) fn projected(
    file: &[u8],
    image: &Image,
    fields: &Fields,
    base: &Image,
    copies: &[Copy],
) -> Vec<u8> {
    let back: Vec<Copy> = copies
        .iter()
        .map(|copy| Copy { target: copy.base, base: copy.target, len: copy.len })
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

/// Writes as much of a label as the field has room for; bits that are no number stay.
fn write_label(bytes: &mut [u8], form: Form, label: u32) {
    let label = match form {
        Form::Absolute64 | Form::Absolute64InData => u64::from(label) | 0x5555_5555 << 32,
        Form::Page21 => u64::from(label >> 12 ^ label & 0xfff),
        Form::Low12(scale) => u64::from(label >> scale),
        _ => u64::from(label),
    };
    form.add(bytes, label.cast_signed().wrapping_sub(form.number(bytes)));
}
