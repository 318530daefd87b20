//! The two instruction sets behind one interface: lengths, and bytes of instructions with a change.
//! Never knows a field: the modules of the two sets do.

use crate::{
    aarch64,
    edit::Edit,
    instruction::{Bytes, Instruction, Reference},
    operands::Operands,
    scan,
};

/// The instruction set of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InstructionSet {
    /// x86-64: instructions of 1 to 15 bytes.
    #[default]
    X86_64,
    /// AArch64: words of four bytes.
    Aarch64,
}

/// An instruction with a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EditedInstruction {
    /// The instruction's bytes before the change.
    pub old_len: usize,
    /// Its distance before the change, if it has one that follows from the map.
    pub old_reference: Option<Reference>,
    /// The new bytes.
    pub bytes: Bytes,
}

impl InstructionSet {
    /// Returns the set that a file's edits use: that of its ELF header, or x86-64.
    pub fn of_file(file: &[u8]) -> Self {
        if file.get(18..20) == Some(&[183, 0]) { Self::Aarch64 } else { Self::X86_64 }
    }

    /// Returns the bytes of the instruction at the front of `code`: at least 1, and at most as many
    /// as `code` has.
    #[inline]
    pub fn length(self, code: &[u8]) -> usize {
        match self {
            Self::X86_64 => scan::length(code),
            Self::Aarch64 => code.len().clamp(1, aarch64::WORD),
        }
    }

    /// Returns true if the instruction at the front of `code` is a jump over a distance of one byte.
    #[inline]
    pub fn is_short_jump(self, code: &[u8]) -> bool {
        self == Self::X86_64 && scan::is_short_jump(code)
    }

    /// Returns the length of the instruction at the front of `code`, and the bits of all registers that
    /// it may name.
    #[inline]
    pub(crate) fn length_and_registers(self, code: &[u8]) -> (usize, u32) {
        match self {
            Self::X86_64 => scan::parts(code)
                .map_or((1, 0), |parts| (parts.len(), scan::registers(code, &parts))),
            Self::Aarch64 => (self.length(code), aarch64::word(code).map_or(0, aarch64::registers)),
        }
    }

    /// Returns the operands of the instruction at the front of `code` that may be expected to change;
    /// `None` if it has no fields.
    #[inline]
    pub(crate) fn operands(self, code: &[u8]) -> Option<Operands> {
        match self {
            Self::X86_64 => Instruction::operands(code),
            Self::Aarch64 => aarch64::word(code).map(aarch64::operands),
        }
    }

    /// Returns the instruction at the front of `code` with a change; `None` if it cannot be changed so.
    pub fn edited(self, code: &[u8], edit: &Edit) -> Option<EditedInstruction> {
        match self {
            Self::X86_64 => {
                let (old, old_bytes) = Instruction::read_with_bytes(code)?;
                let (old_len, old_reference) = (old_bytes.as_slice().len(), old_bytes.reference());
                let bytes = old.edited(edit)?.write()?;
                Some(EditedInstruction { old_len, old_reference, bytes })
            }
            Self::Aarch64 => {
                let word = aarch64::edited(aarch64::word(code)?, edit)?;
                let bytes = Bytes::of(&word.to_le_bytes())?;
                Some(EditedInstruction { old_len: aarch64::WORD, old_reference: None, bytes })
            }
        }
    }
}
