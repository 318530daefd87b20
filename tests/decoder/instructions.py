"""x86-64 instructions as fields, and their bytes again. docs/format-instructions.md, sections 1 to 3."""
from collections import namedtuple

from wire import Refused

ONE_BYTE = (
    "mmmmbzxxmmmmbzx0" "mmmmbzxxmmmmbzxx" "mmmmbzPxmmmmbzPx" "mmmmbzPxmmmmbzPx"
    "RRRRRRRRRRRRRRRR" "rrrrrrrrrrrrrrrr" "xxEmPPPPzZbB...." "jjjjjjjjjjjjjjjj"
    "BZxBmmmmmmmmmmmm" "..........x....." "oooo....bz......" "sssssssstttttttt"
    "BBw.VUBZe.w..bx." "mmmmxxx.mmmmmmmm" "jjjjbbbbJJxj...." "P.PP..fF......mm"
)
TWO_BYTES = (
    "mmmmx.....x.xm.B" "mmmmmmmmmmmmmmmm" "mmmmxxxxmmmmmmmm" "......x.8xAxxxxx"
    "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "BBBBmmm.mmxxmmmm"
    "JJJJJJJJJJJJJJJJ" "mmmmmmmmmmmmmmmm" "...mBmxx...mBmmm" "mmmmmmmmmmBmmmmm"
    "mmBmBBBmrrrrrrrr" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm"
)
GROUPS = {
    0: {0x80, 0x81, 0x83, 0x8F, 0xC0, 0xC1, 0xC6, 0xC7, *range(0xD0, 0xD4), *range(0xD8, 0xE0), 0xF6, 0xF7, 0xFE, 0xFF},
    1: {0x00, 0x01, 0x0D, *range(0x18, 0x20), *range(0x71, 0x74), *range(0x90, 0xA0), 0xAE, 0xBA, 0xC7},
}
BYTE_REGISTERS = {0: {*(op for op in range(0x40) if op & 5 == 0), 0x84, 0x86, 0x88, 0x8A}, 1: {0xB0, 0xC0}}
BYTE_OPERANDS = {
    0: BYTE_REGISTERS[0] | {0x80, 0xB0, 0xC0, 0xC6, 0xD0, 0xD2, 0xF6, 0xFE},
    1: BYTE_REGISTERS[1] | {*range(0x90, 0xA0), 0xB6, 0xBE},
}
SHORT_FORMS = {0x68: 0x6A, 0x69: 0x6B, 0x81: 0x83}
MOST_BYTES = 15

Parts = namedtuple("Parts", "prefixes rex map opcode letter vex modrm displacement displacement_length immediate immediate_length")
# `index` is the register plus 16 times the scale; `extension` is None unless ModRM.reg belongs to the opcode.
Key = namedtuple("Key", "prefixes map opcode extension shape wide letter")
Instruction = namedtuple("Instruction", "key register base index displacement immediate short")
# A distance in the bytes of an instruction.
Reference = namedtuple("Reference", "at length")


class Unknown(Exception):
    """The bytes are not an instruction that this reader knows."""


def signed(data):
    return int.from_bytes(data, "little", signed=True)


def parts(code):
    """Places of an instruction's parts."""
    try:
        found = split(code[:MOST_BYTES])
    except IndexError:
        raise Unknown from None
    if found.immediate + found.immediate_length > min(len(code), MOST_BYTES):
        raise Unknown
    return found


def split(code):
    at = 0
    while ONE_BYTE[code[at]] == "P":
        at += 1
    prefixes, rex = at, 0
    if ONE_BYTE[code[at]] == "R":
        rex = code[at]
        at += 1
    opcode, number, vex = code[at], 0, False
    letter = ONE_BYTE[opcode]
    at += 1
    if letter == "0":
        opcode, number = code[at], 1
        letter = TWO_BYTES[opcode]
        at += 1
        if letter in "8A":
            number, letter = (2, "m") if letter == "8" else (3, "B")
            opcode = code[at]
            at += 1
    elif letter in "UVE" and not rex:
        number, vex = 1 if letter == "U" else code[at] & 7, True
        at += {"U": 1, "V": 2, "E": 3}[letter]
        opcode = code[at]
        at += 1
        if number == 1 and TWO_BYTES[opcode] == ".":
            letter = "."
        elif number == 3 or (number == 1 and TWO_BYTES[opcode] == "B"):
            letter = "B"
        else:
            letter = "m" if number in (1, 2, 5, 6) else "x"
    modrm = displacement = displacement_length = register = 0
    if letter in "mBZfF":
        modrm = at
        register, mode, base = code[at] >> 3 & 7, code[at] >> 6, code[at] & 7
        at += 1
        if mode < 3 and base == 4:
            base = code[at] & 7
            at += 1
        displacement = at
        displacement_length = 4 if mode == 2 or (mode == 0 and base == 5) else int(mode == 1)
        at += displacement_length
    word = 2 if 0x66 in code[:prefixes] and not rex & 8 else 4
    lengths = {
        ".": 0, "m": 0, "r": 0, "b": 1, "B": 1, "s": 1, "j": 1, "w": 2, "e": 3, "z": word, "Z": word, "J": 4,
        "t": 8 if rex & 8 else word, "o": 4 if 0x67 in code[:prefixes] else 8, "f": int(register < 2), "F": word if register < 2 else 0,
    }
    if letter not in lengths:
        raise Unknown
    return Parts(prefixes, rex, number, opcode, letter, vex, modrm, displacement, displacement_length, at, lengths[letter])


def length(code):
    try:
        found = parts(code)
    except Unknown:
        return 1
    return found.immediate + found.immediate_length


def is_short_jump(code):
    return len(code) > 1 and ONE_BYTE[code[0]] == "j"


def read(code):
    """The fields of an instruction whose fields give its bytes back."""
    found = parts(code)
    instruction = fields(code, found)
    if write(instruction)[0] != code[: found.immediate + found.immediate_length]:
        raise Unknown
    return instruction


def fields(code, found):
    if found.vex or found.prefixes > 3 or 0x67 in code[: found.prefixes]:
        raise Unknown
    rex, number, opcode, letter = found.rex, found.map, found.opcode, found.letter
    register = base = index = displacement = 0
    extension, shape, short = None, "none", False
    if found.modrm:
        modrm = code[found.modrm]
        mode, low = modrm >> 6, modrm & 7
        if opcode in GROUPS.get(number, ()):
            extension = modrm >> 3 & 7
        else:
            register = modrm >> 3 & 7 | (rex & 4) << 1
        base, shape = low | (rex & 1) << 3, "base"
        if mode == 3:
            shape = "register"
        elif low == 4:
            sib = code[found.modrm + 1]
            base, index = sib & 7 | (rex & 1) << 3, sib >> 3 & 7 | (rex & 2) << 2
            has_base, has_index = mode > 0 or sib & 7 != 5, index != 4
            shape = {(1, 1): "base+index", (1, 0): "base", (0, 1): "index", (0, 0): "absolute"}[has_base, has_index]
            index = index | sib >> 6 << 4 if has_index else 0
            base = base if has_base else 0
        elif mode == 0 and low == 5:
            base, shape = 0, "relative"
        displacement = signed(code[found.displacement : found.displacement + found.displacement_length])
    elif letter in "rst":
        base, opcode, shape = opcode & 7 | (rex & 1) << 3, opcode & 0xF8, "opcode"
    if number == 0:
        if opcode in (0x6A, 0x6B, 0x83):
            opcode, letter = {0x6A: (0x68, "z"), 0x6B: (0x69, "Z"), 0x83: (0x81, "Z")}[opcode]
        elif opcode >> 4 == 7:
            number, opcode, letter, short = 1, opcode + 0x10, "J", True
        elif opcode == 0xEB:
            opcode, letter, short = 0xE9, "J", True
    immediate = signed(code[found.immediate : found.immediate + found.immediate_length])
    key = Key(bytes(code[: found.prefixes]), number, opcode, extension, shape, bool(rex & 8), letter)
    return Instruction(key, register, base, index, displacement, immediate, short)


def immediate_length(key):
    word = 2 if 0x66 in key.prefixes and not key.wide else 4
    return {
        "b": 1, "B": 1, "s": 1, "j": 1, "w": 2, "e": 3, "z": word, "Z": word, "t": 8 if key.wide else word, "o": 8, "J": 4,
        "f": int((key.extension or 0) < 2), "F": word if (key.extension or 0) < 2 else 0,
    }.get(key.letter, 0)


def write(instruction):
    """The bytes of an instruction, and its reference or None."""
    key, number, opcode = instruction.key, instruction.key.map, instruction.key.opcode
    size = immediate_length(key)
    if key.letter == "J" and instruction.short:
        size = 1
        if (number, opcode) == (0, 0xE9):
            opcode = 0xEB
        elif number == 1:
            number, opcode = 0, opcode - 0x10
        else:
            raise Unknown
    elif number == 0 and opcode in SHORT_FORMS and -128 <= instruction.immediate < 128:
        size, opcode = 1, SHORT_FORMS[opcode]
    rex = key.wide << 3 | instruction.register >> 3 << 2 | (instruction.index & 15) >> 3 << 1 | instruction.base >> 3
    has_register = key.shape not in ("none", "opcode") and key.extension is None
    odd = has_register and key.opcode in BYTE_REGISTERS.get(key.map, ()) and 4 <= instruction.register < 8
    if key.shape in ("register", "opcode") and key.opcode in BYTE_OPERANDS.get(key.map, ()):
        odd = odd or 4 <= instruction.base < 8
    out = bytearray(key.prefixes)
    if rex or odd:
        out.append(0x40 | rex)
    out += (b"", b"\x0F", b"\x0F\x38", b"\x0F\x3A")[number]
    out.append(opcode | instruction.base & 7 if key.shape == "opcode" else opcode)
    reference = operands(instruction, out)
    if key.letter in "jJ":
        reference = Reference(len(out), size)
    out += (instruction.immediate & (1 << 8 * size) - 1).to_bytes(size, "little")
    if len(out) > MOST_BYTES:
        raise Unknown
    return bytes(out), reference


def operands(instruction, out):
    """Adds ModRM, SIB and the displacement; returns the displacement's place if it is a reference."""
    key, shape = instruction.key, instruction.key.shape
    register = (instruction.register & 7 if key.extension is None else key.extension) << 3
    base, sib = instruction.base & 7, instruction.index >> 4 << 6 | (instruction.index & 7) << 3
    mode, size = 0x80, 4
    if instruction.displacement == 0 and base != 5:
        mode, size = 0, 0
    elif -128 <= instruction.displacement < 128:
        mode, size = 0x40, 1
    heads = {
        "register": ([0xC0 | register | base], 0), "base": ([mode | register | base, 0x24][: 2 if base == 4 else 1], size),
        "base+index": ([mode | register | 4, sib | base], size), "index": ([register | 4, sib | 5], 4),
        "relative": ([register | 5], 4), "absolute": ([register | 4, 0x25], 4),
    }
    if shape not in heads:
        return None
    head, size = heads[shape]
    out += bytes(head)
    at = len(out)
    out += (instruction.displacement & (1 << 8 * size) - 1).to_bytes(size, "little")
    return Reference(at, 4) if shape == "relative" else None


def has_register(key):
    return key.shape not in ("none", "opcode") and key.extension is None


def is_fit(instruction, change):
    """True if the registers and the displacement of an expected change fit."""
    new = instruction._replace(**change)
    if new.index & 15 == 4 and "index" in change or not -(1 << 31) <= new.displacement < 1 << 31:
        return False
    try:
        return bool(write(new))
    except Unknown:
        return False


def edited(instruction, streams):
    """The instruction with the next edit's changes, and the bits of the edit's parts."""
    bits, key = streams.bytes("edit parts", 1)[0], instruction.key
    if not 1 <= bits < 64:
        raise Refused(f"an edit with parts {bits:02x}")
    change, shape = {}, key.shape
    has_base = shape in ("register", "base", "base+index", "opcode")
    allowed = {"register": has_register(key), "base": has_base, "index": shape in ("base+index", "index")}
    for bit, name in ((1, "register"), (2, "base"), (4, "index")):
        if bits & bit:
            value = streams.bytes("edit registers", 1)[0]
            if not allowed[name] or value >= (64 if name == "index" else 16) or (name == "index" and value & 15 == 4):
                raise Refused(f"an edit that gives {name} {value}")
            change[name] = value
    if bits & 8:
        value = instruction.displacement + streams.signed("edit displacements")
        if shape not in ("base", "base+index", "index", "absolute") or not -(1 << 31) <= value < 1 << 31:
            raise Refused(f"an edit with displacement {value}")
        change["displacement"] = value
    if bits & 16:
        value, most = instruction.immediate + streams.signed("edit immediates"), 1 << max(8 * immediate_length(key) - 1, 0)
        if key.letter in "jJ" or not immediate_length(key) or not -most <= value < most:
            raise Refused(f"an edit with immediate {value}")
        change["immediate"] = value
    if bits & 32:
        if key.letter != "J" or (key.map, key.opcode) == (0, 0xE8):
            raise Refused("an edit of the form of what has one form")
        change["short"], change["immediate"] = not instruction.short, 0
    return instruction._replace(**change), bits
