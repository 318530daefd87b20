"""A delta file as sections, each digest compared. docs/format.md, section 1."""
from collections import namedtuple

import blake3
from wire import MAX_PLACE, Reader, Refused

END, OUTLINE, RECIPE, CARRIED, COST = range(5)
Section = namedtuple("Section", "kind required head payload digest")


def head(reader):
    start = reader.at
    kind, flags, length = reader.byte(), reader.byte(), reader.number()
    if flags & ~1 or length > MAX_PLACE:
        reader.refuse("a section's head")
    return kind, flags & 1, length, reader.data[start : reader.at]


def compare(found, expected, what):
    if blake3.digest(found)[:16] != expected:
        raise Refused(f"{what}: a wrong digest")


def read(data, check_digests=True):
    """Returns the sections except the end."""
    reader = Reader(data, "delta")
    start = reader.bytes(10)
    if start[:8] != b"imgdelta" or start[8] != 1:
        reader.refuse("not a delta of version 1")
    if len(data) < 18 or data[-4:] != b"imgE":
        reader.refuse("no end mark")
    end_length = int.from_bytes(data[-8:-4], "little")
    sections, whole = [], [start]
    while True:
        at = reader.at
        kind, required, length, head_bytes = head(reader)
        payload, digest = reader.bytes(length), reader.bytes(16)
        if kind == END:
            break
        if check_digests:
            compare(head_bytes + payload, digest, f"section at {at}")
        sections.append(Section(kind, required, head_bytes, payload, digest))
        whole += [head_bytes, digest]
    if reader.at - at != end_length or not required or len(data) != reader.at + 8:
        reader.refuse("the end section and the trailer disagree")
    if payload != b"".join(section.head for section in sections):
        reader.refuse("a head differs from the table")
    if check_digests:
        compare(b"".join(whole) + head_bytes + payload, digest, "end section")
    kinds = [section.kind for section in sections]
    if kinds[:1] != [OUTLINE] or kinds.count(OUTLINE) > 1 or kinds.count(COST) > 1:
        raise Refused("the outline is not the first section, or sections are there twice")
    if any(section.required and section.kind > COST for section in sections):
        raise Refused("a required section of unknown kind")
    return sections
