"""A recipe carried out: the stream it makes. docs/format.md, section 3.1."""
import base64
import hashlib

import archives
import recipe as rules
from group import Group
from headers import Columns, Frame
from layout import Space
from wire import Refused


class Rebuild:
    def __init__(self, recipe, source_stream, limits):
        self.recipe, self.limits = recipe, limits
        self.space = Space([source_stream(source) for source in recipe.sources])
        self.open_archives()

    def stream(self):
        recipe = self.recipe
        if recipe.target.bytes > self.limits.stream_bytes:
            raise Refused(f"a stream of {recipe.target.bytes} bytes; the limit is {self.limits.stream_bytes}")
        self.stretches, total = [], 0
        for stretch in Columns(recipe.headers, self.space, self.limits).stretches():
            total += len(stretch.data) if isinstance(stretch, Frame) else stretch.length
            if total > recipe.target.bytes:
                raise Refused("headers make more than the stream")
            if isinstance(stretch, Frame) or stretch.length:
                self.stretches.append(stretch)
        payloads = [stretch for stretch in self.stretches if not isinstance(stretch, Frame)]
        if total != recipe.target.bytes or len(payloads) != recipe.outer:
            raise Refused(f"headers make {total} bytes and {len(payloads)} payloads")
        self.lengths = [payload.length for payload in payloads] + recipe.inner_lengths
        self.owns = [payload.own for payload in payloads] + [None] * len(recipe.inner_lengths)
        self.payloads = [None] * len(recipe.origins)
        self.facts = {}
        for number, origin in enumerate(recipe.origins):
            self.take(number, origin)
        self.holders = {digest.holder for digest in recipe.digests}
        self.rebuild_members()
        self.close_archives()
        self.lay_digests()
        found = iter(self.payloads)
        return b"".join(s.data if isinstance(s, Frame) else next(found) for s in self.stretches)

    def open_archives(self):
        self.parts = []
        for opened in self.recipe.opened:
            parts = archives.open_archive(opened.kind, self.space.read(opened.address, opened.bytes))
            if sum(len(part.data) for part in parts) != opened.plain_bytes:
                raise Refused("parts of another length than the recipe says")
            for part in parts:
                stored = part.stored and (opened.address + part.stored[0], part.stored[1])
                self.parts.append(part._replace(stored=stored))
                self.space.add(part.data)

    def take(self, number, origin):
        """Finds a payload that lies somewhere already; those of members and archives come later."""
        kind, value, length = origin.kind, origin.value, self.lengths[number]
        if kind == rules.OWN:
            own = self.owns[number]
            if own is None:
                raise Refused("own, without a base entry")
            data = self.space.read(*own)
        elif kind == rules.ADDRESS:
            data = self.space.read(value, length)
        elif kind in (rules.PART, rules.STORED):
            if value >= len(self.parts):
                raise Refused("a part that is not there")
            part = self.parts[value]
            if kind == rules.STORED and part.stored is None:
                raise Refused("a structure is not stored")
            data = part.data if kind == rules.PART else self.space.read(*part.stored)
            self.facts[number] = part.facts if kind == rules.STORED else None
        elif kind == rules.REPEAT:
            before = self.lengths[number - value]
            if length not in (None, before):
                raise Refused("a repeat of another length")
            self.lengths[number] = before
            return
        else:
            return
        if length not in (None, len(data)):
            raise Refused(f"payload {number} of {length} bytes should be {len(data)}")
        self.lengths[number] = len(data)
        self.payloads[number] = data

    def rebuild_members(self):
        """Decodes groups, each after those whose results it reads."""
        self.rebuilt_starts, total = {}, 0
        for number, origin in enumerate(self.recipe.origins):
            if origin.kind == rules.REBUILT:
                self.rebuilt_starts[number] = total
                total += self.lengths[number]
        self.rebuilt, self.done = bytearray(total), bytearray(total)
        left = [[Group(data, self.limits), list(members)] for members, data in zip(self.recipe.members, self.recipe.groups)]
        while left:
            waiting = []
            for group, members in left:
                # What a group makes is seen by others when the whole group can be decoded.
                if not self.can_decode(members):
                    waiting.append([group, members])
                    continue
                for member in members:
                    self.rebuild_member(group, member)
                group.end()
            if len(waiting) == len(left):
                raise Refused("groups that need each other")
            left = waiting
        if not all(self.done):
            raise Refused("members that do not cover their payload")
        for number, start in self.rebuilt_starts.items():
            self.payloads[number] = bytes(self.rebuilt[start : start + self.lengths[number]])

    def place(self, member):
        """The range of the rebuilt bytes that a member makes."""
        whole = self.lengths[member.payload]
        offset, length = member.window or (0, whole)
        if offset + length > whole:
            raise Refused("a window that leaves its payload")
        return self.rebuilt_starts[member.payload] + offset, length

    def can_decode(self, members):
        own = []
        for member in members:
            for address, length in filter(None, member.parts):
                at = address - len(self.space.data)
                if at < 0:
                    continue
                if at + length > len(self.rebuilt):
                    raise Refused("a range beyond the rebuilt bytes")
                for holder in self.holders:
                    start = self.rebuilt_starts[holder]
                    if at < start + self.lengths[holder] and start < at + length:
                        raise Refused("a member that reads a payload with digests")
                there = bytearray(self.done[at : at + length])
                for start, count in own:
                    for i in range(max(start, at), min(start + count, at + length)):
                        there[i - at] = 1
                if not all(there):
                    return False
            own.append(self.place(member))
        return True

    def rebuild_member(self, group, member):
        at, length = self.place(member)
        if any(self.done[at : at + length]):
            raise Refused("members that make the same bytes")
        base = b"".join(self.base_part(member.payload, part) for part in member.parts)
        self.rebuilt[at : at + length] = group.member(base, length)
        self.done[at : at + length] = b"\1" * length

    def base_part(self, payload, part):
        if part is None:
            part = self.owns[payload]
            if part is None:
                raise Refused("own, without a base entry")
        address, length = part
        if address >= len(self.space.data):
            at = address - len(self.space.data)
            return bytes(self.rebuilt[at : at + length])
        return self.space.read(address, length)

    def lay_digests(self):
        """Puts digests over what members have made of their places."""
        texts = {}
        for digest in self.recipe.digests:
            content, original = self.payload(digest.content), digest.content
            while self.recipe.origins[original].kind == rules.REPEAT:
                original -= self.recipe.origins[original].value
            if original in self.holders:
                raise Refused("a digest of a payload with digests")
            if digest.spelling == 0:
                text = hashlib.md5(content).hexdigest().encode()
            elif digest.spelling == 1:
                text = hashlib.sha256(content).hexdigest().encode()
            elif digest.spelling == 3:
                text = base64.b64encode(hashlib.sha1(content).digest())
            else:
                text = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=")
            holder = texts.setdefault(digest.holder, bytearray(self.payloads[digest.holder]))
            if digest.offset + len(text) > len(holder):
                raise Refused("a digest that leaves its payload")
            holder[digest.offset : digest.offset + len(text)] = text
        for number, text in texts.items():
            self.payloads[number] = bytes(text)
        for number in range(self.recipe.outer):
            self.payloads[number] = self.payload(number)

    def close_archives(self):
        """Finds each archive's inner payloads, and closes all archives; one may be part of another."""
        self.closed, self.open, first = {}, set(), self.recipe.outer
        numbers = [i for i, origin in enumerate(self.recipe.origins) if origin.kind == rules.CLOSED]
        for number, archive in zip(numbers, self.recipe.closed):
            self.closed[number] = (archive, range(first, first + archive.count))
            first += archive.count
        for number in self.closed:
            self.payload(number)

    def payload(self, number):
        while self.recipe.origins[number].kind == rules.REPEAT:
            number -= self.recipe.origins[number].value
        if self.payloads[number] is None:
            if number in self.open:
                raise Refused("an archive that is made of itself")
            self.open.add(number)
            archive, inner = self.closed[number]
            made = archives.close_archive(archive.kind, [self.inner(i) for i in inner])
            if len(made) != self.lengths[number]:
                raise Refused(f"an archive of {len(made)} bytes, should be {self.lengths[number]}")
            self.payloads[number] = made
        return self.payloads[number]

    def inner(self, number):
        coder = self.recipe.coders[number - self.recipe.outer]
        recipe = self.recipe.compressions[coder - 1] if coder else None
        return archives.Inner(self.payload(number), recipe, self.facts.get(number))
