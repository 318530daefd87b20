"""A recipe as a value: how one stream is rebuilt. docs/format.md, section 3."""
from collections import namedtuple

import pack
from outline import read_digest
from wire import MAX_PLACE, Reader, Refused

OWN, ADDRESS, REPEAT, REBUILT, CLOSED, PART, STORED = range(7)
COLUMNS = 26
Name = namedtuple("Name", "diff_id bytes")
Origin = namedtuple("Origin", "kind value", defaults=(None,))
Opened = namedtuple("Opened", "address bytes kind plain_bytes")
Closed = namedtuple("Closed", "kind count")
# `parts` are address ranges, or None for own; `window` is an offset and a length, or None.
Member = namedtuple("Member", "payload parts window")
Digest = namedtuple("Digest", "holder offset spelling content")
# Of each spelling: the bytes of its text.
SPELLINGS = [32, 64, 43, 28]


class Recipe:
    def __init__(self, section, limits):
        reader = Reader(section, "recipe")
        if reader.bytes(4) != b"imgr" or reader.byte() != 1:
            reader.refuse("magic or version")
        length = reader.number()
        end = reader.at + length
        self.target = self.name(reader)
        self.sources = [self.name(reader) for _ in range(reader.number())]
        self.space_bytes = sum(source.bytes for source in self.sources)
        if self.target.bytes + self.space_bytes > MAX_PLACE:
            reader.refuse("streams too long")
        self.headers = reader.bytes(reader.number())
        if end > len(section) or reader.at > end:
            reader.refuse("its length")
        streams = pack.unpack(section[reader.at : end], COLUMNS, limits, "recipe, columns")
        self.columns = [Reader(stream, f"recipe, column {i}") for i, stream in enumerate(streams)]
        self.read_opened()
        self.read_origins()
        self.read_closed()
        self.read_groups()
        self.read_digests()
        for column in self.columns:
            column.end()
        self.groups = self.cut_groups(section, end)

    @staticmethod
    def name(reader):
        return Name(read_digest(reader), reader.number())

    def read_opened(self):
        addresses, lengths, kinds, plain = self.columns[11:15]
        self.opened, end = [], 0
        while kinds.left():
            kind, address, length = kinds.byte(), addresses.place_near(end), lengths.number()
            end = address + length
            if end > self.space_bytes or kind > 8:
                addresses.refuse("an archive that does not end before its own parts")
            self.opened.append(Opened(address, length, kind, plain.number()))
            self.space_bytes += self.opened[-1].plain_bytes

    def read_origins(self):
        runs, addresses, repeats = self.columns[:3]
        self.origins, before, address, next_part = [], None, 0, 0
        while runs.left():
            word = runs.number()
            kind, count = word & 7, (word >> 3) + 1
            if kind > STORED or kind == before:
                runs.refuse(f"a run of kind {kind}")
            before = kind
            for _ in range(count):
                value = None
                if kind == ADDRESS:
                    value = address = addresses.place_near(address)
                    if address >= self.space_bytes:
                        addresses.refuse("not in the address space")
                elif kind == REPEAT:
                    value = repeats.number() + 1
                    if value > len(self.origins):
                        repeats.refuse("a distance beyond the first payload")
                elif kind in (PART, STORED):
                    value = self.columns[21].place_near(next_part)
                    next_part = value + 1
                self.origins.append(Origin(kind, value))

    def read_closed(self):
        kinds, counts, lengths, compressions, sizes, texts = self.columns[15:21]
        self.closed = []
        while kinds.left():
            self.closed.append(Closed(kinds.byte(), counts.number()))
        inner = sum(closed.count for closed in self.closed)
        self.outer = len(self.origins) - inner
        if len(self.closed) != sum(origin.kind == CLOSED for origin in self.origins) or self.outer < 0:
            kinds.refuse("the number of closed archives")
        if any(closed.kind > 8 for closed in self.closed):
            kinds.refuse("a kind of archive")
        self.inner_lengths, self.compressions = [], []
        for origin in self.origins[self.outer :]:
            has_length = origin.kind in (OWN, ADDRESS, REBUILT, CLOSED)
            self.inner_lengths.append(lengths.number() if has_length else None)
            if self.inner_lengths[-1] == 0:
                lengths.refuse("an inner payload of 0 bytes")
        while sizes.left():
            self.compressions.append(texts.bytes(sizes.number()))
        self.coders = [compressions.number() for _ in range(inner)]
        if any(coder > len(self.compressions) for coder in self.coders):
            compressions.refuse("a compression that is not there")

    def read_groups(self):
        rebuilt = [i for i, origin in enumerate(self.origins) if origin.kind == REBUILT]
        self.members, self.group_lengths, rank, self.range_end, before = [], [], 0, 0, None
        while self.columns[3].left():
            length, members = self.columns[3].number(), []
            if length == 0:
                self.columns[3].refuse("a group of 0 bytes")
            for _ in range(self.columns[4].number()):
                rank = self.columns[5].place_near(rank) + 1
                if rank > len(rebuilt):
                    self.columns[5].refuse("a rank of no payload")
                before = self.member(rebuilt[rank - 1], before)
                members.append(before)
            self.members.append(members)
            self.group_lengths.append(length)

    def member(self, payload, before):
        shape = self.columns[6].number()
        parts = [self.part() for _ in range((shape >> 1) - 1)] if shape >> 1 else [None]
        if shape >> 1 and parts == [None]:
            self.columns[6].refuse("one part own spelled as a list")
        window = None
        if shape & 1:
            same = before is not None and before.payload == payload and before.window
            offset = self.columns[9].place_near(sum(before.window) if same else 0)
            window = (offset, self.columns[10].number())
            if window[1] == 0 or sum(window) > MAX_PLACE:
                self.columns[10].refuse("an empty window")
        return Member(payload, parts, window)

    def part(self):
        length = self.columns[7].number()
        if length == 0:
            return None
        address = self.columns[8].place_near(self.range_end)
        self.range_end = address + length
        if address < self.space_bytes < self.range_end or self.range_end > MAX_PLACE:
            self.columns[8].refuse("a range that leaves the address space")
        return address, length

    def read_digests(self):
        holders, gaps, spellings, contents = self.columns[22:26]
        rebuilt = [i for i, origin in enumerate(self.origins) if origin.kind == REBUILT]
        self.digests, before, rank, next_content = [], None, 0, 0
        while spellings.left():
            last, rank = rank, holders.place_near(rank)
            if rank < last or rank >= len(rebuilt):
                holders.refuse("a digest in no payload")
            spelling = spellings.byte()
            if spelling >= len(SPELLINGS):
                spellings.refuse(f"spelling {spelling}")
            same = before is not None and before.holder == rebuilt[rank]
            offset = gaps.number() + (before.offset + SPELLINGS[before.spelling] if same else 0)
            content = contents.place_near(next_content)
            if content >= len(self.origins) or rebuilt[rank] >= self.outer:
                contents.refuse("a digest of no payload, or in an inner one")
            next_content = content + 1
            before = Digest(rebuilt[rank], offset, spelling, content)
            self.digests.append(before)

    def cut_groups(self, section, at):
        groups = []
        for length in self.group_lengths:
            groups.append(section[at : at + length])
            at += length
        if at != len(section):
            raise Refused("groups do not fill the section")
        return groups
