"""References in x86-64 code. docs/format-elf.md, section 5.1."""
import re

from literals import immediate

CANDIDATE = re.compile(rb"[\xE8\xE9\x05\x0D\x15\x1D\x25\x2D\x35\x3D]|(?<=\x0F)[\x80-\x8F]", re.DOTALL)


def code(scene, zone, address):
    data, free = scene.data, zone.start + 1
    for match in CANDIDATE.finditer(data, zone.start + 1, zone.end):
        place = match.start()
        if place < free or place + 5 > zone.end:
            continue
        byte, before = data[place], data[place - 1]
        value = int.from_bytes(data[place + 1 : place + 5], "little", signed=True)
        form = "relative32" if byte & 0xC7 == 0x05 else "branch32"
        target = address + place + 5 - zone.start + value + immediate(byte, before)
        if value and scene.add(place + 1, form, target):
            free = place + 5
