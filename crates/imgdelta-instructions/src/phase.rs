//! x86-64 code read byte by byte: the part of an instruction that the next byte belongs to.
//! Never looks ahead, and never fails: bytes that are not instructions give some phase, too.
//!
//! A model that predicts code needs to know whether an opcode, a register byte or the rest of a
//! number follows. `docs/format-aligned.md` specifies the phases.

use crate::tables::{ONE_BYTE, TWO_BYTES};

/// The next byte of code.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Next {
    /// A prefix or an opcode.
    #[default]
    Opcode,
    /// An opcode behind 0F, 0F 38 or 0F 3A.
    LongOpcode,
    /// `ModRM`.
    ModRm,
    /// `SIB`.
    Sib,
    /// A byte of a displacement or an immediate.
    Number,
    /// A byte of a VEX or EVEX prefix.
    Vex,
}

/// The state of a reader of x86-64 code.
#[derive(Debug, Clone, Copy, Default)]
pub struct CodePhase {
    next: Next,
    map: u8,
    opcode: u8,
    letter: u8,
    modrm: u8,
    /// The REX prefix, or 0.
    rex: u8,
    is_short: bool,
    has_short_address: bool,
    vex_left: u8,
    /// Bytes that are left of the displacement and of the immediate.
    displacement: u8,
    immediate: u8,
    /// True if no byte of the next number was read.
    is_first_of_number: bool,
    /// Bytes of the instruction so far.
    bytes: u8,
    /// The operations of the last instructions, the last one first.
    before: [u32; 6],
}

impl CodePhase {
    /// Reads a byte.
    #[inline]
    pub fn step(&mut self, byte: u8) {
        self.bytes = self.bytes.saturating_add(1);
        match self.next {
            Next::Opcode => self.opcode_byte(byte),
            Next::LongOpcode => match (self.map, byte) {
                (1, 0x38) => self.map = 2,
                (1, 0x3A) => self.map = 3,
                _ => self.take_opcode(byte),
            },
            Next::ModRm => {
                self.modrm = byte;
                let (mode, rm) = (byte >> 6, byte & 7);
                self.displacement = match mode {
                    1 => 1,
                    2 => 4,
                    0 if rm == 5 => 4,
                    _ => 0,
                };
                if mode != 3 && rm == 4 {
                    self.next = Next::Sib;
                } else {
                    self.numbers();
                }
            }
            Next::Sib => {
                if self.modrm >> 6 == 0 && byte & 7 == 5 {
                    self.displacement = 4;
                }
                self.numbers();
            }
            Next::Number => {
                if self.displacement > 0 {
                    self.displacement -= 1;
                    self.is_first_of_number = self.displacement == 0;
                } else {
                    self.immediate -= 1;
                    self.is_first_of_number = false;
                }
                if self.displacement + self.immediate == 0 {
                    self.end();
                }
            }
            Next::Vex => {
                self.vex_left -= 1;
                // VEX with two bytes has no map; the first of the others says it.
                if self.letter == b'U' {
                    self.map = 1;
                } else if self.map == 0 {
                    self.map = (byte & 3).max(1);
                }
                if self.vex_left == 0 {
                    self.next = Next::LongOpcode;
                }
            }
        }
    }

    fn opcode_byte(&mut self, byte: u8) {
        self.letter = ONE_BYTE[usize::from(byte)];
        match self.letter {
            b'P' => {
                self.is_short |= byte == 0x66;
                self.has_short_address |= byte == 0x67;
            }
            b'R' => self.rex = byte,
            b'0' => (self.map, self.next) = (1, Next::LongOpcode),
            b'U' | b'V' | b'E' => {
                self.vex_left = match self.letter {
                    b'U' => 1,
                    b'V' => 2,
                    _ => 3,
                };
                self.next = Next::Vex;
            }
            _ => self.take_opcode(byte),
        }
    }

    /// Takes the opcode, whose map is known.
    fn take_opcode(&mut self, byte: u8) {
        self.opcode = byte;
        self.letter = match self.map {
            0 => ONE_BYTE[usize::from(byte)],
            1 => TWO_BYTES[usize::from(byte)],
            2 => b'm',
            _ => b'B',
        };
        if matches!(self.letter, b'm' | b'B' | b'Z' | b'f' | b'F') {
            self.next = Next::ModRm;
        } else {
            self.numbers();
        }
    }

    /// Ends the instruction, or begins its numbers; all that is before them was read.
    fn numbers(&mut self) {
        let is_wide = self.rex & 8 != 0;
        let word = if self.is_short && !is_wide { 2 } else { 4 };
        let is_test = self.modrm >> 3 & 7 < 2;
        self.immediate = match self.letter {
            b'b' | b'B' | b's' | b'j' => 1,
            b'w' => 2,
            b'e' => 3,
            b't' if is_wide => 8,
            b'z' | b'Z' | b't' => word,
            b'o' if self.has_short_address => 4,
            b'o' => 8,
            b'J' => 4,
            b'f' if is_test => 1,
            b'F' if is_test => word,
            _ => 0,
        };
        if self.displacement + self.immediate == 0 {
            self.end();
        } else {
            self.next = Next::Number;
            self.is_first_of_number = true;
        }
    }

    fn end(&mut self) {
        self.before.rotate_right(1);
        self.before[0] =
            u32::from(self.map) << 16 | u32::from(self.opcode) << 8 | u32::from(self.modrm);
        *self = Self { before: self.before, ..Self::default() };
    }

    /// Returns true between two instructions.
    #[inline]
    pub fn is_between(&self) -> bool {
        self.bytes == 0
    }

    /// Returns the number of bytes of the instruction so far, at most 255.
    #[inline]
    pub fn bytes(&self) -> u32 {
        self.bytes.into()
    }

    /// Returns a number for the parts of the instruction so far.
    #[inline]
    pub fn state(&self) -> u32 {
        let rex = if self.rex == 0 { 0 } else { 1 + u32::from(self.rex >> 3 & 1) };
        let is_behind = matches!(self.next, Next::Sib | Next::Number);
        let modrm = if is_behind { u32::from(self.modrm) } else { 0 };
        self.next as u32
            | u32::from(self.map & 3) << 3
            | u32::from(self.opcode) << 5
            | modrm << 13
            | u32::from(self.displacement & 7) << 21
            | u32::from(self.immediate & 7) << 24
            | u32::from(self.is_short) << 27
            | rex << 28
    }

    /// Returns the kind of the next byte and the bytes that are left of numbers, below 128.
    #[inline]
    pub fn place(&self) -> usize {
        self.next as usize
            | usize::from(self.displacement & 3) << 3
            | usize::from(self.immediate & 3) << 5
    }

    /// Returns the part of the instruction that the next byte is, below 8: 0 for its first byte, 1 for
    /// another byte up to the opcode, 2 for `ModRM`, 3 for `SIB`. Of a number, 4 for the only byte, 5
    /// for the lowest, 7 for the highest, 6 for others.
    #[inline]
    pub fn part(&self) -> u8 {
        match self.next {
            Next::Opcode => u8::from(self.bytes > 0),
            Next::LongOpcode | Next::Vex => 1,
            Next::ModRm => 2,
            Next::Sib => 3,
            Next::Number => {
                let left = if self.displacement > 0 { self.displacement } else { self.immediate };
                match left {
                    1 if self.is_first_of_number => 4,
                    1 => 7,
                    _ if self.is_first_of_number => 5,
                    _ => 6,
                }
            }
        }
    }

    /// Returns the map, opcode and `ModRM` of the last six instructions, the last one first.
    #[inline]
    pub fn before(&self) -> &[u32; 6] {
        &self.before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_follow_the_bytes_of_instructions() {
        let code = [
            &[0x48, 0x8B, 0x44, 0x24, 0x10][..],   // mov rax, [rsp + 16]
            &[0xC7, 0x80, 1, 0, 0, 0, 2, 0, 0, 0], // mov dword [rax + 1], 2
            &[0x83, 0xC0, 5],                      // add eax, 5
            &[0x0F, 0xB6, 0xC0],                   // movzx eax, al
            &[0x66, 0x81, 0xF9, 1, 2],             // cmp cx, 513
        ];
        let parts: &[&[u8]] = &[
            &[0, 1, 2, 3, 4],
            &[0, 2, 5, 6, 6, 7, 5, 6, 6, 7],
            &[0, 2, 4],
            &[0, 1, 2],
            &[0, 1, 2, 5, 7],
        ];
        let mut phase = CodePhase::default();
        let read = |&byte: &u8| {
            let part = phase.part();
            phase.step(byte);
            part
        };
        let found: Vec<u8> = code.concat().iter().map(read).collect();
        assert_eq!(found, parts.concat());
    }
}
