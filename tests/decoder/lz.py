"""LZ codes: LZMA's decisions, raw, behind a prefix. docs/format-lz.md."""
import aligned
from wire import Refused

MOST_EXPANSION = 4096
RATES = (1, 2, 2, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 4, 5)


class Places:
    """The place of the next raw byte, for raw bytes of a machine's code or of any kind."""

    def __init__(self, machine):
        self.machine, self.count, self.phase, self.last = machine, 0, aligned.Phase(), 0

    def place(self):
        return self.phase.part() if self.machine == "x86-64" else self.count % 4 if self.machine == "aarch64" else self.last >> 7

    def step(self, byte):
        if self.machine == "x86-64":
            self.phase.step(byte)
        self.count, self.last = self.count + 1, byte


class Bits:
    """The range code, read bit by bit; bytes behind its end are 0."""

    def __init__(self, packed):
        self.packed, self.at, self.range, self.code = packed, 0, 0xFFFFFFFF, 0
        for _ in range(4):
            self.shift()

    def shift(self):
        self.code = self.code << 8 & 0xFFFFFFFF | (self.packed[self.at] if self.at < len(self.packed) else 0)
        self.at += 1

    def widen(self):
        if self.range < 1 << 24:
            self.range = self.range << 8 & 0xFFFFFFFF
            self.shift()

    def bit(self, odds, place):
        odd, count = odds[place]
        zero = (self.range >> 12) * odd
        bit = int(self.code >= zero)
        if bit:
            self.range -= zero
            self.code -= zero
            odd -= odd >> RATES[count]
        else:
            self.range = zero
            odd += (4096 - odd) >> RATES[count]
        odds[place] = odd, min(count + 1, 15)
        self.widen()
        return bit

    def tree(self, odds, bits):
        node = 1
        for _ in range(bits):
            node = node << 1 | self.bit(odds, node)
        return node - (1 << bits)

    def reversed_tree(self, odds, start, bits):
        node, number = 1, 0
        for place in range(bits):
            bit = self.bit(odds, start + node)
            node, number = node << 1 | bit, number | bit << place
        return number

    def even(self, count):
        number = 0
        for _ in range(count):
            self.range >>= 1
            bit = int(self.code >= self.range)
            self.code -= self.range * bit
            number = number << 1 | bit
            self.widen()
        return number


def fresh(count):
    return [(2048, 0)] * count


class Lengths:
    def __init__(self):
        self.choices, self.low, self.middle, self.high = fresh(2), fresh(8), fresh(8), fresh(256)

    def read(self, bits):
        if not bits.bit(self.choices, 0):
            return 2 + bits.tree(self.low, 3)
        if not bits.bit(self.choices, 1):
            return 10 + bits.tree(self.middle, 3)
        return 18 + bits.tree(self.high, 8)


class Model:
    def __init__(self):
        self.literals = [fresh(0x300) for _ in range(8)]
        self.is_match, self.is_repeat, self.is_older = fresh(12 * 8), fresh(12), fresh(12)
        self.is_second, self.is_third, self.is_long = fresh(12), fresh(12), fresh(12 * 8)
        self.match_lengths, self.repeat_lengths = Lengths(), Lengths()
        self.slots = [fresh(64) for _ in range(4)]
        self.low_bits, self.align = fresh(128), fresh(16)


def unpack(packed, count, prefix=b"", machine=None):
    """Unpacks `count` bytes, which are code if there is a machine."""
    if count > MOST_EXPANSION * len(packed):
        raise Refused(f"an LZ code of {len(packed)} bytes cannot hold {count}")
    places = Places(machine)
    bits, model, out = Bits(packed), Model(), bytearray(prefix)
    state, distances, end = 0, [1, 1, 1, 1], len(prefix) + count
    while len(out) < end:
        place = places.place()
        if not bits.bit(model.is_match, 8 * state + place):
            out.append(literal(bits, model.literals[place], out, state, distances[0]))
            places.step(out[-1])
            state = 0 if state < 4 else state - 3 if state < 10 else state - 6
            continue
        after_literal = state < 7
        if not bits.bit(model.is_repeat, state):
            length = model.match_lengths.read(bits)
            distances = [distance(bits, model, length)] + distances[:3]
            state = 7 if after_literal else 10
        else:
            length = repeat(bits, model, state, place, distances)
            state = (8 if length else 9) if after_literal else 11
            length = length or 1
        if distances[0] > len(out) or length > end - len(out):
            raise Refused("a match leaves the bytes of an LZ code")
        for _ in range(length):
            out.append(out[-distances[0]])
            places.step(out[-1])
    if bits.at < len(packed):
        raise Refused("bytes behind an LZ code")
    return bytes(out[len(prefix) :])


def literal(bits, odds, out, state, distance):
    node, alike, other = 1, state >= 7, out[-distance] if state >= 7 else 0
    for place in range(7, -1, -1):
        expected = other >> place & 1
        bit = bits.bit(odds, node + (256 * (1 + expected) if alike else 0))
        node, alike = node << 1 | bit, alike and bit == expected
    return node - 256


def repeat(bits, model, state, place, distances):
    """Moves the distance to the front; returns the length, 0 for a short repeat."""
    if not bits.bit(model.is_older, state):
        if not bits.bit(model.is_long, 8 * state + place):
            return 0
    elif not bits.bit(model.is_second, state):
        distances.insert(0, distances.pop(1))
    elif not bits.bit(model.is_third, state):
        distances.insert(0, distances.pop(2))
    else:
        distances.insert(0, distances.pop(3))
    return model.repeat_lengths.read(bits)


def distance(bits, model, length):
    slot = bits.tree(model.slots[min(length - 2, 3)], 6)
    if slot < 4:
        return slot + 1
    low = slot // 2 - 1
    base = (2 | slot & 1) << low
    if slot < 14:
        return base + bits.reversed_tree(model.low_bits, base - slot, low) + 1
    high = bits.even(low - 4)
    return base + (high << 4) + bits.reversed_tree(model.align, 0, 4) + 1
