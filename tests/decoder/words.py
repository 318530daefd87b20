"""AArch64 instructions with changed fields. docs/format-instructions.md, section 6."""
from collections import namedtuple

from wire import Refused

# Bits of a number: the first, how many, if it is signed, its scale, and if it is a displacement.
Number = namedtuple("Number", "at bits signed scale displacement")
# Fields of a word: if it has a register and a base, the first bit of the index or None, the number or None.
Shape = namedtuple("Shape", "register base index number")
Fields = namedtuple("Fields", "register base index displacement immediate")


def shape(w):
    immediate = lambda at, bits: Number(at, bits, False, 0, False)
    group, t = w >> 25 & 15, w >> 24
    if group in (5, 7, 13, 15):
        return Shape(True, True, 16, immediate(10, 6))
    if group in (8, 9):
        return {
            0: Shape(True, False, None, None), 1: Shape(True, False, None, None), 2: Shape(True, True, None, immediate(10, 12)),
            4: Shape(True, True, None, immediate(10, 13)), 5: Shape(True, False, None, immediate(5, 16)),
            6: Shape(True, True, None, immediate(10, 12)), 7: Shape(True, True, 16, immediate(10, 6)),
        }.get(w >> 23 & 7, Shape(False, False, None, None))
    if group in (10, 11):
        if t == 0x54 or t & 0x7E == 0x34 or w & 0xFFC00000 == 0xD5000000:
            return Shape(True, False, None, None)
        if t & 0x7E == 0x36:
            return Shape(True, False, None, immediate(19, 5))
        return Shape(False, t & 0xFE == 0xD6, None, None)
    if group in (4, 6, 12, 14):
        kind, offset, vector, size = w >> 28 & 3, w >> 24 & 1, w >> 26 & 1, w >> 30
        if kind == 0:
            return Shape(True, True, 16, None)
        if kind == 1:
            return Shape(True, True, None, None) if offset else Shape(True, False, None, immediate(5, 19))
        if kind == 2:
            return Shape(True, True, 10, Number(15, 7, True, size + 2 if vector else 2 + (size >> 1), True))
        if offset:
            scale = 4 if vector and size == 0 and w >> 23 & 1 else size
            return Shape(True, True, None, Number(10, 12, False, scale, True))
        if w >> 21 & 1:
            return Shape(True, True, 16, None)
        return Shape(True, True, None, Number(12, 9, True, 0, True))
    return Shape(False, False, None, None)


def read_number(w, number):
    """The number in a word; a displacement is in bytes."""
    value = w >> number.at & (1 << number.bits) - 1
    if number.signed and value >> (number.bits - 1):
        value -= 1 << number.bits
    return value << number.scale


def fields(w):
    """The fields of a word; 0 for those that it does not have."""
    has, displacement, immediate = shape(w), 0, 0
    if has.number and has.number.displacement:
        displacement = read_number(w, has.number)
    elif has.number:
        immediate = read_number(w, has.number)
    register = lambda there, at: w >> at & 31 if there else 0
    return Fields(
        register(has.register, 0), register(has.base, 5), register(has.index is not None, has.index or 0), displacement, immediate)


def changed(w, change):
    """The word with other fields, or None if a number does not fit."""
    has = shape(w)
    for name, at in (("register", 0), ("base", 5), ("index", has.index)):
        if name in change:
            w = w & ~(31 << at) | change[name] << at
    for name in ("displacement", "immediate"):
        if name in change:
            number, value = has.number, change[name]
            raw = value >> number.scale & (1 << number.bits) - 1
            w = w & ~((1 << number.bits) - 1 << number.at) | raw << number.at
            if read_number(w, number) != value:
                return None
    return w


def edited(w, streams):
    """The word with the next edit's changes, and the bits of the edit's parts."""
    bits, has = streams.bytes("edit parts", 1)[0], shape(w)
    if not 1 <= bits < 32:
        raise Refused(f"an edit with parts {bits:02x}")
    for bit, allowed, at in ((1, has.register, 0), (2, has.base, 5), (4, has.index is not None, has.index)):
        if bits & bit:
            value = streams.bytes("edit registers", 1)[0]
            if not allowed or value > 31:
                raise Refused(f"an edit with register {value}")
            w = w & ~(31 << at) | value << at
    for bit, name, displacement in ((8, "edit displacements", True), (16, "edit immediates", False)):
        if bits & bit:
            more, number = streams.signed(name), has.number
            if number is None or number.displacement != displacement:
                raise Refused("an edit of a number that is not there")
            mask = (1 << number.bits) - 1
            old = w >> number.at & mask
            if number.signed and old >> (number.bits - 1):
                old -= 1 << number.bits
            new, unit = (old << number.scale) + more, 1 << number.scale
            least = -(1 << (number.bits - 1)) if number.signed else 0
            if new % unit or not least <= new // unit <= least + mask:
                raise Refused(f"an edit with number {new}")
            w = w & ~(mask << number.at) | (new // unit & mask) << number.at
    return w, bits
