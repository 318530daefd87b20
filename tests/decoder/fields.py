"""Forms of fields, and the map that moves them. docs/format-group.md, section 7."""
from bisect import bisect_left, bisect_right
from collections import namedtuple

from wire import Refused

# An anchor is (address, stride); `scale` is that of low12 and of advances; `number` is that of the base's field, of spans.
Field = namedtuple("Field", "at form target anchor scale number first", defaults=(None, 0, 0, True))

# Lowest bit and width of each form's number.
NUMBERS = {
    "branch32": (0, 32), "relative32": (0, 32), "relative32 in data": (0, 32), "absolute32": (0, 32),
    "absolute64": (0, 64), "absolute64 in data": (0, 64), "backward32": (0, 32), "anchored32": (0, 32),
    "branch26": (0, 26), "branch19": (5, 19), "branch14": (5, 14), "low12": (10, 12),
    "offset32": (0, 32), "offset32 big": (0, 32), "page21": None, "length32": (0, 32),
    "advance6": (0, 6), "advance8": (0, 8), "advance16": (0, 16),
}
FLAGGED = {"relative32 in data", "absolute64 in data", "offset32", "offset32 big"}
BRANCHES = {"branch32", "branch26", "branch19", "branch14"}
# Forms whose number does not take all bits of its bytes.
PARTIAL = {"branch26", "branch19", "branch14", "page21", "low12", "advance6"}
# What the number of a length or an advance stays below.
MOST = {"advance6": 1 << 6, "advance8": 1 << 8, "advance16": 1 << 16}
MOST_SHIFT = (1 << 31) - 1


def width(form):
    widths = {"absolute64": 8, "absolute64 in data": 8, "advance6": 1, "advance8": 1, "advance16": 2}
    return widths.get(form, 4)


def read_number(form, data, at=0):
    order = "big" if form == "offset32 big" else "little"
    word = int.from_bytes(data[at : at + width(form)], order)
    if form == "page21":
        return word >> 29 & 3 | (word >> 5 & 0x7FFFF) << 2
    low, bits = NUMBERS[form]
    return word >> low & ((1 << bits) - 1)


def put_number(form, data, at, number):
    """Writes a number, modulo its width, and leaves the other bits."""
    order = "big" if form == "offset32 big" else "little"
    end = at + width(form)
    word = int.from_bytes(data[at:end], order)
    if form == "page21":
        number %= 1 << 21
        word = word & 0x9F00001F | (number & 3) << 29 | (number >> 2) << 5
    else:
        low, bits = NUMBERS[form]
        mask = (1 << bits) - 1
        word = word & ~(mask << low) | (number & mask) << low
    data[at:end] = word.to_bytes(end - at, order)


class Map:
    """Shifts of base addresses."""

    def __init__(self, copies, overrides, base, target):
        self.base, self.target, self.overrides = base, target, overrides
        self.starts = [start for start, _, _ in overrides]
        self.move_starts, self.moves = file_moves(copies)
        self.tail = target.absolute_data_end() - base.absolute_data_end()

    def shift(self, address):
        """Returns the shift of an address inside the image, or None."""
        i = bisect_right(self.starts, address) - 1
        if i >= 0:
            start, length, shift = self.overrides[i]
            if address < start + length:
                return shift
        if self.base.span <= address < self.base.reach:
            return 0
        segment = self.base.segment_of_address(address)
        if segment is None:
            return None
        within = address - segment.start
        if within >= segment.file_length:
            shift = self.tail
        else:
            offset = segment.offset + within
            moved = offset + self.moves[bisect_right(self.move_starts, offset) - 1]
            found = self.target.address_at(moved) if moved >= 0 else None
            if found is None:
                return None
            shift = self.target.low + found - self.base.low - address
        return shift if -MOST_SHIFT <= shift <= MOST_SHIFT else None


def file_moves(copies):
    """Starts of ranges of base offsets, and the move of each range."""
    edges = sorted({0} | {c.base for c in copies} | {c.base + c.length for c in copies})
    order, open_copies = sorted(copies, key=lambda c: c.base), []
    starts, moves, taken, first = [], [], 0, None
    for edge in edges:
        while taken < len(order) and order[taken].base <= edge:
            open_copies.append(order[taken])
            taken += 1
        open_copies = [c for c in open_copies if c.base + c.length > edge]
        if open_copies:
            best = max(open_copies, key=lambda c: (c.length, -c.target))
            first = best.target - best.base if first is None else first
            starts.append(edge)
            moves.append(best.target - best.base)
    if not starts or starts[0] > 0:
        starts.insert(0, 0)
        moves.insert(0, first or 0)
    return starts, moves


def read_overrides(streams, span):
    count, position, shift, overrides = streams.number("override gaps"), 0, 0, []
    for _ in range(count):
        start = position + streams.number("override gaps")
        length = streams.number("override lengths")
        position = start + length
        shift += streams.signed("override shifts")
        if length == 0 or position > span or not -MOST_SHIFT <= shift <= MOST_SHIFT:
            raise Refused("an override leaves the image, or its shift is too large")
        overrides.append((start, length, shift))
    return overrides


def read_page_flags(streams, base_length):
    """Returns the numbers of the pages that are off."""
    off, at, pages = set(), 0, base_length // 1024 + 1
    for _ in range(streams.number("page flags")):
        on_run, off_run = streams.number("page flags"), streams.number("page flags")
        if off_run == 0 or at + on_run + off_run > pages:
            raise Refused("page flags leave the base")
        off.update(range(at + on_run, at + on_run + off_run))
        at += on_run + off_run
    return off


def pieces(copy, base, target):
    """Cuts a copy where a segment starts or ends on either side: (base offset, end)."""
    ends = {copy.base, copy.base + copy.length}
    for segment in base.segments:
        ends.update((segment.offset, segment.offset + segment.file_length))
    for segment in target.segments:
        for offset in (segment.offset, segment.offset + segment.file_length):
            ends.add(offset - copy.target + copy.base)
    ends = sorted(end for end in ends if copy.base <= end <= copy.base + copy.length)
    return zip(ends, ends[1:])


def page(address):
    return address >> 12


def addition(field, piece, base, the_map):
    """Returns what to add to a field in a piece (address, length, s), or None; the address is None if it is not placed."""
    address, length, s = piece
    form, target = field.form, field.target
    if form in BRANCHES:
        if address is None:
            return None
        if 0 <= target - address < length:
            return 0
    shift = the_map.shift(target)
    if shift is None:
        return None
    if form == "length32" or form in MOST:
        start = the_map.shift(target - (field.number << field.scale) + field.first)
        more = None if start is None else (shift - start) >> field.scale
        return more if more is not None and 0 < field.number + more < MOST.get(form, 2 * field.number) else None
    if form.startswith(("absolute", "offset32")):
        return shift
    absolute = base.low + target
    if form == "low12":
        return ((absolute + shift & 4095) >> field.scale) - ((absolute & 4095) >> field.scale)
    if form == "anchored32":
        anchor_address, stride = field.anchor
        anchor = the_map.shift(anchor_address)
        if anchor is None:
            return None
        quotient = abs(shift - anchor) // stride
        return quotient if shift >= anchor else -quotient
    if address is None:
        return None
    if form == "backward32":
        return s - shift
    if form == "page21":
        here = base.low + base.address_at(field.at)
        return page(absolute + shift) - page(here + s) - (page(absolute) - page(here))
    if form in ("branch26", "branch19", "branch14"):
        return (shift - s) >> 2
    return shift - s


def correct(target, copies, fields, images, the_map, pages_off, streams, exact=None):
    """Adds to each field in a copy what the map says, and its miss. Fields of whole bytes become exact."""
    base, new = images
    places = [field.at for field in fields]
    misses = streams.number("miss gaps")
    gap = streams.number("miss gaps") if misses else -1
    for copy in copies:
        for start, end in pieces(copy, base, new):
            here, there = base.address_at(start), new.address_at(start - copy.base + copy.target)
            placed = here is not None and there is not None
            piece = (here, end - start, new.low + there - base.low - here) if placed else (None, 0, 0)
            for i in range(bisect_left(places, start), bisect_left(places, end)):
                field = fields[i]
                if field.at + width(field.form) > end:
                    continue
                if field.form in FLAGGED and field.at // 1024 in pages_off:
                    continue
                more = addition(field, piece, base, the_map)
                if more is None:
                    continue
                if gap == 0:
                    more += streams.signed("miss values")
                    misses -= 1
                    gap = streams.number("miss gaps") if misses else -1
                elif gap > 0:
                    gap -= 1
                at = field.at - copy.base + copy.target
                if exact is not None and field.form not in PARTIAL:
                    exact[at : at + width(field.form)] = b"\1" * width(field.form)
                if more:
                    put_number(field.form, target, at, read_number(field.form, target, at) + more)
    if misses:
        raise Refused("misses are left when the fields end")
