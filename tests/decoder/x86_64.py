"""References in x86-64 code. docs/format-elf.md, section 5.1."""
import re

from literals import immediate

CANDIDATE = re.compile(rb"[\xE8\xE9\x05\x0D\x15\x1D\x25\x2D\x35\x3D]|(?<=\x0F)[\x80-\x8F]", re.DOTALL)
BEFORE_ADDRESS = re.compile(
    rb"[\x68\xB8-\xBF]|(?<=\x81)[\xF8-\xFF]|(?<=[\x04\x0C\x14\x1C\x24\x2C\x34\x3C])[\x45\x4D\x55\x5D\x65\x6D\x75\x7D\x85\x8D\x95\x9D"
    rb"\xA5\xAD\xB5\xBD\xC5\xCD\xD5\xDD\xE5\xED\xF5\xFD]", re.DOTALL)


def code(scene, zone, address):
    data, image, free = scene.data, scene.image, zone.start + 1
    places = [(match.start(), False) for match in CANDIDATE.finditer(data, zone.start + 1, zone.end)]
    if image.low >= 1 << 16 and image.low + image.span <= 1 << 31:
        places += [(match.start(), True) for match in BEFORE_ADDRESS.finditer(data, zone.start + 1, zone.end)]
    for place, is_address in sorted(places):
        if place < free or place + 5 > zone.end:
            continue
        field = data[place + 1 : place + 5]
        if is_address:
            if scene.add(place + 1, "absolute32", int.from_bytes(field, "little") - image.low):
                free = place + 5
            continue
        byte, before = data[place], data[place - 1]
        value = int.from_bytes(field, "little", signed=True)
        form = "relative32" if byte & 0xC7 == 0x05 else "branch32"
        if form == "relative32" and image.is_object:
            continue
        target = address + place + 5 - zone.start + value + immediate(byte, before)
        if value and scene.add(place + 1, form, target):
            free = place + 5
