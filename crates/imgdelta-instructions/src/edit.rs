//! A change of an instruction's fields, and its parts as deltas store them.
//! Never knows an instruction set.

/// A change of fields. Each field that is `Some` is replaced, or added to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Edit {
    /// The new `ModRM.reg`.
    pub register: Option<u8>,
    /// The new `ModRM.rm`, base register or register in the opcode.
    pub base: Option<u8>,
    /// The new index register, plus 16 times the scale.
    pub index: Option<u8>,
    /// Number to add to the displacement.
    pub displacement: Option<i64>,
    /// Number to add to the immediate.
    pub immediate: Option<i64>,
    /// The jump takes its other form: short or long.
    pub form: bool,
}

/// A part of an edit, as deltas store it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EditPart {
    /// A new register: one byte.
    Register,
    /// A number to add to the displacement.
    Displacement,
    /// A number to add to the immediate.
    Immediate,
}

/// Bits of the parts that an edit has.
const REGISTER: u8 = 1;
const BASE: u8 = 2;
const INDEX: u8 = 4;
const DISPLACEMENT: u8 = 8;
const IMMEDIATE: u8 = 16;
const FORM: u8 = 32;

impl Edit {
    /// Reads the parts that the bits of `parts` announce, each by `next`.
    ///
    /// Bits without a meaning, and no bit at all, give `None`.
    pub fn read<E>(
        parts: u8,
        mut next: impl FnMut(EditPart) -> Result<i64, E>,
    ) -> Result<Option<Self>, E> {
        if parts == 0 || parts >= FORM << 1 {
            return Ok(None);
        }
        let mut part = |bit: u8, part| {
            if parts & bit == 0 { Ok(None) } else { next(part).map(Some) }
        };
        let mut register = |bit| {
            let register = part(bit, EditPart::Register)?;
            Ok(register.map(|register| register as u8))
        };
        Ok(Some(Self {
            register: register(REGISTER)?,
            base: register(BASE)?,
            index: register(INDEX)?,
            displacement: part(DISPLACEMENT, EditPart::Displacement)?,
            immediate: part(IMMEDIATE, EditPart::Immediate)?,
            form: parts & FORM != 0,
        }))
    }

    /// Calls `put` for each part, in order, and returns the bits that announce them.
    pub fn write(&self, mut put: impl FnMut(EditPart, i64)) -> u8 {
        let register = |register: Option<u8>| register.map(i64::from);
        let mut parts = if self.form { FORM } else { 0 };
        for (bit, part, value) in [
            (REGISTER, EditPart::Register, register(self.register)),
            (BASE, EditPart::Register, register(self.base)),
            (INDEX, EditPart::Register, register(self.index)),
            (DISPLACEMENT, EditPart::Displacement, self.displacement),
            (IMMEDIATE, EditPart::Immediate, self.immediate),
        ] {
            if let Some(value) = value {
                parts |= bit;
                put(part, value);
            }
        }
        parts
    }

    /// Returns both changes as one: `later` begins where this one ends.
    #[must_use]
    pub fn then(&self, later: &Self) -> Self {
        let sum = |before: Option<i64>, later: Option<i64>| match (before, later) {
            (Some(before), Some(later)) => Some(before.wrapping_add(later)),
            (before, later) => before.or(later),
        };
        Self {
            register: later.register.or(self.register),
            base: later.base.or(self.base),
            index: later.index.or(self.index),
            displacement: sum(self.displacement, later.displacement),
            immediate: sum(self.immediate, later.immediate),
            form: self.form != later.form,
        }
    }

    /// True if nothing changes.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The fields of an instruction that a change may replace; 0 where it has no such field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) register: u8,
    pub(crate) base: u8,
    pub(crate) index: u8,
    pub(crate) is_short: bool,
    pub(crate) displacement: i32,
    pub(crate) immediate: i64,
}

impl Fields {
    pub(crate) const NONE: Self =
        Self { register: 0, base: 0, index: 0, is_short: false, displacement: 0, immediate: 0 };

    /// Returns the change that makes these fields into others; `None` if a number would not fit.
    #[cfg(feature = "encode")]
    #[inline]
    pub(crate) fn edit(&self, new: &Self) -> Option<Edit> {
        let changed = |old: u8, new: u8| (old != new).then_some(new);
        let added = i64::from(new.displacement) - i64::from(self.displacement);
        let more = new.immediate.checked_sub(self.immediate)?;
        Some(Edit {
            register: changed(self.register, new.register),
            base: changed(self.base, new.base),
            index: changed(self.index, new.index),
            displacement: Some(added).filter(|&added| added != 0),
            immediate: Some(more).filter(|&more| more != 0),
            form: self.is_short != new.is_short,
        })
    }
}
