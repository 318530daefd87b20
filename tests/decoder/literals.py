"""Literals of programs: their spelling, and those that are packed apart. docs/format-elf.md, sections 8 and 9."""
from bisect import bisect_left

import aligned
import lz
import pack
from fields import put_number, read_number, width
from wire import Refused

MOST_PREFIX = 32 << 20
MOST_HISTORY = 1 << 20
MOST_LZ = 4 << 20
MARGIN = 32
REFERENCE_MARGIN = 256
MOST_REFERENCE = 64 << 20


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


def fill(streams, history, mixer, target, copies, placed, view):
    """Puts packed literals into the target's gaps and returns the history with them, and the mixer state of the last aligned code.

    `placed` copies lie in the base.
    """
    usable, coder = history[-MOST_HISTORY:], streams.number("packed literals")
    taken = streams.number("packed literals")
    if taken > len(usable):
        raise Refused("more history than there is")
    count = streams.number("packed literals")
    packed = streams.bytes("codes" if coder >= 2 else "packed literals", count)
    places = target_gaps(target, copies)
    count = sum(end - start for start, end in places)
    before = usable[len(usable) - taken :]
    if coder > 3 or (coder == 1 and count > MOST_LZ) or (coder >= 2 and not packed) or (coder == 3 and not mixer):
        raise Refused(f"coder {coder} of {count} literals")
    if coder >= 2:
        mixer = aligned.MixerState() if coder == 2 else mixer
        bytes_, ranges = reference(before, *view)
        unpacked = aligned.unpack(mixer, packed, bytes_, stretches(places, placed, view[3], len(target), ranges))
    elif coder == 1:
        unpacked = lz.unpack(packed, count, before + prefix(*view), view[2].machine)
    else:
        unpacked = pack.unpack_frame(packed, count, before + prefix(*view))
    at = 0
    for start, end in places:
        target[start:end] = unpacked[at : at + end - start]
        at += end - start
    return history + unpacked, mixer


def untaken(taken, length, margin):
    """Ranges that no copy takes, with a margin."""
    found = []
    for start, end in gaps(length, taken):
        start, end = max(start - margin, 0), min(end + margin, length)
        if found and found[-1][1] >= start:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def spelled(start, end, executable, fields, places, scene):
    """A range of the base, which lies in one segment, with its fields changed."""
    own = bytearray(scene[0][start:end])
    for field in fields[bisect_left(places, start) : bisect_left(places, end)]:
        if field.at + width(field.form) <= end:
            change(own, field.at - start, field, executable, scene)
    return own


def reference(history, taken, base, old, new, fields, the_map):
    """The bytes that an aligned code refers to, and the ranges of the base in them with their places."""
    out, ranges, places = bytearray(history), [], [field.at for field in fields]
    for start, end in untaken(taken, len(base), REFERENCE_MARGIN):
        ranges.append((start, end, len(out)))
        at = start
        for segment in old.segments:
            from_, to = max(at, segment.offset), min(end, segment.offset + segment.file_length)
            if from_ < to:
                out += base[at:from_]
                out += spelled(from_, to, segment.executable, fields, places, (base, old, new, the_map))
                at = to
        out += base[at:end]
    if len(out) > MOST_REFERENCE:
        raise Refused("a reference that is too long")
    return bytes(out), ranges


def kinds(image, length):
    """Ends of ranges of a file with their kinds, ascending."""
    code, found = {"x86-64": aligned.X86, "aarch64": aligned.WORDS}.get(image.machine, aligned.DATA), []
    for segment in image.segments:
        if segment.executable:
            found += [(segment.offset, aligned.DATA), (segment.offset + segment.file_length, code)]
    return found + [(length, aligned.DATA)]


def stretches(places, placed, image, length, ranges):
    """Stretches of literals between copies, cut by kind; an edited instruction between copies is not one of them."""
    def place(at):
        if at is None:
            return None
        return next((to + at - start for start, end, to in ranges if start <= at < end), None)

    found = []
    for start, end in places:
        earlier = [copy for copy in placed if copy.target + copy.length <= start]
        later = next((copy for copy in placed if copy.target == end), None)
        for limit, kind in kinds(image, length):
            limit = min(limit, end)
            if start >= limit:
                continue
            old, new = start, later.base - (end - start) if later else None
            if earlier:
                old = earlier[-1].base + start - earlier[-1].target
            before, after = place(old), place(new)
            found.append(aligned.Stretch(limit - start, start, before, after, kind))
            start = limit
    return found


def prefix(taken, base, old, new, fields, the_map):
    """The base bytes that no copy takes, as literals would spell them."""
    stretches = untaken(taken, len(base), MARGIN)
    out, places = bytearray(), [field.at for field in fields]
    for executable in (False, True):
        for segment in (s for s in old.segments if s.executable == executable):
            for start, end in stretches:
                start, end = max(start, segment.offset), min(end, segment.offset + segment.file_length)
                if start < end:
                    out += spelled(start, end, executable, fields, places, (base, old, new, the_map))
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
