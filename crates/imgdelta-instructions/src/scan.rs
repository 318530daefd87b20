//! The parts of one instruction: where its opcode, operands and numbers lie.
//! Never knows what an instruction does.

use crate::tables::{ONE_BYTE, TWO_BYTES};

/// Most bytes of an instruction.
pub(crate) const MAX_LEN: usize = 15;

/// The places of the parts of an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parts {
    /// Bytes of prefixes before REX.
    pub(crate) prefixes: usize,
    /// The REX prefix, or 0.
    pub(crate) rex: u8,
    /// 0 for opcodes of one byte, 1 behind 0F, 2 behind 0F 38, 3 behind 0F 3A.
    pub(crate) map: u8,
    pub(crate) opcode: u8,
    /// Letter of the opcode in its table.
    pub(crate) letter: u8,
    /// True behind a VEX or EVEX prefix.
    pub(crate) is_vex: bool,
    /// Place of `ModRM`, or 0 without one.
    pub(crate) modrm: usize,
    /// Place and length of the displacement.
    pub(crate) displacement: usize,
    pub(crate) displacement_len: usize,
    /// Place and length of the immediate or distance, which ends the instruction.
    pub(crate) immediate: usize,
    pub(crate) immediate_len: usize,
}

impl Parts {
    pub(crate) fn len(&self) -> usize {
        self.immediate + self.immediate_len
    }
}

/// Returns the parts of the instruction at the front of `code`; `None` if there is none that this
/// reader knows, or if it does not end within `code`.
#[inline]
pub(crate) fn parts(code: &[u8]) -> Option<Parts> {
    let code = &code[..code.len().min(MAX_LEN)];
    let mut at = 0;
    let mut letter;
    let mut opcode;
    loop {
        opcode = *code.get(at)?;
        letter = ONE_BYTE[usize::from(opcode)];
        at += 1;
        if letter != b'P' {
            break;
        }
    }
    let prefixes = at - 1;
    let mut rex = 0;
    if letter == b'R' {
        rex = opcode;
        opcode = *code.get(at)?;
        letter = ONE_BYTE[usize::from(opcode)];
        at += 1;
    }
    let (mut map, mut is_vex) = (0, false);
    match letter {
        b'0' => {
            opcode = *code.get(at)?;
            letter = TWO_BYTES[usize::from(opcode)];
            (map, at) = (1, at + 1);
            if let b'8' | b'A' = letter {
                (map, letter) = if letter == b'8' { (2, b'm') } else { (3, b'B') };
                opcode = *code.get(at)?;
                at += 1;
            }
        }
        b'U' | b'V' | b'E' if rex == 0 => {
            let selected = if letter == b'U' { 1 } else { *code.get(at)? & 7 };
            at += match letter {
                b'U' => 1,
                b'V' => 2,
                _ => 3,
            };
            opcode = *code.get(at)?;
            at += 1;
            (map, is_vex) = (selected, true);
            letter = match (selected, TWO_BYTES[usize::from(opcode)]) {
                (1, b'.') => b'.',
                (1, b'B') | (3, _) => b'B',
                (1 | 2 | 5 | 6, _) => b'm',
                _ => b'x',
            };
        }
        _ => {}
    }
    let mut parts = Parts {
        prefixes,
        rex,
        map,
        opcode,
        letter,
        is_vex,
        modrm: 0,
        displacement: 0,
        displacement_len: 0,
        immediate: 0,
        immediate_len: 0,
    };
    let mut register = 0;
    if let b'm' | b'B' | b'Z' | b'f' | b'F' = letter {
        parts.modrm = at;
        let modrm = *code.get(at)?;
        at += 1;
        register = modrm >> 3 & 7;
        let (mode, mut base) = (modrm >> 6, modrm & 7);
        if mode < 3 && base == 4 {
            // SIB: with base 5 and mode 0 four bytes follow, as without SIB.
            base = *code.get(at)? & 7;
            at += 1;
        }
        parts.displacement = at;
        parts.displacement_len = match mode {
            0 if base == 5 => 4,
            1 => 1,
            2 => 4,
            _ => 0,
        };
        at += parts.displacement_len;
    }
    parts.immediate = at;
    parts.immediate_len = immediate_len(letter, register, rex & 8 != 0, &code[..prefixes])?;
    (parts.len() <= code.len()).then_some(parts)
}

/// Returns the bits of all registers that an instruction's operands may name.
#[inline]
pub(crate) fn registers(code: &[u8], parts: &Parts) -> u32 {
    let (high_register, high_index, high_base) = (
        u32::from(parts.rex & 4) << 1,
        u32::from(parts.rex & 2) << 2,
        u32::from(parts.rex & 1) << 3,
    );
    if parts.modrm == 0 {
        return 1 << (u32::from(parts.opcode & 7) | high_base);
    }
    let modrm = u32::from(code[parts.modrm]);
    let mut all = 1 << (modrm >> 3 & 7 | high_register) | 1 << (modrm & 7 | high_base);
    if modrm & 7 == 4 && modrm >> 6 < 3 {
        let sib = u32::from(code[parts.modrm + 1]);
        all |= 1 << (sib >> 3 & 7 | high_index) | 1 << (sib & 7 | high_base);
    }
    all
}

/// Returns the bytes of the immediate or distance; `None` if the letter does not begin an instruction.
///
/// `register` is `ModRM.reg`.
#[inline]
fn immediate_len(letter: u8, register: u8, is_wide: bool, prefixes: &[u8]) -> Option<usize> {
    let word = if !is_wide && prefixes.contains(&0x66) { 2 } else { 4 };
    Some(match letter {
        b'b' | b'B' | b's' | b'j' => 1,
        b'w' => 2,
        b'e' => 3,
        b't' if is_wide => 8,
        b'z' | b'Z' | b't' => word,
        b'o' if !prefixes.contains(&0x67) => 8,
        b'o' | b'J' => 4,
        b'f' => usize::from(register < 2),
        b'F' if register < 2 => word,
        b'.' | b'm' | b'r' | b'F' => 0,
        _ => return None,
    })
}

/// Returns the bytes of the instruction at the front of `code`: at least 1, and at most as many as
/// `code` has.
///
/// Bytes that are not an instruction stand alone.
#[inline]
pub fn length(code: &[u8]) -> usize {
    parts(code).map_or(1, |parts| parts.len())
}

/// Returns the distance of 1 or 4 bytes at the front of `bytes`; 0 if bytes are missing.
pub fn distance(bytes: &[u8], len: usize) -> i64 {
    match (len, bytes) {
        (1, [byte, ..]) => byte.cast_signed().into(),
        (4, [a, b, c, d, ..]) => i32::from_le_bytes([*a, *b, *c, *d]).into(),
        _ => 0,
    }
}

/// Writes the low bytes of a distance, 1 or 4, at the front of `bytes`.
pub fn put_distance(bytes: &mut [u8], len: usize, number: i64) {
    let end = len.min(bytes.len());
    bytes[..end].copy_from_slice(&number.to_le_bytes()[..end]);
}

/// Returns true if the instruction at the front of `code` is a jump over a distance of one byte.
#[inline]
pub fn is_short_jump(code: &[u8]) -> bool {
    code.first().is_some_and(|&byte| ONE_BYTE[usize::from(byte)] == b'j') && code.len() > 1
}
