"""Headers of a tar as blocks, and numbers in fields. docs/format-headers.md, sections 3, 5, 7 and 9."""
from wire import Refused

BLOCK = 512
MODE, UID, GID, SIZE, TIME = (100, 108), (108, 116), (116, 124), (124, 136), (136, 148)
CHECKSUM, LINK, MAGIC, USER, GROUP = (148, 156), (157, 257), (257, 263), (265, 297), (297, 329)
MAJOR, MINOR, NAME, PREFIX = (329, 337), (337, 345), (0, 100), (345, 500)
TYPE = 156
FILLERS = b" \0"


def padded(length):
    return -(-length // BLOCK) * BLOCK


def read_number(field):
    """The number in a field, or None."""
    if field[0] >= 0x80:
        bits = 8 * len(field) - 1
        value = int.from_bytes(field, "big") & ((1 << bits) - 1)
        if value >> bits - 1:
            value -= 1 << bits
    else:
        digits = field.lstrip(FILLERS)
        end = next((i for i, byte in enumerate(digits) if byte in FILLERS), len(digits))
        digits = digits[:end]
        if any(byte not in b"01234567" for byte in digits):
            return None
        value = int(digits or b"0", 8)
    return value if -(1 << 63) <= value < 1 << 63 else None


def put_number(block, place, value):
    """Writes a number in the style of what stands in the field."""
    start, end = place
    field = bytearray(block[start:end])
    if read_number(bytes(field)) == value:
        return
    kept = len(field.rstrip(FILLERS))
    if kept == 0 or field[0] >= 0x80:
        kept = len(field) - 1
    if 0 <= value < 1 << 3 * kept:
        filler = b" " if field[0] == 0x20 else b"0"
        field[:kept] = (b"%o" % value).rjust(kept, filler)
        if field[kept:].strip(FILLERS):
            field[kept:] = bytes(len(field) - kept)
    else:
        field[:] = (value % (1 << 8 * len(field))).to_bytes(len(field), "big")
        field[0] |= 0x80
    block[start:end] = field


def put_checksum(block):
    spaced = bytes(block[: CHECKSUM[0]]) + b" " * 8 + bytes(block[CHECKSUM[1] :])
    put_number(block, CHECKSUM, sum(spaced))


def text(block, place):
    return bytes(block[place[0] : place[1]]).split(b"\0")[0]


def put_text(block, place, value):
    length = place[1] - place[0]
    block[place[0] : place[1]] = value[:length].ljust(length, b"\0")


def template():
    block = bytearray(BLOCK)
    for start, end in (MODE, UID, GID, SIZE, TIME, MAJOR, MINOR):
        block[start : end - 1] = b"0" * (end - 1 - start)
    block[CHECKSUM[0] : CHECKSUM[1]] = b"000000\0 "
    block[TYPE] = ord("0")
    block[257:265] = b"ustar\x0000"
    return bytes(block)


def digits(number):
    return len(str(number))


def record_length(key, value):
    rest = len(key) + len(value) + 3
    length = rest + digits(rest)
    return length if rest + digits(length) == length else rest + digits(length)


def put_record(key, value):
    return b"%d %s=%s\n" % (record_length(key, value), key, value)


def read_records(body):
    """The records that the body wholly is, or None."""
    records, at = [], 0
    while at < len(body):
        number, space, _ = body[at : at + 21].partition(b" ")
        if not space or not number.isdigit() or number[:1] == b"0":
            return None
        line = body[at + len(number) + 1 : at + int(number)]
        key, equals, value = line[:-1].partition(b"=")
        if at + int(number) > len(body) or line[-1:] != b"\n" or not equals or record_length(key, value) != int(number):
            return None
        records.append((key, value))
        at += int(number)
    return records


def last_value(records, key):
    return next((value for found, value in reversed(records or []) if found == key), None)


class Header:
    """All blocks of one entry."""

    def __init__(self, data, main_at):
        self.data, self.main_at = bytes(data), main_at
        self.main = self.data[main_at : main_at + BLOCK]
        self.map = self.data[main_at + BLOCK :]

    @classmethod
    def read(cls, space, address):
        """Reads the header at an address of the base."""
        data, at = space.read(address, BLOCK), 0
        while data[at + TYPE] in b"xXgLK":
            size = read_number(data[at + SIZE[0] : at + SIZE[1]])
            if size is None or size < 0:
                raise Refused("an extension's size")
            data += space.read(address + len(data), padded(size) + BLOCK)
            at = len(data) - BLOCK
        main_at = at
        if data[at + TYPE] == ord("S") and data[at + 482]:
            while True:
                data += space.read(address + len(data), BLOCK)
                if data[-BLOCK + 504] == 0:
                    break
        return cls(data, main_at)

    def extensions(self):
        """Block and body of each extension."""
        at, found = 0, []
        while at < self.main_at:
            block = self.data[at : at + BLOCK]
            start = at + BLOCK
            size = read_number(block[SIZE[0] : SIZE[1]])
            size = min(size if size is not None and size >= 0 else 0, self.main_at - start)
            found.append((block, self.data[start : start + size]))
            at = start + min(padded(size), self.main_at - start)
        return found

    def payload_bytes(self):
        if self.main[TYPE] in b"123456":
            return 0
        size = read_number(self.main[SIZE[0] : SIZE[1]])
        size = size if size is not None and size >= 0 else 0
        for block, body in self.extensions():
            if block[TYPE] in b"xX":
                stated = last_value(read_records(body), b"size")
                if stated and stated.isdigit() and int(stated) < 1 << 64:
                    size = int(stated)
        return size

    def entry_bytes(self):
        return len(self.data) + padded(self.payload_bytes())

    def full_names(self):
        """Full path and full link."""
        long, recorded = {}, {}
        for block, body in self.extensions():
            kind = chr(block[TYPE])
            if kind in "LK":
                long[kind] = body.split(b"\0")[0]
            elif kind in "xX":
                records = read_records(body)
                for key, name in ((b"path", "L"), (b"linkpath", "K")):
                    value = last_value(records, key)
                    if value is not None:
                        recorded.setdefault(name, value)
        path = long.get("L", recorded.get("L"))
        link = long.get("K", recorded.get("K"))
        return (path_of(self.main) if path is None else path, text(self.main, LINK) if link is None else link)


def has_prefix(block):
    return bytes(block[MAGIC[0] : MAGIC[1]]) == b"ustar\0"


def path_of(block):
    """Prefix, slash and name."""
    prefix = text(block, PREFIX) if has_prefix(block) else b""
    return prefix + b"/" + text(block, NAME) if prefix else text(block, NAME)
