"""Unwind tables and records. docs/format-elf.md, sections 5.3 and 12."""
from collections import namedtuple

import elf
import programs
from wire import Refused

RELATIVE_32 = 0x1B
MOST_HELD = 16 << 20
Place = namedtuple("Place", "start end address")


def record(records, at):
    """Start and end of the content of the record at `at`, if it fits."""
    length = elf.u32(records, at)
    if length is None or at + 4 + length > len(records):
        return None
    return at + 4, at + 4 + length


def locate(data, table, address, image):
    """The range of the records in the file, from the table's first bytes."""
    if data[table : table + 2] != bytes([1, RELATIVE_32]) or elf.i32(data, table + 4) is None:
        return None
    start = address + 4 + elf.i32(data, table + 4)
    start = image.offset_of(start) if start >= 0 else None
    if start is None:
        return None
    segment = image.segment_at(start)
    records, at = data[start : segment.offset + segment.file_length], 0
    while (found := record(records, at)) is not None:
        at = found[1]
        if found[0] == found[1]:
            break
    return start, start + at


def table(scene, zone, address):
    anchor = scene.anchor(address)
    if anchor:
        for at in range(zone.start, zone.end - 3, 4):
            scene.add(at, "anchored32", address + elf.i32(scene.data, at), anchor)


def records(scene, zone, address):
    walked = scene.data[zone.start : zone.end]
    common, function_on, data_on = 0, False, False
    at = 0

    def value(at, end):
        return elf.i32(walked, at) if at + 4 <= end else None

    while (found := record(walked, at)) is not None:
        content, end = found
        if end - content >= 4:
            pointer = elf.u32(walked, content)
            if pointer == 0:
                common, (function_on, data_on) = at, marks(walked[:end], content)
            else:
                scene.add(zone.start + content, "backward32", address + content - pointer)
                named = content - pointer
                if named >= 0 and named != common and (other := record(walked, named)) is not None:
                    common, (function_on, data_on) = named, marks(walked[: other[1]], other[0])
                start = None
                distance = value(content + 4, end)
                if function_on and distance:
                    start = address + content + 4 + distance
                    scene.add(zone.start + content + 4, "relative32", start)
                length = value(content + 8, end)
                has_span = start is not None and start >= 0 and length is not None and length > 0
                if has_span:
                    scene.add_span(zone.start + content + 8, "length32", start + length - 1, 0, length, True)
                distance = value(content + 13, end)
                if data_on and content + 12 < end and 4 <= walked[content + 12] < 128 and distance:
                    scene.add(zone.start + content + 13, "relative32", address + content + 13 + distance)
                if has_span:
                    unit = code_unit(walked[: record(walked, common)[1]], common + 4)
                    left = (end - content) // 4 - 4
                    advances(scene, zone.start, walked[: min(end, content + 1024)], content + 12, start, unit, left)
        at = end


ONE = {*range(0x80, 0xC0), 0x06, 0x07, 0x08, 0x0D, 0x0E, 0x13, 0x2E}
TWO = {0x05, 0x09, 0x0C, 0x11, 0x12, 0x14, 0x15, 0x2F}
NONE = {0x00, 0x0A, 0x0B, 0x2D, *range(0xC0, 0x100)}


def code_unit(walked, content):
    """Bytes of a unit of distances, or None."""
    end = walked.find(0, content + 5, content + 21)
    return walked[end + 1] if 0 <= end < len(walked) - 1 else None


def advances(scene, zone_start, walked, at, place, unit, left):
    """Distances in the call-frame instructions of a record, of which `left` are fields."""
    if unit not in (1, 2, 4) or at >= len(walked) or walked[at] > 127:
        return
    scale, first = unit.bit_length() - 1, True
    at += 1 + walked[at]

    def passed(at):
        length = next((i for i in range(10) if at + i >= len(walked) or walked[at + i] < 0x80), None)
        if length is None or at + length >= len(walked):
            raise IndexError
        return at + length + 1

    try:
        while at < len(walked) and left > 0:
            code = walked[at]
            form, width = {0x02: ("advance8", 1), 0x03: ("advance16", 2)}.get(code, (None, 0))
            if 0x40 <= code < 0x80:
                form, width, at = "advance6", 1, at - 1
            at += 1
            if form:
                if at + width > len(walked):
                    return
                number = int.from_bytes(walked[at : at + width], "little") & (0x3F if form == "advance6" else 0xFFFF)
                if number:
                    place += number << scale
                    scene.add_span(zone_start + at, form, place - 1, scale, number, first)
                    first, left = False, left - 1
                at += width
            elif code in ONE:
                at = passed(at)
            elif code in TWO:
                at = passed(passed(at))
            elif code in (0x0F, 0x10, 0x16):
                at = passed(at) if code != 0x0F else at
                if walked[at] > 127:
                    return
                at += 1 + walked[at]
            elif code not in NONE:
                return
    except IndexError:
        return


def marks(walked, content):
    """Whether a common record says that functions, and data, are relative to the field."""
    function, data = False, False
    try:
        at = content + 5
        end = walked.index(0, at, at + 16)
        letters = walked[at:end]
        if letters[:1] != b"z":
            return False, False
        at = end + 1
        for _ in range(4):
            length = next(i for i in range(10) if walked[at + i] < 0x80)
            at += length + 1
        for letter in letters[1:]:
            if letter in b"SB":
                continue
            if letter == ord("R"):
                function = walked[at] == RELATIVE_32
            elif letter == ord("L"):
                data = walked[at] == RELATIVE_32
            elif letter == ord("P"):
                form = walked[at] & 15
                if form in (3, 11):
                    at += 4
                elif form in (0, 4, 12):
                    walked[at + 8]
                    at += 8
                else:
                    break
            else:
                break
            at += 1
    except (IndexError, ValueError, StopIteration):
        return False, False
    return function, data


def place(image, gap, length):
    """The places of a target's table and records, for a table that is computed."""
    address, size = image.unwind_header or (0, 0)
    start = image.offset_of(address) if image.unwind_header else None
    if start is None or size < 12:
        raise Refused("a target without the unwind table that is computed")
    records = start + size + gap
    segment = image.segment_at(start)
    if records + length > segment.offset + segment.file_length or records + length - start > MOST_HELD:
        raise Refused("unwind records that are not behind their table")
    return Place(start, start + size, address), Place(records, records + length, address + records - start)


def fill(target, image, places):
    """Computes the table."""
    table, records = places
    rows = (table.end - table.start - 12) // 8
    target[table.start + 8 : table.start + 12] = rows.to_bytes(4, "little")
    made = programs.unwind_table(Place(table.start + 12, table.start + 12 + 8 * rows, table.address), records, target)
    target[table.start + 12 : table.start + 12 + len(made)] = made
