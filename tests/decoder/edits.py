"""Copies with edited instructions. docs/format-instructions.md, sections 4 to 7."""
from collections import namedtuple

import expected
import instructions
import words
from wire import Refused

# A distance that is computed when the map is complete; `copy` is the number of the copy that holds a short one.
Distance = namedtuple("Distance", "at length target_end base_end old copy")


class Edits:
    """Edited instructions of a member, and what follows from them."""

    def __init__(self, base, copy_type):
        self.base, self.copy_type, self.expected = base, copy_type, expected.Expected()
        # Ranges of the base that the script takes; copies by distance; edited bytes by target offset; distances.
        self.taken, self.copies, self.edited, self.distances = [], [], [], []

    def copy(self, streams, start, end, to, room):
        """Adds a copy and returns its bytes in the target; edited ones and distances are as in the base at first."""
        self.taken.append((start, end))
        if self.base[18:20] == b"\xB7\0":
            return self.copy_of_words(streams, start, end, to, room)
        count, out, open_at, open_to = streams.number("edit counts"), bytearray(), start, to
        at, first = start, len(self.distances)

        def close():
            if at > open_at:
                self.copies.append(self.copy_type(open_to, open_at, at - open_at))

        def replace(old_bytes, old_reference, new, has_form):
            nonlocal open_at, open_to
            new_bytes, reference = instructions.write(new)
            place = to + len(out)
            if len(new_bytes) != len(old_bytes) or has_form:
                close()
                behind = at + len(old_bytes)
                if reference:
                    old = instructions.signed(old_bytes[old_reference.at : old_reference.at + old_reference.length])
                    self.distances.append(
                        Distance(place + reference.at, reference.length, place + len(new_bytes), behind, old, None))
                open_at, open_to = behind, place + len(new_bytes)
            out.extend(new_bytes)
            return at + len(old_bytes)

        def step():
            code = self.base[at : min(at + 15, end)]
            change = self.expected_change(code)
            if change:
                old, old_bytes, old_reference, change = change
                return replace(old_bytes, old_reference, old._replace(**change), False)
            if instructions.is_short_jump(code):
                place = to + len(out)
                old = instructions.signed(code[1:2])
                self.distances.append(Distance(place + 1, 1, place + 2, at + 2, old, len(self.copies)))
            size = instructions.length(code)
            out.extend(self.base[at : at + size])
            return at + size

        if count:
            self.expected.begin(start)
        for _ in range(count - 1):
            for _ in range(streams.number("edit gaps")):
                if at == end:
                    raise Refused("an edit behind the end of its copy")
                at = step()
            code = self.base[at : min(at + 15, end)]
            try:
                old = instructions.read(code)
                old_bytes, old_reference = instructions.write(old)
                change = self.expected_change(code)
                new, bits = instructions.edited(old._replace(**change[3]) if change else old, streams)
                next_at = replace(old_bytes, old_reference, new, bool(bits & 32))
            except instructions.Unknown:
                raise Refused("an edit of what cannot be edited") from None
            self.expected.learn(old, new, expected.operands_of_instruction(old), bits)
            at = next_at
        if count:
            while at < end:
                at = step()
            self.expected.end = end
        else:
            out += self.base[at:end]
            at = end
        close()
        self.distances[first:] = [d for d in self.distances[first:] if not self.is_inner(d)]
        if len(out) > room:
            raise Refused("a copy leaves the target")
        return out

    def expected_change(self, code):
        """The x86-64 instruction at the front, its bytes and reference, and the change that is expected; or None."""
        try:
            old = instructions.read(code)
            old_bytes, old_reference = instructions.write(old)
        except instructions.Unknown:
            return None
        change = self.expected.change(old, expected.operands_of_instruction(old))
        return (old, old_bytes, old_reference, change) if change and instructions.is_fit(old, change) else None

    def copy_of_words(self, streams, start, end, to, room):
        """The same for a base of AArch64, whose edits never divide a copy."""
        out, at, count = bytearray(self.base[start:end]), 0, streams.number("edit counts")
        if count:
            self.expected.begin(start)

        def likely():
            word = int.from_bytes(out[at : at + 4], "little")
            operands = expected.operands_of_word(word)
            new = words.changed(word, self.expected.change(words.fields(word), operands))
            return word, operands, word if new is None else new

        for _ in range(count - 1):
            for _ in range(streams.number("edit gaps")):
                if at >= len(out):
                    raise Refused("an edit behind the end of its copy")
                if at + 4 <= len(out):
                    out[at : at + 4] = likely()[2].to_bytes(4, "little")
                at += 4
            if at + 4 > len(out):
                raise Refused("an edit behind the end of its copy")
            old, operands, word = likely()
            word, bits = words.edited(word, streams)
            self.expected.learn(words.fields(old), words.fields(word), operands, bits)
            out[at : at + 4] = word.to_bytes(4, "little")
            at += 4
        if count:
            while at + 4 <= len(out):
                out[at : at + 4] = likely()[2].to_bytes(4, "little")
                at += 4
            self.expected.end = end
        self.copies.append(self.copy_type(to, start, end - start))
        if len(out) > room:
            raise Refused("a copy leaves the target")
        return out

    def is_inner(self, distance):
        if distance.copy is None or distance.copy >= len(self.copies):
            return False
        copy = self.copies[distance.copy]
        return copy.base <= distance.base_end + distance.old < copy.base + copy.length

    def set_distances(self, target, images, the_map, streams):
        base, new = images
        misses = streams.number("distance gaps")
        gap = streams.number("distance gaps") if misses else -1
        for distance in self.distances:
            number = self.predicted(distance, base, new, the_map)
            if gap == 0:
                number += streams.signed("distance values")
                misses -= 1
                gap = streams.number("distance gaps") if misses else -1
            elif gap > 0:
                gap -= 1
            size = distance.length
            target[distance.at : distance.at + size] = (number & (1 << 8 * size) - 1).to_bytes(size, "little")
        if misses:
            raise Refused("misses are left when the distances end")

    @staticmethod
    def predicted(distance, base, new, the_map):
        from_, to = base.address_at(distance.base_end - 1), new.address_at(distance.target_end - 1)
        if from_ is None or to is None:
            return distance.old
        led_to = from_ + 1 + distance.old
        shift = the_map.shift(led_to) if 0 <= led_to < base.span else None
        return distance.old if shift is None else base.low + led_to + shift - (new.low + to + 1)
