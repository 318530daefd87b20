//! One instruction as fields, and its bytes again; changes of fields.
//! Never keeps an instruction whose bytes the fields do not give back.

use crate::{
    edit::{Edit, Fields},
    operands::{MovedNumber, Operands, RegisterKind},
    scan::{self, MAX_LEN, Parts},
    tables,
};

/// The shape of an instruction's operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Shape {
    /// No `ModRM`.
    None,
    /// A register in `ModRM.rm`.
    Register,
    /// Memory at a base register.
    Base,
    /// Memory at a base register and an index.
    BaseIndex,
    /// Memory at an index.
    Index,
    /// Memory relative to the next instruction.
    Relative,
    /// Memory at an address.
    Absolute,
    /// A register in the opcode.
    OpcodeRegister,
}

/// The facts of an instruction that no change touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    /// Prefixes before REX; bytes behind `prefix_count` are 0.
    prefixes: [u8; MAX_PREFIXES],
    prefix_count: u8,
    map: u8,
    /// With a register in the opcode, the opcode of register 0; of short forms, that of the long form.
    opcode: u8,
    /// `ModRM.reg`, if it belongs to the opcode; otherwise `NO_EXTENSION`.
    extension: u8,
    shape: Shape,
    is_wide: bool,
    letter: u8,
}

const MAX_PREFIXES: usize = 3;
const NO_EXTENSION: u8 = 8;

/// An instruction whose fields give its bytes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    pub(crate) key: Key,
    /// `ModRM.reg`; 0 if it belongs to the opcode.
    pub(crate) register: u8,
    /// `ModRM.rm`, the base register, or the register in the opcode.
    pub(crate) base: u8,
    /// The index register, and the scale times 16.
    pub(crate) index: u8,
    pub(crate) displacement: i32,
    /// The immediate, or the distance of a jump.
    pub(crate) immediate: i64,
    /// True for a jump over a distance of one byte.
    pub(crate) is_short: bool,
}

/// A distance in an instruction that leads to another place of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// Place of the distance in the instruction.
    pub at: usize,
    /// Bytes of the distance: 1 or 4. It counts from the end of the instruction.
    pub len: usize,
}

/// The bytes of an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes {
    /// Those behind `len` are 0.
    all: [u8; ROOM],
    len: u8,
    reference: Option<Reference>,
}

/// Bytes of all parts at their longest: prefixes, REX, opcode, `ModRM`, SIB, displacement, immediate;
/// and some more, so that each part is copied with a fixed length. Calling `memcpy` for some bytes
/// takes more time than reading an instruction.
const ROOM: usize = 24;

impl Bytes {
    /// Returns an instruction without a distance; `None` if the bytes are too many.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let mut all = [0; ROOM];
        all[..MAX_LEN].get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(Self { all, len: bytes.len() as u8, reference: None })
    }

    /// Returns the bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.all[..usize::from(self.len)]
    }

    /// Returns the distance that leads to another place, if there is one.
    pub fn reference(&self) -> Option<Reference> {
        self.reference
    }

    fn push(&mut self, byte: u8) {
        self.all[usize::from(self.len)] = byte;
        self.len += 1;
    }

    /// Adds the low bytes of a number, as many as `len`: at most 8.
    fn push_number(&mut self, number: i64, len: usize) {
        let low = if len == 0 { 0 } else { number as u64 & u64::MAX >> (64 - 8 * len) };
        let start = usize::from(self.len);
        self.all[start..start + 8].copy_from_slice(&low.to_le_bytes());
        self.len += len as u8;
    }

    /// True if `code` begins with these bytes and `len` is their number.
    fn begin(&self, code: &[u8], len: usize) -> bool {
        let unused = 8 * (16 - MAX_LEN.min(len)) as u32;
        match (code.first_chunk(), self.all.first_chunk()) {
            (Some(code), Some(all)) if usize::from(self.len) == len => {
                u128::from_le_bytes(*code) << unused == u128::from_le_bytes(*all) << unused
            }
            _ => self.as_slice() == &code[..len],
        }
    }
}

impl Instruction {
    /// Reads the instruction at the front of `code`; `None` if it is unknown, or if its fields would
    /// not give its bytes back.
    pub fn read(code: &[u8]) -> Option<Self> {
        Self::read_with_bytes(code).map(|(read, _)| read)
    }

    /// Reads the instruction at the front of `code` as [`Instruction::read`] does, and returns its
    /// bytes, too.
    pub fn read_with_bytes(code: &[u8]) -> Option<(Self, Bytes)> {
        let parts = scan::parts(code)?;
        let read = Self::of_parts(code, &parts)?;
        let bytes = read.write()?;
        bytes.begin(code, parts.len()).then_some((read, bytes))
    }

    fn of_parts(code: &[u8], parts: &Parts) -> Option<Self> {
        if parts.is_vex || parts.prefixes > MAX_PREFIXES || code[..parts.prefixes].contains(&0x67) {
            return None;
        }
        let (mut opcode, mut map, mut letter) = (parts.opcode, parts.map, parts.letter);
        let (high_register, high_index) = ((parts.rex & 4) << 1, (parts.rex & 2) << 2);
        let high_base = (parts.rex & 1) << 3;
        let mut key = Key {
            prefixes: [0; MAX_PREFIXES],
            prefix_count: parts.prefixes as u8,
            map,
            opcode,
            extension: NO_EXTENSION,
            shape: Shape::None,
            is_wide: parts.rex & 8 != 0,
            letter,
        };
        for (at, prefix) in key.prefixes.iter_mut().enumerate() {
            *prefix = if at < parts.prefixes { code[at] } else { 0 };
        }
        let (mut register, mut base, mut index, mut displacement) = (0, 0, 0, 0);
        if parts.modrm > 0 {
            let modrm = code[parts.modrm];
            let (mode, low) = (modrm >> 6, modrm & 7);
            if tables::is_group(map, opcode) {
                key.extension = modrm >> 3 & 7;
            } else {
                register = modrm >> 3 & 7 | high_register;
            }
            base = low | high_base;
            key.shape = match (mode, low) {
                (3, _) => Shape::Register,
                (_, 4) => {
                    let sib = code[parts.modrm + 1];
                    index = sib >> 3 & 7 | high_index;
                    base = sib & 7 | high_base;
                    let has_base = mode > 0 || sib & 7 != 5;
                    let shape = match (has_base, index != 4) {
                        (true, true) => Shape::BaseIndex,
                        (true, false) => Shape::Base,
                        (false, true) => Shape::Index,
                        (false, false) => Shape::Absolute,
                    };
                    index |= sib >> 6 << 4;
                    if !has_base {
                        base = 0;
                    }
                    if shape == Shape::Base || shape == Shape::Absolute {
                        index = 0;
                    }
                    shape
                }
                (0, 5) => {
                    base = 0;
                    Shape::Relative
                }
                _ => Shape::Base,
            };
            displacement = number(&code[parts.displacement..], parts.displacement_len) as i32;
        } else if let b'r' | b's' | b't' = letter {
            key.shape = Shape::OpcodeRegister;
            base = opcode & 7 | high_base;
            opcode &= 0xF8;
        }
        let immediate = number(&code[parts.immediate..], parts.immediate_len);
        let mut is_short = false;
        if map == 0 {
            match opcode {
                0x6A => (opcode, letter) = (0x68, b'z'),
                0x6B => (opcode, letter) = (0x69, b'Z'),
                0x83 => (opcode, letter) = (0x81, b'Z'),
                0x70..=0x7F => {
                    (map, opcode, letter, is_short) = (1, opcode + 0x10, b'J', true);
                }
                0xEB => (opcode, letter, is_short) = (0xE9, b'J', true),
                _ => {}
            }
        }
        key = Key { map, opcode, letter, ..key };
        Some(Self { key, register, base, index, displacement, immediate, is_short })
    }

    /// Returns the bytes, with the operands in their shortest form; `None` if the numbers do not fit.
    pub fn write(&self) -> Option<Bytes> {
        let key = &self.key;
        let mut out = Bytes { all: [0; ROOM], len: key.prefix_count, reference: None };
        out.all[..MAX_PREFIXES].copy_from_slice(&key.prefixes);
        let (mut map, mut opcode) = (key.map, key.opcode);
        let is_small = i8::try_from(self.immediate).is_ok();
        let mut immediate_len = key.immediate_len();
        if key.letter == b'J' && self.is_short {
            immediate_len = 1;
            match (map, opcode) {
                (0, 0xE9) => opcode = 0xEB,
                (1, _) => (map, opcode) = (0, opcode - 0x10),
                _ => return None,
            }
        } else if key.has_short_immediate() && is_small {
            immediate_len = 1;
            opcode = match opcode {
                0x68 => 0x6A,
                0x69 => 0x6B,
                _ => 0x83,
            };
        }
        let index = self.index & 15;
        let mut rex = u8::from(key.is_wide) << 3 | self.register >> 3 << 2 | index >> 3 << 1;
        rex |= self.base >> 3;
        let is_odd = |register: u8| (4..8).contains(&register);
        let has_odd_register = key.has_register()
            && tables::is_byte_register(key.map, key.opcode)
            && is_odd(self.register);
        let is_direct = matches!(key.shape, Shape::Register | Shape::OpcodeRegister);
        let has_odd_operand =
            is_direct && tables::is_byte_operand(key.map, key.opcode) && is_odd(self.base);
        if rex != 0 || has_odd_register || has_odd_operand {
            out.push(0x40 | rex);
        }
        if map > 0 {
            out.push(0x0F);
        }
        if map > 1 {
            out.push(if map == 2 { 0x38 } else { 0x3A });
        }
        if key.shape == Shape::OpcodeRegister {
            opcode |= self.base & 7;
        }
        out.push(opcode);
        if key.has_modrm() {
            self.push_operands(&mut out);
        }
        if key.letter == b'J' || key.letter == b'j' {
            let at = usize::from(out.len);
            out.reference = Some(Reference { at, len: immediate_len });
        }
        out.push_number(self.immediate, immediate_len);
        (usize::from(out.len) <= MAX_LEN).then_some(out)
    }

    /// Adds `ModRM`, SIB and the displacement.
    fn push_operands(&self, out: &mut Bytes) {
        let key = &self.key;
        let register =
            if key.extension == NO_EXTENSION { self.register & 7 } else { key.extension } << 3;
        let (base, sib) = (self.base & 7, self.index >> 4 << 6 | (self.index & 7) << 3);
        let (mode, len) = match self.displacement {
            0 if base != 5 => (0, 0),
            -128..=127 => (0x40, 1),
            _ => (0x80, 4),
        };
        let (modrm, sib, len) = match key.shape {
            Shape::Register => (0xC0 | register | base, None, 0),
            Shape::Base => (mode | register | base, (base == 4).then_some(0x24), len),
            Shape::BaseIndex => (mode | register | 4, Some(sib | base), len),
            Shape::Index => (register | 4, Some(sib | 5), 4),
            Shape::Relative => (register | 5, None, 4),
            Shape::Absolute => (register | 4, Some(0x25), 4),
            Shape::None | Shape::OpcodeRegister => return,
        };
        out.push(modrm);
        if let Some(sib) = sib {
            out.push(sib);
        }
        if key.shape == Shape::Relative {
            out.reference = Some(Reference { at: usize::from(out.len), len: 4 });
        }
        out.push_number(self.displacement.into(), len);
    }

    /// Returns the instruction with a change; `None` if it has no such field, or if a number does not
    /// fit.
    pub fn edited(&self, edit: &Edit) -> Option<Self> {
        let mut new = *self;
        let key = &self.key;
        if let Some(register) = edit.register {
            new.register = Some(register).filter(|&r| r < 16 && key.has_register())?;
        }
        if let Some(base) = edit.base {
            new.base = Some(base).filter(|&base| base < 16 && key.has_base())?;
        }
        if let Some(index) = edit.index {
            new.index = Some(index).filter(|&i| i < 64 && i & 15 != 4 && key.has_index())?;
        }
        if let Some(more) = edit.displacement {
            let sum = i64::from(self.displacement).checked_add(more)?;
            new.displacement = i32::try_from(sum).ok().filter(|_| key.has_displacement())?;
        }
        if let Some(more) = edit.immediate {
            let sum = self.immediate.checked_add(more)?;
            let bits = 64 - 8 * key.immediate_len() as u32;
            let is_fit = key.has_immediate() && sum << bits >> bits == sum;
            new.immediate = Some(sum).filter(|_| is_fit)?;
        }
        if edit.form {
            new.is_short = !self.is_short;
            if !self.has_forms() {
                return None;
            }
            // The distance is found later.
            new.immediate = 0;
        }
        Some(new)
    }

    /// Returns the change that makes this instruction into `other`, apart from their references;
    /// `None` if there is none.
    #[cfg(feature = "encode")]
    pub fn difference(&self, other: &Self) -> Option<Edit> {
        (self.key == other.key).then(|| self.fields().edit(&other.fields()))?
    }

    /// Returns the operands of the instruction at the front of `code` that may be expected to change.
    /// Its fields may not give its bytes back.
    #[inline]
    pub(crate) fn operands(code: &[u8]) -> Option<Operands> {
        use RegisterKind::{General, Vector};
        let read = Self::of_parts(code, &scan::parts(code)?)?;
        let key = &read.key;
        let direct = if tables::is_vector(key.map, key.opcode) { Vector } else { General };
        let is_memory = matches!(key.shape, Shape::Base | Shape::BaseIndex);
        let has_number = is_memory && read.displacement != 0;
        Some(Operands {
            fields: read.fields(),
            register: key.has_register().then_some(direct),
            base: key.has_base().then_some(if is_memory { General } else { direct }),
            index: key.has_index().then_some(General),
            register_bits: 15,
            number: if has_number { MovedNumber::Displacement } else { MovedNumber::None },
        })
    }

    /// Returns the fields, apart from references.
    pub(crate) fn fields(&self) -> Fields {
        let key = &self.key;
        Fields {
            register: self.register,
            base: self.base,
            index: self.index,
            is_short: self.is_short,
            displacement: if key.has_displacement() { self.displacement } else { 0 },
            immediate: if key.has_immediate() { self.immediate } else { 0 },
        }
    }

    /// True for a jump that may be short or long.
    pub(crate) fn has_forms(&self) -> bool {
        self.key.letter == b'J' && (self.key.map == 1 || self.key.opcode == 0xE9)
    }

    /// Bytes of the immediate; 0 if there is none, or if it is a distance.
    #[cfg(feature = "encode")]
    pub(crate) fn immediate_len(&self) -> usize {
        if self.key.has_immediate() { self.key.immediate_len() } else { 0 }
    }

    /// Returns a number that is equal for instructions which a change turns into each other.
    pub fn class(&self) -> u64 {
        let key = &self.key;
        let mut class = u64::from(key.opcode)
            | u64::from(key.map) << 8
            | (key.shape as u64) << 12
            | u64::from(key.extension) << 16
            | u64::from(key.is_wide) << 20;
        for prefix in key.prefixes {
            class = class << 8 | u64::from(prefix);
        }
        class
    }
}

impl Key {
    fn has_modrm(&self) -> bool {
        !matches!(self.shape, Shape::None | Shape::OpcodeRegister)
    }

    fn has_register(&self) -> bool {
        self.has_modrm() && self.extension == NO_EXTENSION
    }

    fn has_base(&self) -> bool {
        matches!(
            self.shape,
            Shape::Register | Shape::Base | Shape::BaseIndex | Shape::OpcodeRegister
        )
    }

    fn has_index(&self) -> bool {
        matches!(self.shape, Shape::BaseIndex | Shape::Index)
    }

    fn has_displacement(&self) -> bool {
        matches!(self.shape, Shape::Base | Shape::BaseIndex | Shape::Index | Shape::Absolute)
    }

    fn has_immediate(&self) -> bool {
        !matches!(self.letter, b'j' | b'J') && self.immediate_len() > 0
    }

    /// True if a small immediate is written as one byte, with another opcode.
    fn has_short_immediate(&self) -> bool {
        self.map == 0 && matches!(self.opcode, 0x68 | 0x69 | 0x81)
    }

    /// Bytes of the immediate or distance in its long form.
    fn immediate_len(&self) -> usize {
        let is_word = self.prefixes.contains(&0x66) && !self.is_wide;
        let word = if is_word { 2 } else { 4 };
        match self.letter {
            b'b' | b'B' | b's' | b'j' => 1,
            b'w' => 2,
            b'e' => 3,
            b't' if self.is_wide => 8,
            b'z' | b'Z' | b't' => word,
            b'o' => 8,
            b'J' => 4,
            b'f' => usize::from(self.extension < 2),
            b'F' if self.extension < 2 => word,
            _ => 0,
        }
    }
}

/// Returns the signed number of `len` bytes, at most 8, at the front of `bytes`.
fn number(bytes: &[u8], len: usize) -> i64 {
    let whole = bytes.first_chunk().copied().unwrap_or_else(|| {
        let mut whole = [0; 8];
        whole[..len].copy_from_slice(&bytes[..len]);
        whole
    });
    let unused = 64 - 8 * len as u32;
    if len == 0 { 0 } else { i64::from_le_bytes(whole) << unused >> unused }
}
