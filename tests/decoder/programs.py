"""Programs without a base: parts, each with a stream of its own. docs/format-parts.md."""
import struct
from collections import namedtuple

from instructions import Unknown, parts as instruction_parts
from wire import Refused

DATA, X86_64, AARCH64, RECORDS, UNWIND_TABLE, RELOCATIONS, SYMBOLS, NAMES, HASHES, PAIRS = range(10)
COLUMNS = {RELOCATIONS: (8, 8, 8), SYMBOLS: (4, 4, 8, 8), PAIRS: (4, 4), UNWIND_TABLE: (4, 4)}
HASH_HEAD, MOST_NAME, MOST_BYTES, MOST_PARTS = 16, 1024, 64 << 20, 4096
WORD = 0xFFFFFFFF

Part = namedtuple("Part", "kind start end address")


def rebuild(streams, length):
    if length > MOST_BYTES:
        raise Refused(f"a program of {length} bytes")
    found = read(streams, length)
    target = bytearray(length)
    for part in found:
        count = part.end - part.start
        if part.kind in (DATA, NAMES):
            made = streams.bytes("literals", count)
        elif part.kind == X86_64:
            made = x86_64(bytearray(streams.bytes("code", count)), part.address)
        elif part.kind == AARCH64:
            made = aarch64(bytearray(streams.bytes("code", count)), part.address)
        elif part.kind == RECORDS:
            made = records(bytearray(streams.bytes("program unwind records", count)), part.address)
        elif part.kind in (RELOCATIONS, SYMBOLS, PAIRS):
            made = table(streams, count, COLUMNS[part.kind])
        elif part.kind == HASHES:
            made = streams.bytes("literals", HASH_HEAD).ljust(count, b"\0")
        else:
            made = bytes(count)
        target[part.start : part.end] = made
    for part in found:
        if part.kind == UNWIND_TABLE:
            target[part.start : part.end] = unwind_table(part, first(found, RECORDS), target)
        elif part.kind == HASHES:
            symbols, names = first(found, SYMBOLS), first(found, NAMES)
            head = target[part.start : part.start + HASH_HEAD]
            symbols, names = target[symbols.start : symbols.end], target[names.start : names.end]
            target[part.start + HASH_HEAD : part.end] = hash_table(head, part.end - part.start, symbols, names)
    return bytes(target)


def read(streams, length):
    found, at, expected = [], 0, 0
    while at < length:
        number = streams.number("parts")
        kind, count = number & 15, number >> 4
        row = sum(COLUMNS.get(kind, (1,)))
        least = HASH_HEAD if kind == HASHES else 1
        if kind > PAIRS or not least <= count <= length - at or count % row:
            raise Refused(f"a part of kind {kind} with {count} bytes")
        if len(found) == MOST_PARTS or (kind in (UNWIND_TABLE, HASHES) and any(part.kind == kind for part in found)):
            raise Refused("too many parts")
        address = 0
        if X86_64 <= kind <= UNWIND_TABLE:
            address = (expected + streams.signed("parts")) % (1 << 64)
            expected = address + count
        found.append(Part(kind, at, at + count, address))
        at += count
    return found


def first(found, kind):
    parts = [part for part in found if part.kind == kind]
    if not parts:
        raise Refused("a table without the parts that it follows from")
    return parts[0]


def u32(data, at):
    return int.from_bytes(data[at : at + 4], "little")


def put32(data, at, number):
    data[at : at + 4] = (number & WORD).to_bytes(4, "little")


def x86_64(code, address):
    at = 0
    while at < len(code):
        try:
            found = instruction_parts(code[at : at + 15])
        except Unknown:
            at += 1
            continue
        end, field = at + found.immediate + found.immediate_length, None
        if found.modrm and code[at + found.modrm] & 0xC7 == 5:
            field = at + found.displacement
        elif found.letter == "J":
            field = at + found.immediate
        if field is not None:
            put32(code, field, u32(code, field) - (address + end))
        at = end
    return code


def aarch64(code, address):
    for at in range(-address % 4, len(code) - 3, 4):
        here, word = address + at, u32(code, at)
        if word & 0xFC000000 == 0x94000000:
            word = word & 0xFC000000 | (word - (here >> 2)) & 0x3FFFFFF
        elif word & 0x9F000000 == 0x90000000:
            pages = (word >> 29 & 3 | (word >> 5 & 0x7FFFF) << 2) - (here >> 12)
            word = word & 0x9F00001F | (pages & 3) << 29 | (pages >> 2 & 0x7FFFF) << 5
        put32(code, at, word)
    return code


def records(data, address):
    at = common = end = 0
    while at + 16 <= len(data):
        size = u32(data, at)
        if not 12 <= size <= len(data) - at - 4:
            break
        if u32(data, at + 4) == 0:
            common = at
        else:
            expected, number = (at + 4 - common) & WORD, u32(data, at + 4)
            if expected:
                number = expected if number == 1 else 1 if number == expected else number
            put32(data, at + 4, number)
            place = address + at + 8
            put32(data, at + 8, u32(data, at + 8) - (place - end))
            common = (at + 4 - number) & WORD
            end = place + u32(data, at + 8) + u32(data, at + 12)
        at += 4 + size
    return data


def table(streams, count, columns):
    row, start, made = sum(columns), 0, bytearray(count)
    for width in columns:
        cell = 0
        for at in range(start, count, row):
            cell = (cell + streams.signed("table numbers")) % (1 << 8 * width)
            made[at : at + width] = cell.to_bytes(width, "little")
        start += width
    return made


def unwind_table(part, source, target):
    data, pairs, at = target[source.start : source.end], [], 0
    while at + 12 <= len(data):
        size = u32(data, at)
        if not 8 <= size <= len(data) - at - 4:
            break
        here = source.address + at - part.address
        if u32(data, at + 4):
            start = (here + 8 + u32(data, at + 8)) & WORD
            pairs.append((start - (start >> 31 << 32), here & WORD))
        at += 4 + size
    rows = (part.end - part.start) // 8
    if len(pairs) < rows:
        raise Refused("fewer functions than rows of their table")
    return b"".join(struct.pack("<iI", *pair) for pair in sorted(pairs)[:rows])


def hash_table(head, length, symbols, names):
    count, first, words, shift = struct.unpack("<4I", head)
    hashed = [symbols[at : at + 24] for at in range(24 * first, len(symbols) - 23, 24)]
    if not count or not words or shift > 31 or length != HASH_HEAD + 8 * words + 4 * (count + len(hashed)):
        raise Refused("a hash table of another length")
    filter_, buckets, links, before = [0] * words, [0] * count, [], None
    for number, symbol in enumerate(hashed):
        name = bytes(names[u32(symbol, 0) :][:MOST_NAME]).split(b"\0")[0]
        value = 5381
        for byte in name:
            value = (value * 33 + byte) & WORD
        filter_[value // 64 % words] |= 1 << value % 64 | 1 << (value >> shift) % 64
        if value % count != before:
            before = value % count
            buckets[before] = first + number & WORD
            if links:
                links[-1] |= 1
        links.append(value & ~1)
    if links:
        links[-1] |= 1
    return struct.pack(f"<{words}Q{count}I{len(links)}I", *filter_, *buckets, *links)
