//! Encoder only: replaces fields by labels of their targets, so that moved code looks equal.
//! Never used by a decoder: labels steer the matcher, and a bad label costs bytes, not correctness.
//!
//! In the first round a label is a hash of the bytes at the target, with all fields blanked. So a
//! call of a function looks the same wherever the function lies. In the second round the label is
//! the target's address in the base, which the first round's copies give exactly. Any range of a
//! file is read on its own: a label may come from anywhere in the file.

use crate::{map::AddressMap, script::BaseCopy};
use imgdelta_fields::{
    elf::MemoryImage,
    field_index::FieldIndex,
    fields::{Field, Form},
    host::Host,
};
use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
};

/// Bytes at a target that make up its label: about four instructions.
const LABELLED: usize = 24;

/// Labels of the addresses of one side.
#[derive(Debug)]
pub(crate) enum Labels {
    /// Hashes of the bytes there.
    Content,
    /// The addresses themselves, of a base.
    Address,
    /// The addresses in the base, of a target.
    Projected(Projection),
}

/// A map back from addresses of a target to addresses of its base.
#[derive(Debug)]
pub(crate) struct Projection {
    map: AddressMap,
    /// Distance of the two images' lowest addresses.
    moved: u64,
}

impl Projection {
    /// Returns the map that `copies` give.
    pub(crate) fn new(copies: &[BaseCopy], base: &MemoryImage, target: &MemoryImage) -> Self {
        let back: Vec<BaseCopy> = copies
            .iter()
            .map(|copy| BaseCopy { target: copy.base, base: copy.target, len: copy.len })
            .collect();
        let steps = AddressMap::plain_steps(&back, target, base);
        let map = AddressMap::new(&steps, &[], target);
        Self { map, moved: target.low.wrapping_sub(base.low) }
    }

    fn label(&self, address: u32) -> u32 {
        match self.map.shift(address) {
            Some(shift) => {
                let address = u64::from(address).wrapping_add(self.moved);
                address.wrapping_add_signed(shift.into()) as u32
            }
            None => address ^ 0x8000_0000,
        }
    }
}

/// Returns a range of a file with each field in it replaced by the label of its target.
pub(crate) fn read(
    index: &FieldIndex<'_>,
    range: Range<usize>,
    labels: &Labels,
    host: &dyn Host,
) -> Vec<u8> {
    let mut read = index.file[range.clone()].to_vec();
    let start = range.start;
    let chunks: Vec<Mutex<&mut [u8]>> = read.chunks_mut(CHUNK_BYTES).map(Mutex::new).collect();
    host.each(chunks.len(), &|number| {
        let mut chunk = chunks[number].lock().unwrap_or_else(PoisonError::into_inner);
        let from = start + number * CHUNK_BYTES;
        let end = from + chunk.len();
        write_labels(index, from..end, from, labels, &mut chunk);
        host.release();
    });
    drop(chunks);
    // Fields that reach from one chunk into the next.
    for border in (start + CHUNK_BYTES..range.end).step_by(CHUNK_BYTES) {
        let reaching = index.divided_at(border);
        if let Some(at) = reaching.filter(|&at| at >= start) {
            write_labels(index, at..border, start, labels, &mut read);
        }
    }
    read
}

/// Writes the labels of the fields that start in `fields`; `read` starts at `start` in the file.
fn write_labels(
    index: &FieldIndex<'_>,
    fields: Range<usize>,
    start: usize,
    labels: &Labels,
    read: &mut [u8],
) {
    let mut contents = ContentLabels::new(index);
    index.each(fields, |field| {
        let Some(bytes) = read.get_mut(field.at as usize - start..) else { return };
        let label = match labels {
            // Names and types of another file: nothing is known about them.
            _ if field.target >= index.image.span => 1,
            // The bytes behind a place say nothing about its distance.
            Labels::Content if field.form.is_span() => 1,
            Labels::Content => contents.label(field.target),
            Labels::Address => field.target,
            Labels::Projected(back) => back.label(field.target),
        };
        write_label(bytes, field.form, label);
    });
}

/// Bytes that one thread labels at a time.
const CHUNK_BYTES: usize = 8 << 20;

/// Hashes of the bytes at addresses; the last ones are remembered, since many fields share a target.
struct ContentLabels<'a> {
    index: &'a FieldIndex<'a>,
    /// An address plus 1, or 0, and its label.
    known: Vec<(u32, u32)>,
    fields: Vec<Field>,
}

impl<'a> ContentLabels<'a> {
    const KNOWN_BITS: u32 = 13;

    fn new(index: &'a FieldIndex<'a>) -> Self {
        Self { index, known: vec![(0, 0); 1 << Self::KNOWN_BITS], fields: Vec::new() }
    }

    fn label(&mut self, address: u32) -> u32 {
        let place = (address.wrapping_mul(0x9E37_79B9) >> (32 - Self::KNOWN_BITS)) as usize;
        if self.known[place].0 == address + 1 {
            return self.known[place].1;
        }
        let label = self.hash(address);
        self.known[place] = (address + 1, label);
        label
    }

    fn hash(&mut self, address: u32) -> u32 {
        let Some(offset) = self.index.image.offset(address) else { return 1 };
        let file = self.index.file;
        let bytes = &file[offset..file.len().min(offset + LABELLED)];
        let mut blank = [0; LABELLED + 8];
        blank[..bytes.len()].copy_from_slice(bytes);
        self.index.alone(offset..offset + bytes.len(), &mut self.fields);
        for field in &self.fields {
            write_label(&mut blank[field.at as usize - offset..], field.form, 0);
        }
        let (words, rest) = blank[..bytes.len()].as_chunks::<8>();
        let mut hash = rest.iter().fold(0, |hash, &byte| hash << 8 | u64::from(byte));
        for word in words {
            hash = (hash.rotate_left(23) ^ u64::from_le_bytes(*word))
                .wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
        (hash >> 32) as u32
    }
}

/// Writes the part of a label that the field has room for; all other bits stay.
///
/// A field that reaches out of `bytes` stays as it is.
fn write_label(bytes: &mut [u8], form: Form, label: u32) {
    let label = match form {
        Form::Absolute64 | Form::Absolute64InData => u64::from(label) | 0x5555_5555 << 32,
        Form::Page21 => u64::from(label >> 12 ^ label & 0xfff),
        // The low bits of an address alone would mostly leave the field of a base as it is.
        Form::Low12(scale) => u64::from(label >> scale ^ label >> 12 ^ 0x800),
        _ => u64::from(label),
    };
    form.add(bytes, label.cast_signed().wrapping_sub(form.number(bytes)));
}
