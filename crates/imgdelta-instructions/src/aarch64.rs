//! AArch64 instructions: words some of whose bits are registers or a number.
//! Never knows what an instruction does, and never refuses a word: those of an unknown shape have no
//! fields.

use crate::{
    edit::{Edit, Fields},
    operands::{MovedNumber, Operands, RegisterKind},
};

/// Bytes of an instruction.
pub(crate) const WORD: usize = 4;

/// Bits of a register.
const REGISTER_BITS: u32 = 0x1F;

/// The places of a word's fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct WordShape {
    /// True if the lowest five bits are a register or condition.
    has_register: bool,
    /// True if bits 5 to 9 are a register.
    has_base: bool,
    /// First bit of a third register, or 0.
    index: u32,
    number: Option<Number>,
    /// Bits of a distance that follows from the map.
    distance: u32,
}

/// The place of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Number {
    /// First bit.
    at: u32,
    bits: u32,
    is_signed: bool,
    /// The number counts units of `1 << scale` bytes.
    scale: u32,
    /// True for the displacement of a memory operand, which is a number of bytes.
    is_displacement: bool,
}

impl WordShape {
    const NONE: Self =
        Self { has_register: false, has_base: false, index: 0, number: None, distance: 0 };
    /// A register in the lowest bits.
    const ONE: Self = Self { has_register: true, ..Self::NONE };
    /// Another one behind it.
    const TWO: Self = Self { has_base: true, ..Self::ONE };

    /// Returns the shape of a word.
    #[inline]
    fn of(word: u32) -> Self {
        match word >> 25 & 15 {
            0b1000 | 0b1001 => Self::of_immediate(word),
            0b1010 | 0b1011 => Self::of_branch(word),
            0b0100 | 0b0110 | 0b1100 | 0b1110 => Self::of_access(word),
            // Arithmetic of two and three registers; conditions and shifts are numbers.
            0b0101 | 0b0111 | 0b1101 | 0b1111 => Self::TWO.and_index(16).and_immediate(10, 6),
            _ => Self::NONE,
        }
    }

    /// Returns the shape of arithmetic with a number.
    fn of_immediate(word: u32) -> Self {
        match word >> 23 & 7 {
            0 | 1 => Self { distance: 0x60FF_FFE0, ..Self::ONE },
            2 | 6 => Self::TWO.and_immediate(10, 12),
            4 => Self::TWO.and_immediate(10, 13),
            5 => Self::ONE.and_immediate(5, 16),
            7 => Self::TWO.and_index(16).and_immediate(10, 6),
            _ => Self::NONE,
        }
    }

    /// Returns the shape of a branch or a system instruction.
    fn of_branch(word: u32) -> Self {
        if word & 0x7C00_0000 == 0x1400_0000 {
            Self { distance: 0x03FF_FFFF, ..Self::NONE }
        } else if word >> 24 == 0x54 || word & 0x7E00_0000 == 0x3400_0000 {
            Self { distance: 0x00FF_FFE0, ..Self::ONE }
        } else if word & 0x7E00_0000 == 0x3600_0000 {
            Self { distance: 0x0007_FFE0, ..Self::ONE.and_immediate(19, 5) }
        } else if word >> 25 == 0x6B {
            Self { has_base: true, ..Self::NONE }
        } else if word >> 22 == 0x354 {
            Self::ONE
        } else {
            Self::NONE
        }
    }

    /// Returns the shape of a load or store.
    fn of_access(word: u32) -> Self {
        let is_vector = word >> 26 & 1 == 1;
        let has_offset = word >> 24 & 1 == 1;
        match word >> 28 & 3 {
            // Exclusive accesses, and structures of vectors.
            0 => Self::TWO.and_index(16),
            1 if has_offset => Self::TWO,
            // A literal.
            1 => Self::ONE.and_immediate(5, 19),
            2 => {
                let kind = word >> 30;
                let scale = if is_vector { kind + 2 } else { 2 + (kind >> 1) };
                Self::TWO.and_index(10).and_displacement(15, 7, true, scale)
            }
            _ if has_offset => {
                let size = word >> 30;
                let scale = if is_vector && size == 0 && word >> 23 & 1 == 1 { 4 } else { size };
                Self::TWO.and_displacement(10, 12, false, scale)
            }
            _ if word >> 21 & 1 == 1 => Self::TWO.and_index(16),
            _ => Self::TWO.and_displacement(12, 9, true, 0),
        }
    }

    const fn and_index(self, index: u32) -> Self {
        Self { index, ..self }
    }

    const fn and_immediate(self, at: u32, bits: u32) -> Self {
        let number = Number { at, bits, is_signed: false, scale: 0, is_displacement: false };
        Self { number: Some(number), ..self }
    }

    const fn and_displacement(self, at: u32, bits: u32, is_signed: bool, scale: u32) -> Self {
        let number = Number { at, bits, is_signed, scale, is_displacement: true };
        Self { number: Some(number), ..self }
    }

    /// Returns the bits of all fields.
    #[cfg(feature = "encode")]
    fn bits(&self) -> u32 {
        let register = if self.has_register { REGISTER_BITS } else { 0 };
        let base = if self.has_base { REGISTER_BITS << 5 } else { 0 };
        let index = if self.index > 0 { REGISTER_BITS << self.index } else { 0 };
        let number = self.number.map_or(0, |number| number.mask() << number.at);
        register | base | index | number | self.distance
    }
}

impl Number {
    fn mask(self) -> u32 {
        (1 << self.bits) - 1
    }

    /// Returns the number in a word, in bytes if it is a displacement.
    fn read(self, word: u32) -> i64 {
        let raw = word >> self.at & self.mask();
        let sign = if self.is_signed { raw >> (self.bits - 1) << self.bits } else { 0 };
        (i64::from(raw) - i64::from(sign)) << self.scale
    }

    /// Returns a word with another number; `None` if it does not fit.
    fn write(self, word: u32, number: i64) -> Option<u32> {
        let raw = (number >> self.scale) as u32 & self.mask();
        let new = word & !(self.mask() << self.at) | raw << self.at;
        (self.read(new) == number).then_some(new)
    }
}

/// Returns the word at the front of `code`.
#[inline]
pub(crate) fn word(code: &[u8]) -> Option<u32> {
    code.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// Returns a number that is equal for words which a change turns into each other.
#[cfg(feature = "encode")]
#[inline]
pub(crate) fn class(word: u32) -> u64 {
    (word & !WordShape::of(word).bits()).into()
}

/// Returns the bits of a word's number or distance.
#[cfg(feature = "encode")]
pub(crate) fn number_bits(word: u32) -> u32 {
    let shape = WordShape::of(word);
    shape.distance | shape.number.map_or(0, |number| number.mask() << number.at)
}

/// True for a branch that mostly stays within its function.
#[cfg(feature = "encode")]
pub(crate) fn is_jump(word: u32) -> bool {
    matches!(word >> 25 & 15, 0b1010 | 0b1011) && !is_call(word)
}

/// True for a call.
#[cfg(feature = "encode")]
pub(crate) fn is_call(word: u32) -> bool {
    word >> 26 == 0x25
}

/// Returns the fields of a word.
#[cfg(feature = "encode")]
#[inline]
pub(crate) fn fields(word: u32) -> Fields {
    fields_of(word, &WordShape::of(word))
}

#[inline]
fn fields_of(word: u32, shape: &WordShape) -> Fields {
    let register = |has: bool, at: u32| if has { (word >> at & REGISTER_BITS) as u8 } else { 0 };
    let mut fields = Fields {
        register: register(shape.has_register, 0),
        base: register(shape.has_base, 5),
        index: register(shape.index > 0, shape.index),
        ..Fields::NONE
    };
    if let Some(number) = shape.number {
        let value = number.read(word);
        if number.is_displacement {
            fields.displacement = value as i32;
        } else {
            fields.immediate = value;
        }
    }
    fields
}

/// Registers whose numbers move with a function's frame: the stack pointer and the frame's.
const FRAME: [u8; 2] = [31, 29];

/// Returns the bits of all registers that a word may name.
#[inline]
pub(crate) fn registers(word: u32) -> u32 {
    [0, 5, 10, 16].iter().fold(0, |all, at| all | 1 << (word >> at & REGISTER_BITS))
}

/// Returns the operands of a word that may be expected to change.
pub(crate) fn operands(word: u32) -> Operands {
    use RegisterKind::{General, Vector};
    let shape = WordShape::of(word);
    let fields = fields_of(word, &shape);
    let (mut first, mut base, mut index) = (General, General, General);
    let mut number = MovedNumber::None;
    match word >> 25 & 15 {
        0b0111 | 0b1111 => (first, base, index) = (Vector, Vector, Vector),
        0b0100 | 0b0110 | 0b1100 | 0b1110 => {
            if word >> 26 & 1 == 1 {
                let is_pair = word >> 28 & 3 == 2;
                (first, index) = (Vector, if is_pair { Vector } else { General });
            }
            if fields.displacement != 0 {
                number = MovedNumber::Displacement;
            }
        }
        0b1000 if word >> 24 & 1 == 1 && FRAME.contains(&fields.base) => {
            number = MovedNumber::Immediate;
        }
        _ => {}
    }
    // The lowest bits of a conditional branch are a condition.
    let has_register = shape.has_register && word >> 24 != 0x54;
    Operands {
        fields,
        register: has_register.then_some(first),
        base: shape.has_base.then_some(base),
        index: (shape.index > 0).then_some(index),
        register_bits: REGISTER_BITS as u8,
        number,
    }
}

/// Returns a word with a change; `None` if it has no such field, or if a number does not fit.
pub(crate) fn edited(mut word: u32, edit: &Edit) -> Option<u32> {
    let shape = WordShape::of(word);
    let places = [
        (edit.register, shape.has_register, 0),
        (edit.base, shape.has_base, 5),
        (edit.index, shape.index > 0, shape.index),
    ];
    for (register, has, at) in places {
        if let Some(register) = register {
            let register = Some(u32::from(register)).filter(|&r| r <= REGISTER_BITS && has)?;
            word = word & !(REGISTER_BITS << at) | register << at;
        }
    }
    for (more, is_displacement) in [(edit.displacement, true), (edit.immediate, false)] {
        if let Some(more) = more {
            let number = shape.number.filter(|number| number.is_displacement == is_displacement)?;
            word = number.write(word, number.read(word).checked_add(more)?)?;
        }
    }
    (!edit.form).then_some(word)
}
