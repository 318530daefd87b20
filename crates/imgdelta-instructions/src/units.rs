//! Making side only: a function as the instructions that may be paired.
//! Never keeps an instruction's bytes: fields that a change may replace, and the class of the rest.

use crate::{
    aarch64,
    edit::{Edit, Fields},
    instruction::Instruction,
    scan,
    set::InstructionSet,
};

/// The bytes of a function.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Function<'a> {
    /// The bytes of the file.
    pub(crate) raw: &'a [u8],
    /// The same with each call and memory operand replaced by a label of its target, alike on both
    /// sides.
    pub(crate) labelled: &'a [u8],
    pub(crate) set: InstructionSet,
}

/// One instruction of a function.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unit {
    pub(crate) at: u32,
    pub(crate) len: u8,
    mapped: Mapped,
    label: u32,
    /// Equal if a change may turn one into the other.
    class: u64,
    fields: Fields,
}

/// The number of an instruction that is an address, which follows from the map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mapped {
    None,
    Displacement,
    Immediate,
    /// The only number, whose length is fixed.
    Only,
}

/// Costs in tenths of a bit: a changed label, register or number; a change at all.
const LABEL: u32 = 170;
const REGISTER: u32 = 60;
const NUMBER: u32 = 80;
const CHANGE: u32 = 30;
/// A new instruction, and each of its bytes.
const NEW: u32 = 80;
const NEW_BYTE: u32 = 28;

const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

impl Unit {
    /// Returns a number that is equal for instructions with the same class and label.
    #[inline]
    pub(crate) fn token(&self) -> u64 {
        (self.class ^ u64::from(self.label) << 29).wrapping_mul(MULTIPLIER)
    }

    #[inline]
    pub(crate) fn new_cost(&self) -> u32 {
        NEW + NEW_BYTE * u32::from(self.len)
    }

    /// Returns the cost of making `target` from this instruction; `None` if that cannot be.
    #[inline]
    pub(crate) fn cost(&self, target: &Self) -> Option<u32> {
        if self.class != target.class {
            return None;
        }
        let cost = if self.label == target.label { 0 } else { LABEL };
        if self.fields == target.fields {
            return Some(cost);
        }
        let (old, new) = (&self.fields, &self.wanted(target));
        let mut changed = 0;
        for (old, new) in
            [(old.register, new.register), (old.base, new.base), (old.index, new.index)]
        {
            changed += if old == new { 0 } else { REGISTER };
        }
        changed += if old.displacement == new.displacement { 0 } else { NUMBER };
        changed += if old.immediate == new.immediate { 0 } else { NUMBER };
        changed += if old.is_short == new.is_short { 0 } else { REGISTER };
        new.immediate.checked_sub(old.immediate)?;
        Some(if changed > 0 { cost + changed + CHANGE } else { cost })
    }

    /// Returns the change that makes this instruction into `target`, which is of its class.
    pub(crate) fn edit(&self, target: &Self) -> Option<Edit> {
        self.fields.edit(&self.wanted(target)).filter(|edit| !edit.is_empty())
    }

    /// Returns the fields that this instruction gets to become `target`: an address stays, unless
    /// that would give another length.
    #[inline]
    fn wanted(&self, target: &Self) -> Fields {
        let (old, mut new) = (&self.fields, target.fields);
        let are_long = |a: i64, b: i64| i8::try_from(a).is_err() && i8::try_from(b).is_err();
        match self.mapped {
            Mapped::Displacement if are_long(old.displacement.into(), new.displacement.into()) => {
                new.displacement = old.displacement;
            }
            Mapped::Immediate if are_long(old.immediate, new.immediate) => {
                new.immediate = old.immediate;
            }
            Mapped::Only => {
                (new.displacement, new.immediate) = (old.displacement, old.immediate);
            }
            _ => {}
        }
        new
    }
}

/// Replaces `base_units` and `target_units` by the instructions of two functions.
///
/// Labelled bytes that are equal at their starts and ends need no change: of their instructions only
/// the places are read.
pub(crate) fn read_units(
    (base, base_units): (Function<'_>, &mut Vec<Unit>),
    (target, target_units): (Function<'_>, &mut Vec<Unit>),
) {
    base_units.clear();
    target_units.clear();
    let (old, new) = (base.labelled, target.labelled);
    let start = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let most = old.len().min(new.len()) - start;
    let ends = old.iter().rev().zip(new.iter().rev()).take(most);
    let end = ends.take_while(|(a, b)| a == b).count();

    let at = base.read_places(0, start, base_units);
    target_units.extend_from_slice(base_units);
    let base_at = base.read_units(at, old.len() - end, base_units);
    let target_at = target.read_units(at, new.len() - end, target_units);
    if old.len() - base_at == new.len() - target_at {
        let first = base_units.len();
        base.read_places(base_at, old.len(), base_units);
        let at = |at: u32| (at as usize - base_at + target_at) as u32;
        let ends = base_units[first..].iter().map(|unit| Unit { at: at(unit.at), ..*unit });
        target_units.extend(ends);
    } else {
        base.read_units(base_at, old.len(), base_units);
        target.read_units(target_at, new.len(), target_units);
    }
}

impl Function<'_> {
    /// Adds the instructions from `at` up to the first one that starts at `end` or behind it, and
    /// returns the place of that one.
    fn read_units(&self, mut at: usize, end: usize, units: &mut Vec<Unit>) -> usize {
        while at < end {
            let (raw, labelled) = (&self.raw[at..], &self.labelled[at..]);
            let unit = match self.set {
                InstructionSet::X86_64 => x86_64(raw, labelled),
                InstructionSet::Aarch64 => word(raw, labelled),
            };
            units.push(Unit { at: at as u32, ..unit });
            at += usize::from(unit.len);
        }
        at
    }

    /// Adds the instructions from `at` on that end before `end` or there, with their places alone,
    /// and returns the place behind the last one.
    fn read_places(&self, mut at: usize, end: usize, units: &mut Vec<Unit>) -> usize {
        loop {
            let len = if at < end { self.set.length(&self.raw[at..]) } else { 0 };
            if len == 0 || at + len > end {
                return at;
            }
            units.push(Unit { at: at as u32, len: len as u8, ..UNREAD });
            at += len;
        }
    }
}

/// An instruction that is equal on both sides.
const UNREAD: Unit =
    Unit { at: 0, len: 0, mapped: Mapped::None, label: 0, class: 0, fields: Fields::NONE };

/// Returns the x86-64 instruction at the front of `raw`.
fn x86_64(raw: &[u8], labelled: &[u8]) -> Unit {
    let Some((instruction, bytes)) = Instruction::read_with_bytes(raw) else {
        let len = scan::length(raw);
        return unknown(&labelled[..len]);
    };
    let len = bytes.as_slice().len();
    // Jumps mostly stay within their function, which has no labels of its own yet.
    let reference = bytes.reference();
    let label = reference.filter(|reference| reference.len == 4 && !instruction.has_forms());
    let label = label.and_then(|reference| labelled[reference.at..].first_chunk());
    let mut label = label.map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let mut mapped = Mapped::None;
    if reference.is_none() && raw[..len] != labelled[..len] {
        // An address: as an immediate it ends the instruction.
        let immediate_len = instruction.immediate_len();
        let last = len.saturating_sub(4)..len;
        let is_last = immediate_len == 4 && raw[last.clone()] != labelled[last];
        let end = if is_last { len } else { len.saturating_sub(immediate_len) };
        if let Some(address) = end.checked_sub(4).and_then(|at| labelled[at..].first_chunk()) {
            label = u32::from_le_bytes(*address);
            mapped = if is_last { Mapped::Immediate } else { Mapped::Displacement };
        }
    }
    let (class, fields) = (instruction.class(), instruction.fields());
    Unit { at: 0, len: len as u8, mapped, label, class, fields }
}

/// Returns the AArch64 instruction at the front of `raw`.
fn word(raw: &[u8], labelled: &[u8]) -> Unit {
    let (Some(word), Some(labelled_word)) = (aarch64::word(raw), aarch64::word(labelled)) else {
        return unknown(labelled);
    };
    let is_mapped = word != labelled_word;
    let (class, fields) = (aarch64::class(word), aarch64::fields(word));
    // Other branches than calls mostly stay within their function.
    let is_labelled = is_mapped && !aarch64::is_jump(word) || aarch64::is_call(word);
    let label = if is_labelled { labelled_word & aarch64::number_bits(word) } else { 0 };
    let mapped = if is_mapped { Mapped::Only } else { Mapped::None };
    Unit { at: 0, len: aarch64::WORD as u8, mapped, label, class, fields }
}

/// Returns the unit of bytes that cannot be changed.
fn unknown(labelled: &[u8]) -> Unit {
    let len = labelled.len();
    let hash = labelled.iter().fold(len as u64, |hash, &byte| {
        (hash.rotate_left(9) ^ u64::from(byte)).wrapping_mul(MULTIPLIER)
    });
    let class = hash | 1 << 63;
    Unit { at: 0, len: len as u8, mapped: Mapped::None, label: 0, class, fields: Fields::NONE }
}

/// Calls `visit` with the token of each instruction of a function: alike for instructions whose
/// registers and numbers alone differ. It knows less than [`Unit::token`] does, in a third of the time.
pub(crate) fn each_token(function: Function<'_>, mut visit: impl FnMut(u64)) {
    let Function { raw, labelled, set } = function;
    let mut at = 0;
    while at < raw.len() {
        let (raw, labelled) = (&raw[at..], &labelled[at..]);
        match set {
            InstructionSet::X86_64 => {
                let Some(parts) = scan::parts(raw) else {
                    visit(raw[0].into());
                    at += 1;
                    continue;
                };
                let modrm = if parts.modrm > 0 { raw[parts.modrm] } else { 0 };
                let is_relative = parts.modrm > 0 && modrm & 0xC7 == 5;
                let label = match parts.letter {
                    b'J' if parts.opcode == 0xE8 && parts.map == 0 => {
                        labelled.get(parts.immediate..)
                    }
                    _ if is_relative => labelled.get(parts.displacement..),
                    _ => None,
                };
                let label = label.and_then(|label| label.first_chunk());
                let label = label.map_or(0, |label| u32::from_le_bytes(*label));
                let operation = if parts.modrm > 0 {
                    let kind = if modrm >= 0xC0 { 0xC0 } else { u8::from(is_relative) };
                    u64::from(kind) << 24 | u64::from(parts.opcode)
                } else {
                    u64::from(match parts.letter {
                        b'r' | b's' | b't' => parts.opcode & 0xF8,
                        b'j' => 0x80 | parts.opcode & 0x0F,
                        _ => parts.opcode,
                    })
                };
                let operation =
                    operation | u64::from(parts.map) << 8 | u64::from(parts.rex & 8) << 16;
                visit((operation ^ u64::from(label) << 29).wrapping_mul(MULTIPLIER));
                at += parts.len();
            }
            InstructionSet::Aarch64 => {
                let unit = word(raw, labelled);
                visit(unit.token());
                at += usize::from(unit.len);
            }
        }
    }
}
