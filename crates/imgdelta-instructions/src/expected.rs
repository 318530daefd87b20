//! Changes that are expected of an instruction after those of the instructions before it.
//! Never knows an instruction set: the modules of the two sets name the operands.
//!
//! A compiler that chooses another register for a value, or another place on the stack, does so in all
//! instructions that use it. So an edit is remembered: the register that replaced another one, and the
//! distance by which a number behind a base register moved. Instructions that follow are expected to
//! change alike, and only exceptions are stored. They are all that is remembered, so that code without
//! them costs next to nothing.

use crate::{
    edit::Edit,
    operands::{MovedNumber, Operands, RegisterKind},
    set::{EditedInstruction, InstructionSet},
};

/// Registers of a kind.
const REGISTERS: usize = 32;

/// Most numbers that are remembered for a base register.
const MOST_MOVES: usize = 64;

/// A copy that begins further from the end of the last one mostly belongs to another function.
const NEAR: usize = 256;

/// Changes that are expected of the next instructions.
#[derive(Debug, Clone)]
pub struct ExpectedEdits {
    /// The new number of each register, for both kinds.
    registers: [[u8; REGISTERS]; 2],
    /// For each base register: old numbers, ascending, and how far each one moved.
    moves: Vec<Vec<(i64, i64)>>,
    /// Bits of the registers that were replaced or that moved numbers are behind, of either kind.
    concerned: u32,
    /// End of the last copy with edits.
    end: usize,
}

impl Default for ExpectedEdits {
    fn default() -> Self {
        let same = std::array::from_fn(|register| register as u8);
        Self { registers: [same; 2], moves: vec![Vec::new(); REGISTERS], concerned: 0, end: 0 }
    }
}

impl ExpectedEdits {
    /// Begins a copy with edits at a place of the base.
    pub fn begin(&mut self, start: usize) {
        if self.concerned != 0 && start.abs_diff(self.end) > NEAR {
            self.registers = [std::array::from_fn(|register| register as u8); 2];
            self.moves.iter_mut().for_each(Vec::clear);
            self.concerned = 0;
        }
    }

    /// Ends a copy with edits.
    pub fn end(&mut self, end: usize) {
        self.end = end;
    }

    /// Returns the length of the instruction at the front of `code`, and the change that is expected
    /// of it; `None` without one, and if the instruction cannot be changed so.
    #[inline]
    pub fn next(
        &self,
        set: InstructionSet,
        code: &[u8],
    ) -> (usize, Option<(Edit, EditedInstruction)>) {
        if self.concerned == 0 {
            return (set.length(code), None);
        }
        let (len, registers) = set.length_and_registers(code);
        let is_concerned = self.concerned & registers != 0;
        (len, if is_concerned { self.change(set, code) } else { None })
    }

    fn change(&self, set: InstructionSet, code: &[u8]) -> Option<(Edit, EditedInstruction)> {
        let edit = self.expected(&set.operands(code)?);
        if edit.is_empty() {
            return None;
        }
        set.edited(code, &edit).map(|edited| (edit, edited))
    }

    /// Remembers an exception from the change that was expected of an instruction.
    pub fn learn(&mut self, set: InstructionSet, code: &[u8], expected: &Edit, exception: &Edit) {
        let Some(operands) = set.operands(code) else { return };
        let fields = &operands.fields;
        for (kind, old, new) in [
            (operands.register, fields.register, exception.register),
            (operands.base, fields.base, exception.base),
            (operands.index, fields.index & operands.register_bits, exception.index),
        ] {
            if let (Some(kind), Some(new)) = (kind, new) {
                let new = new & operands.register_bits;
                self.registers[kind as usize][usize::from(old) % REGISTERS] = new;
                self.concerned |= 1 << (u32::from(old) % 32);
            }
        }
        let (number, more, before) = match operands.number {
            MovedNumber::None => return,
            MovedNumber::Displacement => {
                (fields.displacement.into(), exception.displacement, expected.displacement)
            }
            MovedNumber::Immediate => (fields.immediate, exception.immediate, expected.immediate),
        };
        if let Some(more) = more {
            let moved = more.wrapping_add(before.unwrap_or(0));
            self.remember(fields.base, number, moved);
            self.concerned |= 1 << (u32::from(fields.base) % 32);
        }
    }

    fn expected(&self, operands: &Operands) -> Edit {
        let fields = &operands.fields;
        let changed = |kind: Option<RegisterKind>, old: u8| {
            let new = self.registers[kind? as usize][usize::from(old) % REGISTERS];
            (new != old).then_some(new)
        };
        let moved = |number: i64| Some(self.moved(fields.base, number)).filter(|&by| by != 0);
        let index = fields.index & operands.register_bits;
        let scale = fields.index & !operands.register_bits;
        let mut edit = Edit {
            register: changed(operands.register, fields.register),
            base: changed(operands.base, fields.base),
            index: changed(operands.index, index).map(|new| new | scale),
            ..Edit::default()
        };
        match operands.number {
            MovedNumber::None => {}
            MovedNumber::Displacement => edit.displacement = moved(fields.displacement.into()),
            MovedNumber::Immediate => edit.immediate = moved(fields.immediate),
        }
        edit
    }

    /// Returns how far a number behind a base register is expected to move: as far as the nearest one
    /// that is remembered, the lower of two.
    fn moved(&self, base: u8, number: i64) -> i64 {
        let moves = &self.moves[usize::from(base) % REGISTERS];
        let next = moves.partition_point(|&(old, _)| old < number);
        let above = moves.get(next);
        let below = next.checked_sub(1).map(|before| &moves[before]);
        match (below, above) {
            (Some(below), Some(above)) if number.abs_diff(below.0) <= number.abs_diff(above.0) => {
                below.1
            }
            (_, Some(above)) => above.1,
            (Some(below), None) => below.1,
            (None, None) => 0,
        }
    }

    fn remember(&mut self, base: u8, number: i64, by: i64) {
        let moves = &mut self.moves[usize::from(base) % REGISTERS];
        let next = moves.partition_point(|&(old, _)| old < number);
        if let Some(found) = moves.get_mut(next).filter(|found| found.0 == number) {
            found.1 = by;
        } else if moves.len() < MOST_MOVES {
            moves.insert(next, (number, by));
        } else {
            moves.clear();
            moves.push((number, by));
        }
    }
}

#[cfg(all(test, feature = "encode"))]
mod tests {
    use super::*;
    use crate::EditedCopy;

    const X86_64: InstructionSet = InstructionSet::X86_64;
    const AARCH64: InstructionSet = InstructionSet::Aarch64;

    /// The edits that are left of those which make `target` from `base`, whose instructions have the
    /// same lengths. Both are a copy at a place of the base.
    fn left(
        set: InstructionSet,
        expected: &mut ExpectedEdits,
        at: usize,
        (base, target): (&[Vec<u8>], &[Vec<u8>]),
    ) -> Vec<(u64, Edit)> {
        let mut place = at;
        let mut edits = Vec::new();
        for (old, new) in base.iter().zip(target) {
            let operands = |code: &[u8]| set.operands(code).unwrap().fields;
            let edit = operands(old).edit(&operands(new)).unwrap();
            if !edit.is_empty() {
                edits.push((place, edit));
            }
            place += old.len();
        }
        let all = [vec![0x90; at], base.concat()].concat();
        let copy = EditedCopy { target: 0..place - at, base: at..place, edits };
        copy.exceptions(set, &all, expected)
    }

    /// mov reg, [rsp + place]
    fn load(register: u8, place: u8) -> Vec<u8> {
        vec![0x48, 0x8B, 0x44 | register << 3, 0x24, place]
    }

    /// ldr register, [sp, place]
    fn load_word(register: u32, place: u32) -> Vec<u8> {
        (0xF940_03E0 | register | (place / 8) << 10).to_le_bytes().into()
    }

    #[test]
    fn a_register_and_a_stack_place_change_again_as_they_did() {
        let all = |moved: u8, register: u8| -> Vec<Vec<u8>> {
            [16, 24, 40, 16].map(|place| load(register, place + moved)).into()
        };
        let edits = left(X86_64, &mut ExpectedEdits::default(), 0, (&all(0, 1), &all(8, 2)));
        let first = Edit { register: Some(2), displacement: Some(8), ..Edit::default() };
        assert_eq!(edits, [(0, first)]);
        let all = |moved: u32, register: u32| -> Vec<Vec<u8>> {
            [16, 24, 40, 16].map(|place| load_word(register, place + moved)).into()
        };
        let edits = left(AARCH64, &mut ExpectedEdits::default(), 0, (&all(0, 9), &all(8, 8)));
        assert_eq!(edits, [(0, Edit { register: Some(8), ..first })]);
    }

    #[test]
    fn an_exception_is_what_differs_from_the_expected_change() {
        let base = [load(1, 16), load(1, 24), load(1, 80)];
        // The register stays once; the last place moves less than the one before.
        let target = [load(2, 24), load(1, 32), load(1, 84)];
        let edits = left(X86_64, &mut ExpectedEdits::default(), 0, (&base, &target));
        let first = Edit { register: Some(2), displacement: Some(8), ..Edit::default() };
        let second = Edit { register: Some(1), ..Edit::default() };
        let third = Edit { displacement: Some(-4), ..Edit::default() };
        assert_eq!(edits, [(0, first), (0, second), (0, third)]);
    }

    #[test]
    fn the_nearest_place_counts_and_of_two_the_lower_one() {
        let mut expected = ExpectedEdits::default();
        for (number, by) in [(100, 8), (120, 16)] {
            expected.remember(4, number, by);
        }
        let moved = [0, 100, 110, 111, 120, 999].map(|number| expected.moved(4, number));
        assert_eq!(moved, [8, 8, 8, 16, 16, 16]);
        assert_eq!(expected.moved(5, 100), 0, "another register");
    }

    #[test]
    fn a_full_list_is_emptied() {
        let mut expected = ExpectedEdits::default();
        for number in 0..=MOST_MOVES as i64 {
            expected.remember(4, number, number + 1);
            assert!(expected.moves[4].len() <= MOST_MOVES);
        }
        assert_eq!(expected.moves[4], [(64, 65)]);
    }

    #[test]
    fn nothing_is_expected_far_from_the_last_copy() {
        let (base, target) = ([load(1, 16)], [load(2, 24)]);
        for (gap, count) in [(0, 0), (NEAR, 0), (NEAR + 1, 1)] {
            let mut expected = ExpectedEdits::default();
            assert_eq!(left(X86_64, &mut expected, 0, (&base, &target)).len(), 1);
            let at = base[0].len() + gap;
            let edits = left(X86_64, &mut expected, at, (&base, &target));
            assert_eq!(edits.len(), count, "{gap} bytes further on");
        }
    }

    #[test]
    fn what_does_not_fit_is_not_expected() {
        // The index must not become rsp; a word's place must be a multiple of 8 below 32768.
        let mut expected = ExpectedEdits::default();
        let indexed = [0x8B, 0x04, 0x08];
        let edit = Edit { index: Some(4), ..Edit::default() };
        expected.learn(X86_64, &indexed, &Edit::default(), &edit);
        assert_eq!(expected.next(X86_64, &indexed), (3, None));
        let mut expected = ExpectedEdits::default();
        expected.remember(31, 32_752, 8);
        expected.concerned = u32::MAX;
        let change = |place| expected.next(AARCH64, &load_word(3, place)).1.map(|(edit, _)| edit);
        assert_eq!(change(32_752), Some(Edit { displacement: Some(8), ..Edit::default() }));
        assert_eq!(change(32_760), None);
    }
}
