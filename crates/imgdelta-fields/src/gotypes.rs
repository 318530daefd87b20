//! Finds the offsets in the type descriptors of Go programs.
//! Never follows a chain of types: it tests every eighth byte of their range for a descriptor.
//!
//! A descriptor has 32-bit offsets to its name, its pointer type and its methods, from the start of
//! all descriptors or of the code. Its fixed part (sizes, alignments, a kind, two pointers) is so
//! regular that few other bytes look like it. A false one is harmless while its bytes do not move.

use crate::{
    elf::{MemoryImage, Section},
    fields::{Fields, Form},
    gopclntab::GoTables,
};
use imgdelta_wire::fixed::{u32_at, u64_at};

/// Bytes of a descriptor that all kinds share.
const COMMON: usize = 48;

/// Most methods of one type; real programs stay far below.
const MAX_METHODS: usize = 4096;

/// The addresses that offsets count from, each with its anchor.
#[derive(Clone, Copy)]
struct OffsetBases {
    types: (u32, u8),
    text: (u32, u8),
}

/// Adds the fields of all type descriptors, and of the list of those that can be looked up.
pub(crate) fn collect(
    file: &[u8],
    image: &MemoryImage,
    sections: &[Section<'_>],
    tables: &GoTables,
    fields: &mut Fields,
) -> Option<()> {
    let (start, end) = tables.module()?.types;
    let from = OffsetBases {
        types: (start, fields.anchor(start, 1)?),
        text: (tables.text(), fields.anchor(tables.text(), 1)?),
    };
    if let Some(list) = sections.iter().find(|section| section.name == b".typelink") {
        let words = file.get(list.offset..list.offset + list.len)?.chunks_exact(4);
        for i in 0..words.len() {
            add(file, list.offset + i * 4, from.types, image, fields);
        }
    }
    let (start, end) = (image.offset(start)?, image.offset(end)?);
    let mut methods_left = file.len() / 16; // all methods lie somewhere: bounds overlapping lists
    let mut at = start;
    while at + COMMON <= end.min(file.len()) {
        at += if descriptor(file, at, from, image, &mut methods_left, fields).is_some() {
            COMMON
        } else {
            8
        };
    }
    Some(())
}

/// Adds the fields of the descriptor at `at`, if there is one.
fn descriptor(
    file: &[u8],
    at: usize,
    from: OffsetBases,
    image: &MemoryImage,
    methods_left: &mut usize,
    fields: &mut Fields,
) -> Option<()> {
    const INTERFACE: u8 = 20;
    const NAMED: u8 = 1;
    let head = file.get(at..at + COMMON)?;
    let (flags, kind) = (head[20], head[23] & 0x1f);
    let aligned = |byte: u8| byte.is_power_of_two() && byte <= 16;
    let pointer = |i| u64_at(head, i).is_some_and(|p| p == 0 || image.relative(p).is_some());
    let name = u32_at(head, 40)?;
    let (size, pointers) = (u64_at(head, 0)?, u64_at(head, 8)?);
    let sound = pointers <= size
        && u32::try_from(size).is_ok()
        && aligned(head[21])
        && aligned(head[22])
        && flags < 32
        && (1..=26).contains(&kind)
        && pointer(24)
        && pointer(32)
        && name != 0
        && u64::from(from.types.0) + u64::from(name) < u64::from(image.span);
    if !sound {
        return None;
    }
    add(file, at + 40, from.types, image, fields);
    add(file, at + 44, from.types, image, fields);
    if kind == INTERFACE {
        let list = image.relative(u64_at(file, at + 56)?).and_then(|list| image.offset(list))?;
        let count = usize::try_from(u64_at(file, at + 64)?).ok()?.min(MAX_METHODS);
        for i in 0..count.min(*methods_left) * 2 {
            add(file, list + i * 4, from.types, image, fields);
        }
        *methods_left -= count.min(*methods_left);
    }
    if flags & NAMED != 0 {
        // The part about methods follows the kind's own part.
        let own = match kind {
            17 => 24,          // array
            18 => 16,          // channel
            19 | 22 | 23 => 8, // function, pointer, slice
            20 | 25 => 32,     // interface, struct
            21 => return None, // maps differ from release to release
            _ => 0,
        };
        let named = at + COMMON + own;
        add(file, named, from.types, image, fields);
        let count = usize::from((u32_at(file, named + 4)? & 0xffff) as u16).min(MAX_METHODS);
        let list = named.checked_add(u32_at(file, named + 8)? as usize)?;
        let count = count.min(*methods_left);
        *methods_left -= count;
        for i in 0..count {
            let method = list + i * 16;
            for (word, from) in [from.types, from.types, from.text, from.text].iter().enumerate() {
                add(file, method + word * 4, *from, image, fields);
            }
        }
    }
    Some(())
}

/// Adds the offset at `at`, unless it is empty.
fn add(file: &[u8], at: usize, from: (u32, u8), image: &MemoryImage, fields: &mut Fields) {
    if let Some(value) = u32_at(file, at).filter(|&value| value != 0 && value != u32::MAX) {
        let target = i64::from(from.0) + i64::from(value);
        fields.push(at, target, Form::Anchored32(from.1), image.span);
    }
}
