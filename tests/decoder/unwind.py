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
                references = [(content + 4, function_on)]
                augmented = content + 12 < end and 4 <= walked[content + 12] < 128
                references.append((content + 13, data_on and augmented))
                for place, is_on in references:
                    distance = value(place, end)
                    if is_on and distance:
                        scene.add(zone.start + place, "relative32", address + place + distance)
        at = end


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
