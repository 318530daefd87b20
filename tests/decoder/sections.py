"""ELF files with compressed sections. docs/format-archives.md, sections 6 and 7."""
import struct
import zlib
from collections import namedtuple

from envelopes import DeflateRecipe, deflate
from wire import Reader, Refused

START = b"\x7fELF\x02\x01\x01"
HEADER, ENTRY = 64, 64
LOADED, COMPRESSED, WITHOUT_CONTENT = 2, 0x800, 8
MOST_HEADERS, MOST_SECTIONS, MOST_NAMES = 16_384, 256, 1 << 20
Section = namedtuple("Section", "number alignment start end length")


def u64(data, at):
    return int.from_bytes(data[at : at + 8], "little")


class Table:
    """The section headers of a file."""

    def __init__(self, data):
        self.offset = u64(data, 40)
        width, count, self.names_number = struct.unpack_from("<HHH", data[58:64].ljust(6, b"\0"))
        self.end = self.offset + count * ENTRY
        if data[:7] != START or width != ENTRY or not 1 <= count <= MOST_HEADERS or self.offset < HEADER or self.end > len(data):
            raise Refused("an ELF file without section headers")
        self.entries = [bytearray(data[at : at + ENTRY]) for at in range(self.offset, self.end, ENTRY)]

    def range(self, number):
        start = u64(self.entries[number], 24)
        return start, start + u64(self.entries[number], 32)

    def name(self, data, number):
        if self.names_number >= len(self.entries):
            return b""
        start, end = self.range(self.names_number)
        if end > len(data) or end - start > MOST_NAMES:
            return b""
        return data[start:end][int.from_bytes(self.entries[number][:4], "little") :].split(b"\0")[0]

    def move(self, ranges, flag):
        """Gives the ranges new lengths; `flag` is what becomes of the flag of sections with a compression header."""
        moved = lambda offset: move(offset, [(start, end, length) for _, _, start, end, length in ranges])
        self.offset = moved(self.offset)
        for entry in self.entries:
            entry[24:32] = moved(u64(entry, 24)).to_bytes(8, "little")
        for section in ranges:
            entry = self.entries[section.number]
            entry[32:40] = section.length.to_bytes(8, "little")
            if section.alignment is not None:
                entry[8:16] = (u64(entry, 8) & ~COMPRESSED | flag).to_bytes(8, "little")
        return b"".join(map(bytes, self.entries))


def move(offset, ranges):
    new = offset
    for start, end, length in ranges:
        if offset <= start:
            break
        if offset < end:
            raise Refused("a place inside a compressed section")
        new += length - (end - start)
    if new >= 1 << 64:
        raise Refused("a place beyond 64 bits")
    return new


def check_places(length, table, ranges):
    end = HEADER
    for start, stop in sorted([(table.offset, table.end), *ranges]):
        if start < end or stop <= start or stop > length:
            raise Refused("sections that overlap, or leave the file")
        end = stop


def find(data, table):
    """The compressed sections, in the order of the file."""
    found = []
    for number, entry in enumerate(table.entries):
        flags, (start, end) = u64(entry, 8), table.range(number)
        if flags & LOADED or int.from_bytes(entry[4:8], "little") == WITHOUT_CONTENT or end > len(data):
            continue
        stored, alignment = data[start:end], None
        if flags & COMPRESSED:
            kind, length, alignment, front = u64(stored, 0), u64(stored, 8), u64(stored, 16), 24
            fits = kind == 1
        else:
            length, front = int.from_bytes(stored[4:12], "big"), 12
            fits = table.name(data, number).startswith(b".zdebug_") and stored[:4] == b"ZLIB"
        wrapper = stored[front : front + 2]
        if fits and length and len(stored) > front + 6 and wrapper[0] & 15 == 8 and wrapper[0] >> 4 <= 7:
            if not wrapper[1] & 0x20 and int.from_bytes(wrapper, "big") % 31 == 0:
                found.append(Section(number, alignment, start, end, length))
    return sorted(found, key=lambda section: section.start)


def segments_end(data, first):
    at, width, count = u64(data, 32), *struct.unpack_from("<HH", data, 54)
    ends = [(at, at + 56 * count)] if count else []
    if count and (width != 56 or ends[0][1] > first):
        raise Refused("program headers behind a compressed section")
    headers = [data[at + 56 * i : at + 56 * i + 56] for i in range(count)]
    ends += [(u64(header, 8), u64(header, 8) + u64(header, 32)) for header in headers]
    if any(end > first for _, end in ends):
        raise Refused("a segment behind a compressed section")


def open_elf(data):
    """The file with inflated sections, and the structure."""
    table = Table(data)
    found = find(data, table)
    if not found or len(found) > MOST_SECTIONS:
        raise Refused("an ELF file without compressed sections, or with too many")
    segments_end(data, found[0].start)
    check_places(len(data), table, [(section.start, section.end) for section in found])
    pieces = [(table.offset, table.end, None)]
    for section in found:
        front = 12 if section.alignment is None else 24
        inflater = zlib.decompressobj(15)
        try:
            plain = inflater.decompress(data[section.start + front : section.end])
        except zlib.error:
            raise Refused("a compressed section that is damaged")
        if not inflater.eof or inflater.unused_data or len(plain) != section.length:
            raise Refused("a compressed section of another length")
        pieces.append((section.start, section.end, plain))
    headers = table.move(found, 0)
    out, at = data[:40] + table.offset.to_bytes(8, "little"), 48
    for start, end, plain in sorted(pieces, key=lambda piece: piece[0]):
        out += data[at:start] + (headers if plain is None else plain)
        at = end
    numbers = [put(len(found))]
    for section in found:
        numbers += [put(section.number), b"\1" if section.alignment is None else b"\0" + put(section.alignment)]
    return out + data[at:], b"".join(numbers)


def put(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def listed_section(reader):
    """Number and alignment; the alignment is None for GNU's form."""
    number, form = reader.number(), reader.byte()
    if form > 1:
        reader.refuse(f"form {form}")
    return number, reader.number() if form == 0 else None


def close_elf(inner):
    if len(inner) != 2 or inner[0].recipe is None:
        raise Refused("an ELF file is a content with a compression, and a structure")
    data, recipe = inner[0].data, DeflateRecipe(inner[0].recipe)
    reader = Reader(inner[1].data, "structure of an ELF file")
    listed = [listed_section(reader) for _ in range(reader.number())]
    reader.end()
    table = Table(data)
    if len(recipe.members) != len(listed) or recipe.tail or len(listed) > MOST_SECTIONS:
        raise Refused("another number of sections")
    if any(number >= len(table.entries) for number, _ in listed):
        raise Refused("a section that is not there")
    ranges = [table.range(number) for number, _ in listed]
    check_places(len(data), table, ranges)
    if ranges != sorted(ranges):
        raise Refused("sections that are not in order")
    pieces, sections = [(table.offset, table.end, None)], []
    for (number, alignment), (start, end), member in zip(listed, ranges, recipe.members):
        plain = data[start:end]
        if alignment is None:
            front = b"ZLIB" + len(plain).to_bytes(8, "big")
        else:
            front = struct.pack("<QQQ", 1, len(plain), alignment)
        stored = front + member.header + deflate(member, plain) + zlib.adler32(plain).to_bytes(4, "big")
        pieces.append((start, end, stored))
        sections.append(Section(number, alignment, start, end, len(stored)))
    headers = table.move(sections, COMPRESSED)
    out, at = data[:40] + table.offset.to_bytes(8, "little"), 48
    for start, end, stored in sorted(pieces, key=lambda piece: piece[0]):
        out += data[at:start] + (headers if stored is None else stored)
        at = end
    return out + data[at:]
