"""Changes that earlier edits announce. docs/format-instructions.md, section 7."""
from collections import namedtuple

import instructions
import words

# Operands of an instruction: kinds of the registers that it has (0 general, 1 vector), the bits of a register in its index,
# and the name of its number or None.
Operands = namedtuple("Operands", "register base index mask number")
NEAR, MOST_MOVES = 256, 64


class Expected:
    """What edits have changed so far."""

    def __init__(self):
        self.end = 0
        self.forget()

    def forget(self):
        self.registers, self.moves = [list(range(32)), list(range(32))], [{} for _ in range(32)]

    def begin(self, start):
        if abs(start - self.end) > NEAR:
            self.forget()

    def change(self, old, operands):
        """The fields that are expected to change."""
        change = {}
        for name in ("register", "base", "index"):
            kind, value = getattr(operands, name), getattr(old, name)
            if kind is not None:
                mask = operands.mask if name == "index" else 31
                new = self.registers[kind][value & mask] | value & ~mask
                if new != value:
                    change[name] = new
        if operands.number:
            value, moves = getattr(old, operands.number), self.moves[old.base]
            if moves:
                change[operands.number] = value + moves[min(moves, key=lambda number: (abs(number - value), number))]
        return change

    def learn(self, old, new, operands, bits):
        """Remembers an edit whose parts have these bits."""
        for bit, name in ((1, "register"), (2, "base"), (4, "index")):
            kind = getattr(operands, name)
            if bits & bit and kind is not None:
                mask = operands.mask if name == "index" else 31
                self.registers[kind][getattr(old, name) & mask] = getattr(new, name) & mask
        if operands.number and bits & (8 if operands.number == "displacement" else 16):
            number, moves = getattr(old, operands.number), self.moves[old.base]
            if number not in moves and len(moves) == MOST_MOVES:
                moves.clear()
            moves[number] = getattr(new, operands.number) - number


def operands_of_instruction(instruction):
    key, shape = instruction.key, instruction.key.shape
    vectors = (*range(0x10, 0x18), *range(0x28, 0x30), *range(0x50, 0x80), 0xC2, 0xC6, *range(0xD0, 0x100))
    direct = int(key.map > 1 or key.map == 1 and key.opcode in vectors)
    is_memory = shape in ("base", "base+index")
    return Operands(
        direct if instructions.has_register(key) else None,
        (0 if is_memory else direct) if shape in ("register", "base", "base+index", "opcode") else None,
        0 if shape in ("base+index", "index") else None, 15,
        "displacement" if is_memory and instruction.displacement else None)


def operands_of_word(w):
    group, has = w >> 25 & 15, words.shape(w)
    is_access, is_arithmetic = group in (4, 6, 12, 14), group in (7, 15)
    vector = is_arithmetic or is_access and w >> 26 & 1
    number = None
    if is_access and words.fields(w).displacement:
        number = "displacement"
    if group == 8 and w >> 23 & 7 == 2 and w >> 5 & 31 in (29, 31):
        number = "immediate"
    return Operands(
        int(bool(vector)) if has.register and w >> 24 != 0x54 else None,
        int(is_arithmetic) if has.base else None,
        int(is_arithmetic or bool(vector) and w >> 28 & 3 == 2) if has.index is not None else None, 31, number)
