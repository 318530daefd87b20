"""Header columns: the frames of a tar stream. docs/format-headers.md."""
from collections import namedtuple

import pack
import tarblock
from tarblock import BLOCK, CHECKSUM, LINK, NAME, PREFIX, SIZE, TIME, TYPE, Header, put_number, put_text, read_number
from wire import Reader, Refused

COLUMNS = [
    "items", "addresses", "times", "new times", "sizes", "numbers", "flags", "choices", "fronts", "backs", "middles", "text",
    "extensions", "patches", "lengths", "bytes", "jumps", "picks",
]
NUMBER_FIELDS = [(6, tarblock.MODE), (7, tarblock.UID), (8, tarblock.GID), (11, tarblock.MAJOR), (12, tarblock.MINOR)]
TEXT_FIELDS = [(9, tarblock.USER), (10, tarblock.GROUP)]
MOST_TEXT = 1 << 20
# A stretch of the stream: bytes of a frame, or the length of a payload with the address and length of its own payload.
Frame = namedtuple("Frame", "data")
Payload = namedtuple("Payload", "length own")


class Columns:
    """The columns, the base, and what both sides remember."""

    def __init__(self, packed, space, limits):
        streams = pack.unpack(packed, len(COLUMNS), limits, "header columns") if packed else [b""] * len(COLUMNS)
        self.readers = {name: Reader(stream, f"headers, {name}") for name, stream in zip(COLUMNS, streams)}
        self.space = space
        self.expected = 0
        self.mains, self.last_main, self.last_extensions = {}, tarblock.template(), {}
        self.path = self.link = b""
        self.became, self.recent, self.time = {}, [], 0

    def number(self, name):
        return self.readers[name].number()

    def signed(self, name):
        return self.readers[name].signed()

    def bytes(self, name, count):
        return self.readers[name].bytes(count)

    def stretches(self):
        """Yields frames and payloads in the order of the stream."""
        walk = Walk(self) if self.readers["jumps"].left() else None
        while self.readers["items"].left():
            word = self.number("items")
            mask, kind = word >> 3, word & 7
            if kind > 4 or mask >> 18 or (kind >= 2 and mask):
                raise Refused(f"item {word}")
            if kind < 2:
                yield from self.entry(mask, self.base_entry(walk) if kind == 1 else None)
            elif kind == 2:
                yield Frame(self.bytes("bytes", self.number("lengths")))
            elif kind == 3:
                yield Frame(bytes(self.number("lengths")))
            else:
                yield Payload(self.number("lengths"), None)
        for reader in self.readers.values():
            reader.end()

    def base_entry(self, walk):
        """Address and header of the next base entry."""
        address = walk.next() if walk else self.address()
        header = Header.read(self.space, address)
        self.expected = address + header.entry_bytes()
        return address, header

    def address(self):
        word = self.number("addresses")
        folded = word >> 1
        change = folded >> 1 if folded & 1 == 0 else -(folded >> 1) - 1
        address = self.expected + change * (1 if word & 1 else BLOCK)
        if not 0 <= address < 1 << 64:
            raise Refused("an address that leaves the space")
        return address

    def entry(self, mask, base):
        is_set = lambda bit: mask >> bit & 1
        own = None
        if base:
            address, base = base
            own = (address + len(base.data), base.payload_bytes())
        kind = self.bytes("flags", 1)[0] if base is None or is_set(5) else base.main[TYPE]
        main = bytearray(base.main if base else self.mains.get(kind, self.last_main))
        if base is None:
            put_number(main, SIZE, 0)
            put_text(main, LINK, b"")
        main[TYPE] = kind
        for bit, field in NUMBER_FIELDS + [(1, SIZE)]:
            if is_set(bit):
                change = self.signed("sizes" if bit == 1 else "numbers")
                put_number(main, field, (read_number(main[field[0] : field[1]]) or 0) + change)
        time = self.entry_time(is_set(0), base)
        put_number(main, TIME, time)
        for bit, field in TEXT_FIELDS:
            if is_set(bit):
                put_text(main, field, self.text([tarblock.text(main, field)], field[1] - field[0]))
        path, link = self.names(main, base, is_set)
        extensions = base.data[: base.main_at] if base else b""
        if is_set(4):
            extensions = self.extensions(base, path, link, time)
        if is_set(13):
            self.patch(main)
        self.checksum(main, is_set(14))
        sparse = base.map if base else b""
        if is_set(15):
            sparse = self.bytes("bytes", self.number("lengths") * BLOCK)
        header = Header(extensions + bytes(main) + sparse, len(extensions))
        length = self.number("lengths") if is_set(16) else header.payload_bytes()
        self.remember(header, path, link)
        yield Frame(header.data)
        yield Payload(length, own)
        if not is_set(17):
            yield Frame(bytes(-length % BLOCK))

    def entry_time(self, is_told, base):
        base_time = read_number(base.main[TIME[0] : TIME[1]]) if base else None
        if is_told:
            place = self.number("times")
            if place == 0:
                time = self.time + self.signed("new times")
                time = (time + (1 << 63)) % (1 << 64) - (1 << 63)
            elif place <= len(self.recent):
                time = self.recent[place - 1]
            else:
                raise Refused("a time that is not among the latest")
            if time in self.recent:
                self.recent.remove(time)
            self.recent = [time, *self.recent[:63]]
        elif base_time is None:
            time = self.time
        else:
            time = self.became.get(base_time, base_time)
        if base_time is not None:
            self.became[base_time] = time
        self.time = time
        return time

    def text(self, candidates, limit):
        word = self.number("choices")
        if word >> 1 >= len(candidates):
            raise Refused("a text that is not there")
        whole = candidates[word >> 1]
        if word & 1 == 0:
            return whole
        front, back, middle = self.number("fronts"), self.number("backs"), self.number("middles")
        if front + back > len(whole) or front + back + middle > limit:
            raise Refused("a text that keeps more than there is, or is too long")
        return whole[:front] + self.bytes("text", middle) + whole[len(whole) - back :]

    def names(self, main, base, is_set):
        path, link = base.full_names() if base else (b"", b"")
        if is_set(2):
            path = self.text([path, self.path], MOST_TEXT)
            layout = self.number("choices")
            if layout == 0:
                split_path(main, path, longest_split(path))
            elif layout == 1:
                split_path(main, path, shortest_split(path))
            elif layout == 2:
                split_path(main, low_bytes(path), 0)
            elif layout == 3:
                split_path(main, questioned(path), 0)
            else:
                spelled = self.text([path, tarblock.path_of(main)], 256)
                split_path(main, spelled, self.number("lengths"))
        if is_set(3):
            link = self.text([link, path, path.rsplit(b"/", 1)[-1], self.link], MOST_TEXT)
            layout = self.number("choices")
            if layout < 3:
                put_text(main, LINK, [link, low_bytes(link), questioned(link)][layout])
            else:
                put_text(main, LINK, self.text([link], 100))
        return path, link

    def extensions(self, base, path, link, time):
        out = b""
        for place in range(self.number("extensions")):
            kind, mask = self.bytes("flags", 1)[0], self.number("extensions")
            if mask >> 5:
                raise Refused("facts of an extension")
            block, known = self.reference_extension(base, place, kind)
            if mask & 4:
                body = self.records(known, path, link, time)
            elif mask & 2:
                body = self.text([known, path + b"\0", link + b"\0"], MOST_TEXT)
            else:
                body = known
            block = bytearray(block)
            block[TYPE] = kind
            put_number(block, SIZE, len(body))
            if read_number(block[TIME[0] : TIME[1]]):
                put_number(block, TIME, time)
            if mask & 1:
                kept = tarblock.text(block, NAME)
                derived = derived_name(kept, path)
                put_text(block, NAME, self.text([kept, derived, low_bytes(derived)], MOST_TEXT))
            if mask & 8:
                self.patch(block)
            self.checksum(block, mask & 16)
            out += bytes(block) + body.ljust(tarblock.padded(len(body)), b"\0")
        return out

    def reference_extension(self, base, place, kind):
        found = base.extensions()[place : place + 1] if base else []
        if found and found[0][0][TYPE] == kind:
            return found[0]
        return self.last_extensions.get(kind, (tarblock.template(), b""))

    def records(self, known, path, link, time):
        known, body, before = tarblock.read_records(known) or [], b"", b""
        for place in range(self.number("extensions")):
            word = self.number("extensions")
            if word == 0 and place >= len(known):
                raise Refused("a record that is not there")
            key = self.bytes("text", word - 1) if word else known[place][0]
            earlier = tarblock.last_value(known, key) or b""
            dated = str(time).encode() + (earlier[earlier.index(b".") :] if b"." in earlier else b"")
            before = self.text([earlier, path, link, dated, before], MOST_TEXT)
            body += tarblock.put_record(key, before)
        return body

    def patch(self, block):
        at = 0
        for _ in range(self.number("patches")):
            at += self.number("patches")
            length = self.number("patches")
            if at + length > len(block):
                raise Refused("a patch that leaves the block")
            block[at : at + length] = self.bytes("bytes", length)
            at += length

    def checksum(self, block, is_told):
        if is_told:
            block[CHECKSUM[0] : CHECKSUM[1]] = self.bytes("bytes", 8)
        else:
            tarblock.put_checksum(block)

    def remember(self, header, path, link):
        self.mains[header.main[TYPE]] = self.last_main = header.main
        for block, body in header.extensions():
            self.last_extensions[block[TYPE]] = (block, body)
        self.path, self.link = path, link


def split_path(block, path, split):
    is_split = 0 < split < len(path)
    if tarblock.has_prefix(block):
        put_text(block, PREFIX, path[:split] if is_split else b"")
    put_text(block, NAME, path[split + 1 :] if is_split else path)


def longest_split(path):
    return max(path.rfind(b"/", 0, min(156, len(path) - 1)), 0) if len(path) > 100 else 0


def shortest_split(path):
    return max(path.find(b"/", len(path) - 101, len(path) - 1), 0) if len(path) > 100 else 0


def low_bytes(text):
    return bytes(byte for byte in text if byte < 128)


def questioned(text):
    return bytes(byte if byte < 128 else 0x3F for byte in text if not 0x80 <= byte <= 0xBF)


def derived_name(kept, path):
    part = next((part for part in kept.split(b"/") if part.startswith(b"PaxHeaders")), b"PaxHeaders.0")
    path = path[:-1] if path.endswith(b"/") else path
    slash = path.rfind(b"/") + 1
    return path[:slash] + part + b"/" + path[slash:]


class Walk:
    """Base entries taken directory by directory."""

    def __init__(self, columns):
        self.columns, self.path, self.last, self.bits, self.held = columns, b"", 0, 0, 0
        entries, directories = [], {}
        for _ in range(columns.number("jumps")):
            address = columns.address()
            header = Header.read(columns.space, address)
            columns.expected = address + header.entry_bytes()
            path = header.full_names()[0]
            directories.setdefault(parent(trimmed(path)), []).append(len(entries))
            entries.append((address, path))
        # Slots, in the order of directories; those that are left, by directory.
        self.slots = [entry for numbers in directories.values() for entry in (entries[n] for n in numbers)]
        self.left = [True] * len(self.slots)
        self.ranges, at = {}, 0
        for directory, numbers in directories.items():
            self.ranges[directory] = range(at, at + len(numbers))
            at += len(numbers)
        self.read_gap()

    def read_gap(self):
        self.gap = self.columns.number("jumps") if self.columns.readers["jumps"].left() else None

    def next(self):
        """The address of the next base entry."""
        if self.gap == 0:
            wanted = sum(self.left[: self.last]) + self.columns.signed("jumps")
            self.read_gap()
            return self.take(range(len(self.slots)), wanted)
        if self.gap is not None:
            self.gap -= 1
        slots = self.at_hand()
        count = sum(self.left[slot] for slot in slots)
        wanted = (count - 1).bit_length()
        while self.held < wanted:
            self.bits |= self.columns.bytes("picks", 1)[0] << self.held
            self.held += 8
        place = self.bits & ((1 << wanted) - 1)
        self.bits >>= wanted
        self.held -= wanted
        return self.take(slots, place)

    def at_hand(self):
        directory = trimmed(self.path)
        for _ in range(64):
            slots = self.ranges.get(directory)
            if slots and any(self.left[slot] for slot in slots):
                return slots
            if not directory:
                break
            directory = parent(directory)
        raise Refused("no directory at hand")

    def take(self, slots, place):
        left = [slot for slot in slots if self.left[slot]]
        if not 0 <= place < len(left):
            raise Refused("an entry that is not there")
        self.last = left[place]
        self.left[self.last] = False
        address, self.path = self.slots[self.last]
        return address


def trimmed(path):
    return path[:-1] if path.endswith(b"/") else path


def parent(path):
    return path[: max(path.rfind(b"/"), 0)]
