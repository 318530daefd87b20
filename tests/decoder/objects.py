"""Relocatable ELF files. docs/format-elf.md, section 11."""
import struct

from wire import Refused

NAMES, TYPES, MOST_SEGMENTS = 1 << 25, 1 << 21, 64
NO_BITS, SYMBOLS, RELOCATIONS = 8, 2, 4
MACHINES = {62: "x86-64", 183: "aarch64"}


def u32(data, at):
    return int.from_bytes(data[at : at + 4], "little")


def i32(data, at):
    return int.from_bytes(data[at : at + 4], "little", signed=True)


def u64(data, at):
    return int.from_bytes(data[at : at + 8], "little")


def is_object(data):
    if len(data) < 64 or data[:7] != b"\x7fELF\x02\x01\x01":
        return False
    kind, machine = struct.unpack_from("<HH", data, 16)
    return kind == 1 and machine in MACHINES and u64(data, 32) == 0 and data[58:60] == b"\x40\0"


def table_range(data):
    start = u64(data, 40)
    return start, start + 64 * int.from_bytes(data[60:62], "little")


def headers(data):
    start, end = table_range(data)
    if end > len(data):
        raise Refused("section headers behind the end")
    return data[:64] + data[start:end]


def section_headers(table):
    return list(struct.iter_unpack("<IIQQQQIIQQ", table))


def image(make, segment, data, file_length):
    start, end = table_range(data)
    if end == start or start < 64 or end > file_length or len(data) < 64 + end - start:
        raise Refused("section headers that leave the file")
    table = section_headers(data[64 : 64 + end - start])
    span = file_length + sum(header[5] for header in table if header[1] == NO_BITS)
    reach = span + NAMES + TYPES
    if reach >= 1 << 32:
        raise Refused("a relocatable file that is too long")
    code = sorted((h[4], h[4] + h[5]) for h in table if h[1] == 1 and h[2] & 6 == 6 and h[4] + h[5] <= file_length)
    ranges, at = [], 0
    for code_start, code_end in code:
        ranges += [(at, code_start, False), (max(at, code_start), code_end, True)]
        at = max(at, code_end)
    ranges = [r for r in ranges + [(at, file_length, False)] if r[0] < r[1]]
    if len(ranges) > MOST_SEGMENTS:
        ranges = [(0, file_length, False)]
    segments = [segment(a, b - a, a, b - a, executable) for a, b, executable in ranges]
    segments[-1] = segments[-1]._replace(memory_length=span - segments[-1].start)
    made = make(MACHINES[int.from_bytes(data[18:20], "little")], 0, span, segments, None, 64 + end - start)
    made.is_object, made.reach, made.sections_at = True, reach, start
    return made


def fold(data, order, unfold):
    """Places of sections less those that they have if the sections follow each other, or back."""
    data, end = bytearray(data), 0

    def place(at, expected):
        old = u64(data, at)
        new = (old + (expected if unfold else -expected)) % (1 << 64)
        struct.pack_into("<Q", data, at, new)
        return new if unfold else old

    def aligned(alignment):
        alignment = max(alignment, 1)
        multiple = -(-end // alignment) * alignment
        return multiple if multiple < 1 << 64 else end

    for number in order:
        at = 64 + 64 * number
        if at + 64 > len(data):
            continue
        kind, length, alignment = u32(data, at + 4), u64(data, at + 32), u64(data, at + 48)
        start = place(at + 24, aligned(alignment))
        end = (start + (0 if kind == NO_BITS else length)) % (1 << 64)
    if len(data) >= 48:
        place(40, aligned(8))
    return bytes(data)


def headers_of_target(base, xored):
    old = headers(base)
    table = section_headers(old[64:])
    order = sorted(range(len(table)), key=lambda number: table[number][4])
    folded = fold(old, order, False)
    header = bytes(a ^ b for a, b in zip(xored, folded.ljust(len(xored), b"\0")))
    return fold(header, order, True)


class Sections:
    """The sections of a base: places and anchors, by number."""

    def __init__(self, scene):
        data, base = scene.data, scene.image
        self.table = section_headers(data[base.sections_at :][: base.header_length - 64])
        self.places, self.anchors, behind = [], [], len(data)
        for header in self.table:
            start, length = header[4], header[5]
            if header[1] == NO_BITS:
                start, behind = behind, behind + length
            elif start + length > len(data):
                length = 0
            place = (start, start + length) if header[1] and length else None
            self.places.append(place)
            stride = place and {SYMBOLS: 24, RELOCATIONS: regular(data, place)}.get(header[1], 1)
            self.anchors.append(scene.anchor(start, stride) if stride else None)

    def anchor(self, number):
        return self.anchors[number] if number < len(self.anchors) else None

    def fields(self, scene, zone):
        walk = {"symbols": self.symbols, "relocations": self.relocations, "types": types}.get(zone.kind)
        if walk and (zone.kind == "types" or zone.section.kind in (SYMBOLS, RELOCATIONS)):
            walk(scene, zone)

    def symbols(self, scene, zone):
        names = self.anchor(zone.section.link)
        for at in range(zone.start, zone.end - 23, 24):
            name, value = u32(scene.data, at), u32(scene.data, at + 8)
            refer(scene, at, names, name, name)
            refer(scene, at + 8, self.anchor(int.from_bytes(scene.data[at + 6 : at + 8], "little")), value, value)

    def relocations(self, scene, zone):
        own, number = self.table[zone.section.number], zone.section.number
        link, info = own[6], own[7]
        is_code = info < len(self.table) and self.table[info][2] & 4
        symbols = self.table[link] if link < len(self.table) and self.table[link][1] == SYMBOLS else None
        for at in range(zone.start, zone.end - 23, 24):
            i = at - zone.start
            place, kind, symbol = (u32(scene.data, at + more) for more in (0, 8, 12))
            if self.anchors[number] and place * self.anchors[number][1] == i:
                refer(scene, at, self.anchors[number], i, place)
            else:
                refer(scene, at, self.anchor(info), place, place)
            if not symbols:
                continue
            refer(scene, at + 12, self.anchors[link], 24 * symbol, symbol)
            start, end = self.places[link] or (0, 0)
            entry = scene.data[start:end][24 * symbol : 24 * symbol + 24]
            if len(entry) == 24 and entry[4] & 15 == 3:
                addend = i32(scene.data, at + 16)
                behind = 4 if scene.image.machine == "x86-64" and is_code and kind in (2, 4) else 0
                refer(scene, at + 16, self.anchor(int.from_bytes(entry[6:8], "little")), addend + behind, addend)


def refer(scene, at, anchor, distance, value):
    if anchor and value:
        scene.add(at, "anchored32", anchor[0] + distance, anchor)


def regular(data, place):
    """Bytes of a table for each byte of the section that it relocates, if it has an entry for each word."""
    last = 24 * ((place[1] - place[0]) // 24 - 1)
    if last <= 0:
        return None
    value = u64(data, place[0] + last)
    return next((stride for stride in (6, 3) if value * stride == last), None)


# For each kind of record: whether its third number is a type, how often numbers follow, and these.
OTHER, NAME, TYPE = range(3)
RECORDS = {
    1: (False, 1, [OTHER]), 3: (False, 1, [TYPE, TYPE, OTHER]), 4: (False, None, [NAME, TYPE, OTHER]), 5: (False, None, [NAME, TYPE, OTHER]),
    6: (False, None, [NAME, OTHER]), 7: (False, 0, []), 13: (True, None, [NAME, TYPE]), 14: (True, 1, [OTHER]),
    15: (False, None, [TYPE, OTHER, OTHER]), 16: (False, 0, []), 17: (True, 1, [OTHER]), 19: (False, None, [NAME, OTHER, OTHER]),
    **{kind: (True, 0, []) for kind in (2, 8, 9, 10, 11, 12, 18)},
}


def types(scene, zone):
    data, span = scene.data[zone.start : zone.end], scene.image.span
    if len(data) < 16 or data[:3] != b"\x9f\xeb\x01":
        return

    def add(at, number):
        value = u32(data, at)
        limit, start = (NAMES, span) if number == NAME else (TYPES, span + NAMES)
        if number != OTHER and 0 < value < limit:
            scene.add(zone.start + at, "absolute32", start + value, is_number=True)

    at = u32(data, 4) + u32(data, 8)
    end = min(at + u32(data, 12), len(data))
    while at + 12 <= end:
        known = RECORDS.get(data[at + 7] & 31)
        if known is None:
            return
        refers, count, numbers = known
        count = int.from_bytes(data[at + 4 : at + 6], "little") if count is None else count
        behind = at + 12 + 4 * len(numbers) * count
        if behind > end:
            return
        add(at, NAME)
        if refers:
            add(at + 8, TYPE)
        for place in range(at + 12, behind, 4):
            add(place, numbers[(place - at - 12) // 4 % len(numbers)])
        at = behind
