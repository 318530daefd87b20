//! The operands of an instruction that an edit changes.
//! Never knows an instruction set: the modules of the two sets name the operands.

use crate::edit::Fields;

/// The kind of a register: both kinds have numbers of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RegisterKind {
    General,
    Vector,
}

/// The number that moves with its base register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MovedNumber {
    None,
    Displacement,
    Immediate,
}

/// The operands of an instruction that may be expected to change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Operands {
    pub(crate) fields: Fields,
    /// Kinds of the registers that the instruction has.
    pub(crate) register: Option<RegisterKind>,
    pub(crate) base: Option<RegisterKind>,
    pub(crate) index: Option<RegisterKind>,
    /// Bits of a register; others of the index are a scale.
    pub(crate) register_bits: u8,
    pub(crate) number: MovedNumber,
}
