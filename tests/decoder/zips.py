"""Zip files: members, and the structure of a file by columns. docs/format-archives.md, sections 3, 4 and 7."""
import struct
from collections import namedtuple

from wire import Reader, Refused

END, LOCATOR, LARGE_END = b"PK\x05\x06", b"PK\x06\x07", b"PK\x06\x06"
LOCAL, CENTRAL, DATA = b"PK\x03\x04", b"PK\x01\x02", b"PK\x07\x08"
MOST16, MOST32 = 0xFFFF, 0xFFFFFFFF
MOST_MEMBERS, MOST_DIRECTORY, MOST_GAP = 200_000, 64 << 20, 16 << 20
Common = namedtuple("Common", "needed flags method time")
COMMON = struct.Struct("<HHHI")


def unpack_common(data):
    return Common(*COMMON.unpack(data))


def fits(facts):
    """The real size fields, or None."""
    return tuple(facts) if facts[1] <= MOST32 and facts[2] <= MOST32 else None


def descriptor(form, facts):
    if form == 0:
        return b""
    if form > 4 or (form < 3 and not fits(facts)):
        return None
    return (DATA if form in (2, 4) else b"") + struct.pack("<III" if form < 3 else "<IQQ", *facts)


class Member:
    """A member's own header, its entry, and what follows its data."""

    stored_facts = None
    descriptor_form = 0
    gap = b""

    def is_inflated(self):
        return self.central.method == 8 and not self.central.flags & 1 and self.plain_bytes > 0

    def real(self):
        return self.crc, self.packed_bytes, self.plain_bytes

    def read_entry(self, reader):
        if reader.bytes(4) != CENTRAL:
            reader.refuse("an entry of the directory")
        self.made_by = reader.little(2)
        self.central = unpack_common(reader.bytes(10))
        self.central_fields = struct.unpack("<III", reader.bytes(12))
        lengths = [reader.little(2) for _ in range(3)]
        self.disk, self.internal, self.external, self.offset_field = (reader.little(n) for n in (2, 2, 4, 4))
        self.central_name, self.central_extra, self.comment = map(reader.bytes, lengths)
        large = Reader(large_part(self.central_extra), "a large field")
        self.crc, packed, plain = self.central_fields
        real = lambda field: large.little(8) if field == MOST32 else field
        self.plain_bytes, self.packed_bytes, self.offset = real(plain), real(packed), real(self.offset_field)
        return self

    def read_local(self, data):
        reader = Reader(data, "a zip member")
        reader.bytes(min(self.offset, len(data)))
        if reader.bytes(4) != LOCAL:
            reader.refuse("no header")
        self.local = unpack_common(reader.bytes(10))
        self.local_fields = struct.unpack("<III", reader.bytes(12))
        lengths = [reader.little(2), reader.little(2)]
        self.local_name, self.local_extra = map(reader.bytes, lengths)
        self.data = (reader.at, reader.at + self.packed_bytes)

    def take_between(self, between):
        """Finds the descriptor among the bytes up to the next member."""
        forms = [(form, descriptor(form, self.real())) for form in ((2, 1, 4, 3) if self.central.flags & 8 else ())]
        forms = [(form, made) for form, made in forms if made]
        exact = [form for form, made in forms if between == made]
        begins = [form for form, made in forms if between.startswith(made)]
        self.descriptor_form = (exact + begins + [0])[0]
        self.gap = between[len(descriptor(self.descriptor_form, self.real())) :]

    def shapes(self):
        real = fits(self.real())
        if self.local_fields == (0, 0, 0):
            form = 0
        elif self.local_fields == real:
            form = 1
        else:
            form = 2 if self.local_fields == (self.crc, MOST32, MOST32) else 3
        method, encrypted = self.central.method, self.central.flags & 1
        if self.packed_bytes == 0:
            follows = self.crc == 0 and self.plain_bytes == 0
        else:
            follows = not encrypted and (method == 8 or (method == 0 and self.packed_bytes == self.plain_bytes))
        local = form | self.descriptor_form << 2 | bool(self.gap) << 5 | (self.packed_bytes > 0) << 6 | (not follows) << 7
        same = [
            self.central == self.local, self.central_name == self.local_name, self.central_extra == self.local_extra,
            self.central_fields == real, self.offset_field == self.offset, self.disk == 0,
        ]
        return local, sum(holds << bit for bit, holds in enumerate(same))

    # What follows is for members read from a structure.

    def has_content(self):
        return bool(self.shape >> 6 & 1)

    def local_header(self, facts):
        form = self.shape & 3
        fields = [(0, 0, 0), fits(facts), (facts[0], MOST32, MOST32), self.local_fields][form]
        if fields is None:
            raise Refused("a length that does not fit")
        lengths = struct.pack("<HH", len(self.local_name), len(self.local_extra))
        return LOCAL + COMMON.pack(*self.local) + struct.pack("<III", *fields) + lengths + self.local_name + self.local_extra

    def descriptor_bytes(self, facts):
        made = descriptor(self.shape >> 2 & 7, facts)
        if made is None:
            raise Refused("a descriptor")
        return made

    def entry(self, facts, offset):
        fields = fits(facts) if self.central_shape & 8 else self.central_fields
        offset = offset if self.central_shape & 16 else self.offset_field
        if fields is None or offset > MOST32:
            raise Refused("a length that does not fit")
        texts = [self.central_name, self.central_extra, self.comment]
        numbers = struct.pack("<HHHHHII", *map(len, texts), self.disk, self.internal, self.external, offset)
        return CENTRAL + struct.pack("<H", self.made_by) + COMMON.pack(*self.central) + struct.pack("<III", *fields) + numbers + b"".join(texts)


def large_part(extra):
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if at + 4 + length > len(extra):
            break
        if kind == 1:
            return extra[at + 4 : at + 4 + length]
        at += 4 + length
    return b""


def find_end(data):
    """Start and end of the directory, number of entries, and the tail as the structure has it."""
    first = max(len(data) - 22 - MOST16, 0)
    places = range(len(data) - 22, first - 1, -1)
    length_at = lambda at: int.from_bytes(data[at + 20 : at + 22], "little")
    at = next((at for at in places if data[at : at + 4] == END and at + 22 + length_at(at) == len(data)), None)
    if at is None:
        raise Refused("a zip file without an end record")
    disks, entries, length, offset = struct.unpack_from("<IIII", data, at + 4)
    large = entries >> 16 == MOST16 or MOST32 in (length, offset)
    if disks or entries & MOST16 != entries >> 16:
        raise Refused("an end record of several disks")
    count = entries >> 16
    if large:
        count, length, offset = find_large_end(data, at)
    if offset + length > at or count > MOST_MEMBERS or length > MOST_DIRECTORY:
        raise Refused("a directory behind its end record, or too large")
    behind = data[offset + length :]
    usual = not large and offset + length == at
    if not usual and len(behind) > MOST_GAP:
        raise Refused("too much behind the directory")
    return offset, offset + length, count, (b"\0" + data[at + 22 :] if usual else b"\1" + behind)


def find_large_end(data, at):
    locator = data[max(at - 20, 0) : at]
    if locator[:4] != LOCATOR or len(locator) < 20:
        raise Refused("no locator")
    record = int.from_bytes(locator[8:16], "little")
    if data[record : record + 4] != LARGE_END or record + 56 > len(data):
        raise Refused("no large end record")
    return struct.unpack_from("<QQQ", data, record + 32)


def open_members(data):
    """Members in the order of their offsets, and the structure."""
    start, end, count, tail = find_end(data)
    directory = Reader(data[start:end], "directory of a zip file")
    entries = [Member().read_entry(directory) for _ in range(count)]
    directory.end()
    numbers = sorted(range(count), key=lambda number: entries[number].offset)
    members, at, lead = [entries[number] for number in numbers], 0, b""
    for i, member in enumerate([*members, None]):
        offset = start if member is None else member.offset
        if offset < at or offset - at > MOST_GAP or offset > len(data):
            raise Refused("zip members that overlap, or lie far apart")
        if i == 0:
            lead = data[at:offset]
        else:
            members[i - 1].take_between(data[at:offset])
        if member is not None:
            member.read_local(data)
            at = member.data[1]
    order = None
    if numbers != sorted(numbers):
        order = [numbers.index(number) for number in range(count)]
    return members, write_structure(members, order, lead, tail)


def write_structure(members, order, lead, tail):
    shapes = [member.shapes() for member in members]
    column = lambda of, when=lambda local, central: True: b"".join(
        of(member) for member, shape in zip(members, shapes) if when(*shape)
    )
    pack = lambda form, name: lambda member: struct.pack(form, *([getattr(member, name)] if isinstance(name, str) else []))
    local = lambda form, name: lambda member: struct.pack(form, getattr(member.local, name))
    length = lambda name: lambda member: put_number(len(getattr(member, name)))
    sizes = lambda name: lambda member: struct.pack("<III", *getattr(member, name))
    without = lambda bit: lambda local, central: not central >> bit & 1
    return b"".join([
        put_number(len(members)), bytes(shape[0] for shape in shapes), bytes(shape[1] for shape in shapes),
        column(local("<H", "needed")), column(local("<H", "flags")), column(local("<H", "method")), column(local("<I", "time")),
        column(length("local_name")), column(length("local_extra")),
        column(sizes("local_fields"), lambda local, central: local & 3 == 3),
        column(length("gap"), lambda local, central: local >> 5 & 1),
        column(lambda member: struct.pack("<IQ", member.crc, member.plain_bytes), lambda local, central: local >> 7 & 1),
        column(pack("<H", "made_by")), column(pack("<H", "internal")), column(pack("<I", "external")), column(length("comment")),
        column(lambda member: COMMON.pack(*member.central), without(0)),
        column(length("central_name"), without(1)), column(length("central_extra"), without(2)),
        column(sizes("central_fields"), without(3)), column(pack("<I", "offset_field"), without(4)), column(pack("<H", "disk"), without(5)),
        column(lambda member: member.local_name), column(lambda member: member.local_extra),
        column(lambda member: member.central_name, without(1)), column(lambda member: member.central_extra, without(2)),
        column(lambda member: member.comment), column(lambda member: member.gap),
        b"\0" if order is None else b"\1" + b"".join(struct.pack("<I", number) for number in order),
        put_number(len(lead)), lead, tail,
    ])


def put_number(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


class Structure:
    """A structure read again."""

    def __init__(self, data):
        reader = Reader(data, "structure of a zip file")
        count = reader.number()
        if count > min(len(data), MOST_MEMBERS):
            reader.refuse("more members than bytes")
        self.members = [Member() for _ in range(count)]
        self.read_columns(reader)
        self.read_texts(reader)
        self.order = [reader.little(4) for _ in range(count)] if reader.byte() else list(range(count))
        if any(number >= count for number in self.order):
            reader.refuse("an entry that is not a member")
        self.lead = reader.bytes(reader.number())
        self.is_usual = reader.byte() == 0
        self.tail = reader.bytes(reader.left())

    def read_columns(self, reader):
        every = lambda member: True
        central = lambda bit: lambda member: not member.central_shape >> bit & 1
        self.column("shape", reader.byte)
        self.column("central_shape", reader.byte)
        words = [[reader.little(width) for _ in self.members] for width in (2, 2, 2, 4)]
        for member, *common in zip(self.members, *words):
            member.local = Common(*common)
        sizes = lambda: struct.unpack("<III", reader.bytes(12))
        self.column("local_name", reader.number)
        self.column("local_extra", reader.number)
        self.column("local_fields", sizes, lambda member: member.shape & 3 == 3)
        self.column("gap", reader.number, lambda member: member.shape >> 5 & 1, 0)
        self.column("stored_facts", lambda: (reader.little(4), reader.little(8)), lambda member: member.shape >> 7 & 1)
        for name, width in (("made_by", 2), ("internal", 2), ("external", 4)):
            self.column(name, lambda: reader.little(width))
        self.column("comment", reader.number)
        self.column("central", lambda: unpack_common(reader.bytes(10)), central(0))
        self.column("central_name", reader.number, central(1))
        self.column("central_extra", reader.number, central(2))
        self.column("central_fields", sizes, central(3))
        self.column("offset_field", lambda: reader.little(4), central(4))
        self.column("disk", lambda: reader.little(2), central(5), 0)

    def column(self, name, read, when=lambda member: True, missing=None):
        for member in self.members:
            setattr(member, name, read() if when(member) else missing)

    def read_texts(self, reader):
        for name in ("local_name", "local_extra", "central_name", "central_extra", "comment", "gap"):
            for member in self.members:
                length = getattr(member, name)
                if length is None:
                    setattr(member, name, getattr(member, name.replace("central", "local")))
                elif name != "gap" and length > MOST16:
                    reader.refuse("a text that is too long")
                else:
                    setattr(member, name, reader.bytes(length))
        for member in self.members:
            member.central = member.central or member.local

    def directory(self, places, at):
        entries = b"".join(self.members[number].entry(*places[number]) for number in self.order)
        if not self.is_usual:
            return entries + self.tail
        count = len(self.members)
        if count > MOST16 or at > MOST32 or len(entries) > MOST32 or len(self.tail) > MOST16:
            raise Refused("an end record that cannot be made")
        return entries + END + struct.pack("<IHHIIH", 0, count, count, len(entries), at, len(self.tail)) + self.tail
