"""Xz recipes, as far as Python's lzma can follow them. docs/format-archives.md, section 10."""
import hashlib
import lzma
import zlib
from collections import namedtuple

from envelopes import NoModel
from wire import Reader

CHECKS = {0: 0, 1: 4, 4: 8, 10: 32}
FILTERS = {3: lzma.FILTER_DELTA, 4: lzma.FILTER_X86, 5: lzma.FILTER_POWERPC, 7: lzma.FILTER_ARM, 8: lzma.FILTER_ARMTHUMB, 9: lzma.FILTER_SPARC, 10: None}
FINDERS = [lzma.MF_HC3, lzma.MF_HC4, lzma.MF_BT2, lzma.MF_BT3, lzma.MF_BT4]
FAST, NORMAL = lzma.MODE_FAST, lzma.MODE_NORMAL
HC3, HC4, BT4 = FINDERS[0], FINDERS[1], FINDERS[4]
# Mode, finder, length that is taken at once, depth.
EFFORTS = [
    (FAST, HC3, 128, 4), (FAST, HC4, 128, 8), (FAST, HC4, 273, 24), (FAST, HC4, 273, 48),
    (NORMAL, BT4, 16, 0), (NORMAL, BT4, 32, 0), (NORMAL, BT4, 64, 0), (NORMAL, BT4, 192, 0), (NORMAL, BT4, 273, 512),
]
STORED, OTHER = 254, 255
Form = namedtuple("Form", "header_bytes has_packed has_plain filters window lzma2")
Run = namedtuple("Run", "form plain_bytes count")


def window_bytes(code):
    return (1 << 32) - 1 if code == 40 else (2 | code & 1) << (code // 2 + 11)


class XzRecipe:
    def __init__(self, data):
        reader = Reader(data, "xz recipe")
        if reader.byte() != 1:
            reader.refuse("version")
        self.forms = [self.form(reader) for _ in range(reader.number())]
        self.streams, is_open = [], False
        for _ in range(reader.number()):
            check, padding = reader.byte(), reader.number()
            if check not in CHECKS:
                reader.refuse(f"checksum {check}")
            runs = []
            for _ in range(reader.number()):
                run = Run(reader.number(), reader.number(), reader.number())
                if is_open or run.form >= len(self.forms) or (run.count and not run.plain_bytes):
                    reader.refuse("a run")
                is_open = run.count == 0
                runs.append(run)
            self.streams.append((check, padding, runs))
        reader.end()

    @staticmethod
    def form(reader):
        flags, size = reader.byte(), reader.byte()
        if flags >> 4:
            reader.refuse(f"flags {flags}")
        filters = []
        for _ in range(flags >> 2):
            number = reader.byte()
            if number not in FILTERS:
                reader.refuse(f"filter {number}")
            filters.append((number, reader.bytes(1) if number == 3 else b""))
        window, packing, lzma2 = reader.byte(), reader.byte(), None
        if window > 40:
            reader.refuse(f"window {window}")
        if packing != STORED:
            properties = reader.byte()
            lc, lp, pb = properties % 9, properties // 9 % 5, properties // 45
            if lc + lp > 4 or pb > 4:
                reader.refuse(f"properties {properties}")
            if packing == OTHER:
                byte = reader.byte()
                if byte >> 1 > 4:
                    reader.refuse(f"finder {byte}")
                effort = ((FAST, NORMAL)[byte & 1], FINDERS[byte >> 1], reader.number(), reader.number())
            elif packing < len(EFFORTS):
                effort = EFFORTS[packing]
            else:
                reader.refuse(f"packing {packing}")
            mode, finder, nice, depth = effort
            lzma2 = {"id": lzma.FILTER_LZMA2, "dict_size": window_bytes(window), "lc": lc, "lp": lp, "pb": pb}
            lzma2.update(mode=mode, mf=finder, nice_len=nice, depth=depth)
        return Form((size + 1) * 4, flags & 1, flags & 2, filters, window, lzma2)

    def make(self, plain):
        """The file of these plain bytes."""
        out, at = b"", 0
        for check, padding, runs in self.streams:
            flags = bytes([0, check])
            out += b"\xfd7zXZ\0" + flags + crc32(flags)
            records = []
            for run in runs:
                done = 0
                while at < len(plain) if run.count == 0 else done < run.count:
                    content = plain[at : at + (run.plain_bytes or len(plain))]
                    block, stored = make_block(self.forms[run.form], content, check)
                    records.append((stored, len(content)))
                    out += block
                    at += len(content)
                    done += 1
            index = b"\0" + number(len(records)) + b"".join(number(value) for record in records for value in record)
            index += bytes(-len(index) % 4)
            index += crc32(index)
            end = (len(index) // 4 - 1).to_bytes(4, "little") + flags
            out += index + crc32(end) + end + b"YZ" + bytes(4 * padding)
        return out


def make_block(form, content, check):
    """A block with its padding and checksum, and its length for the index."""
    if form.lzma2 is None:
        packed = b""
        for at in range(0, len(content), 1 << 16):
            chunk = content[at : at + (1 << 16)]
            packed += bytes([1 if at == 0 else 2]) + (len(chunk) - 1).to_bytes(2, "big") + chunk
        packed += b"\0"
        if form.filters:
            raise NoModel("stored behind filters")
    else:
        chain = []
        for kind, properties in form.filters:
            if FILTERS[kind] is None:
                raise NoModel("the filter of 64-bit ARM")
            chain.append({"id": FILTERS[kind], **({"dist": properties[0] + 1} if kind == 3 else {})})
        packed = lzma.compress(content, lzma.FORMAT_RAW, filters=chain + [form.lzma2])
    header = bytes([form.header_bytes // 4 - 1, len(form.filters) | (0x40 if form.has_packed else 0) | (0x80 if form.has_plain else 0)])
    header += number(len(packed)) if form.has_packed else b""
    header += number(len(content)) if form.has_plain else b""
    for kind, properties in form.filters:
        header += bytes([kind, len(properties)]) + properties
    header += bytes([0x21, 1, form.window])
    header += bytes(form.header_bytes - 4 - len(header))
    header += crc32(header)
    sums = {0: b"", 1: crc32(content), 4: crc64(content), 10: hashlib.sha256(content).digest()}
    stored = header + packed + sums[check]
    return header + packed + bytes(-len(packed) % 4) + sums[check], len(stored)


def number(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def crc32(data):
    return zlib.crc32(data).to_bytes(4, "little")


CRC64 = []
for byte in range(256):
    for _ in range(8):
        byte = byte >> 1 ^ (0xC96C5795D7870F42 if byte & 1 else 0)
    CRC64.append(byte)


def crc64(data):
    value = (1 << 64) - 1
    for byte in data:
        value = CRC64[(value ^ byte) & 0xFF] ^ value >> 8
    return (value ^ (1 << 64) - 1).to_bytes(8, "little")
