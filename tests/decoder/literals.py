"""Literals of programs: their spelling, and those that are packed apart. docs/format-elf.md, sections 8 and 9."""
from bisect import bisect_left

import lz
import pack
from fields import put_number, read_number, width
from wire import Refused

MOST_PREFIX = 32 << 20
MOST_HISTORY = 1 << 20
MOST_LZ = 4 << 20
MARGIN = 32


def immediate(byte, before):
    """How far behind a field of x86-64 the address is that it counts from."""
    if byte & 0xC7 != 0x05:
        return 0
    if before in (0x80, 0x83, 0xC0, 0xC1, 0xC6, 0x6B):
        return 1
    return 4 if before in (0x81, 0xC7, 0x69) else 0


def gaps(length, ranges):
    """Ranges up to `length` that are in none of `ranges`."""
    at, found = 0, []
    for start, end in sorted(ranges):
        if start > at:
            found.append((at, start))
        at = max(at, end)
    if length > at:
        found.append((at, length))
    return found


def target_gaps(target, copies):
    return gaps(len(target), [(c.target, c.target + c.length) for c in copies])


def respell(target, copies, image):
    for start, end in target_gaps(target, copies):
        for segment in image.segments:
            from_, to = max(start, segment.offset), min(end, segment.offset + segment.file_length)
            if segment.executable and from_ < to:
                address = segment.start + from_ - segment.offset
                (respell_x86_64 if image.machine == "x86-64" else respell_aarch64)(target, from_, to, address, image)


def respell_x86_64(target, start, end, address, image):
    if image.span >= 1 << 31:
        return
    at = max(start, 2)
    while at + 4 <= end:
        byte, before = target[at - 1], target[at - 2]
        value = int.from_bytes(target[at : at + 4], "little", signed=True)
        spelled = value
        if byte == 0xE8 or byte & 0xC7 == 0x05:
            behind = address + at - start + 4 + immediate(byte, before)
            if 0 <= value < image.span:
                spelled = value - behind
            elif -behind <= value < 0:
                spelled = value + image.span
        target[at : at + 4] = (spelled & 0xFFFFFFFF).to_bytes(4, "little")
        at += 5 if spelled != value else 1


def respell_aarch64(target, start, end, address, image):
    absolute = image.low + address
    at = start + -absolute % 4
    while at + 4 <= end:
        here = absolute + at - start
        word = int.from_bytes(target[at : at + 4], "little")
        for mask, opcode, form, shift in ((0xFC000000, 0x94000000, "branch26", 2), (0x9F000000, 0x90000000, "page21", 12)):
            if word & mask == opcode:
                put_number(form, target, at, read_number(form, target, at) - (here >> shift))
        at += 4


def fill(streams, history, target, copies, view):
    """Puts packed literals into the target's gaps and returns the history with them."""
    usable, coder = history[-MOST_HISTORY:], streams.number("packed literals")
    taken = streams.number("packed literals")
    if taken > len(usable):
        raise Refused("more history than there is")
    packed = streams.bytes("packed literals", streams.number("packed literals"))
    places = target_gaps(target, copies)
    count = sum(end - start for start, end in places)
    before = usable[len(usable) - taken :] + prefix(*view)
    if coder > 1 or (coder == 1 and count > MOST_LZ):
        raise Refused(f"coder {coder} of {count} literals")
    unpacked = lz.unpack(packed, count, before) if coder else pack.unpack_frame(packed, count, before)
    at = 0
    for start, end in places:
        target[start:end] = unpacked[at : at + end - start]
        at += end - start
    return history + unpacked


def prefix(taken, base, old, new, fields, the_map):
    """The base bytes that no copy takes, as literals would spell them."""
    stretches = []
    for start, end in gaps(len(base), taken):
        start, end = max(start - MARGIN, 0), min(end + MARGIN, len(base))
        if stretches and stretches[-1][1] >= start:
            stretches[-1] = (stretches[-1][0], end)
        else:
            stretches.append((start, end))
    out, places = bytearray(), [field.at for field in fields]
    for executable in (False, True):
        for segment in (s for s in old.segments if s.executable == executable):
            for start, end in stretches:
                start, end = max(start, segment.offset), min(end, segment.offset + segment.file_length)
                if start >= end:
                    continue
                own = bytearray(base[start:end])
                for field in fields[bisect_left(places, start) : bisect_left(places, end)]:
                    if field.at + width(field.form) <= end:
                        change(own, field.at - start, field, executable, (base, old, new, the_map))
                out += own
    return bytes(out[-MOST_PREFIX:])


def change(own, at, field, executable, scene):
    base, old, new, the_map = scene
    form, shift = field.form, the_map.shift(field.target)
    number = read_number(form, own, at)
    absolute = old.low + field.target
    moved = absolute + (shift or 0)
    before = base[field.at - 1] if field.at else 0
    if executable and old.machine == "x86-64":
        if (form == "branch32" and before == 0xE8) or (form == "relative32" and before & 0xC7 == 0x05):
            return put_number(form, own, at, moved - new.low)
    if executable and old.machine == "aarch64":
        if form == "branch26" and own[at + 3] & 0xFC == 0x94:
            return put_number(form, own, at, moved >> 2)
        if form == "page21":
            return put_number(form, own, at, moved >> 12)
    if shift is None:
        return None
    if form in ("branch32", "relative32", "relative32 in data"):
        own_shift = the_map.shift(old.address_at(field.at))
        if own_shift is not None:
            put_number(form, own, at, number + shift - own_shift)
    elif form.startswith("absolute"):
        put_number(form, own, at, number + shift)
    elif form == "low12":
        put_number(form, own, at, number + (((moved & 4095) >> field.scale) - ((absolute & 4095) >> field.scale)))
    return None
