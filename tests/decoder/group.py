"""Groups: members rebuilt from their bases. docs/format-group.md."""
from collections import namedtuple

import aligned
import corrections
import elf
import fields as field_rules
import literals
import names
import objects
import pack
import programs
import unwind
from edits import Edits
from wire import Reader, Refused

NAMES = [
    "members", "literal lengths", "copy lengths", "base offsets", "headers", "override gaps", "override lengths",
    "override shifts", "page flags", "miss gaps", "miss values", "patch gaps", "patch runs", "patch values", "literals",
    "packed literals", "edit counts", "edit gaps", "edit parts", "edit registers", "edit displacements", "edit immediates",
    "distance gaps", "distance values", "parts", "code", "program unwind records", "table numbers",
    "codes",
]
PLAIN, ELF, LITTLE, BIG, PROGRAM, RENAMED = range(6)
Copy = namedtuple("Copy", "target base length")


class Streams:
    """The streams of a group, each with its own position."""

    def __init__(self, data, limits):
        unpacked = pack.unpack(data, len(NAMES), limits, "group")
        self.readers = {name: Reader(bytes_, f"group, {name}") for name, bytes_ in zip(NAMES, unpacked)}

    def number(self, name):
        return self.readers[name].number()

    def signed(self, name):
        return self.readers[name].signed()

    def bytes(self, name, count):
        return self.readers[name].bytes(count)

    def end(self):
        for reader in self.readers.values():
            reader.end()


class Group:
    """Members are read in the order in which they were written."""

    def __init__(self, data, limits):
        self.streams, self.history, self.mixer, self.corrections = Streams(data, limits), b"", None, None

    def member(self, base, length):
        head = self.streams.bytes("members", 1)[0]
        whole, apart, has_table, view = bool(head & 0x80), bool(head & 0x40), bool(head & 0x10), head & 0x07
        is_corrected = bool(head & 0x08)
        edits = Edits(base, Copy) if head & 0x20 else None
        if view > RENAMED or ((apart or edits or has_table) and (whole or view != ELF)) or (whole and view == PROGRAM):
            raise Refused(f"a member of view {head:02x}")
        if is_corrected and view in (PROGRAM, RENAMED):
            raise Refused(f"a member of view {head:02x}")
        if view == PROGRAM:
            return programs.rebuild(self.streams, length)
        target, copies = self.script(base, length, whole, apart, edits)
        if view == RENAMED:
            names.replace(target, base, copies, self.patches(target))
            return bytes(target)
        exact = bytearray(length) if is_corrected else None
        if exact is not None:
            for start, end in literals.target_gaps(target, copies):
                exact[start:end] = b"\1" * (end - start)
        table, kinds = None, [(length, aligned.TEXT)]
        if view != PLAIN:
            table, image = self.fields(view, apart, has_table, base, target, copies, edits, exact)
            kinds = literals.kinds(image, length)
        if is_corrected:
            self.corrections = corrections.read(self.streams, self.corrections, target, exact, kinds)
        for _ in self.patches(target):
            pass
        if table:
            unwind.fill(target, *table)
        return bytes(target)

    def end(self):
        self.streams.end()

    def script(self, base, length, whole, apart, edits):
        if whole:
            if len(base) < length:
                raise Refused("a base shorter than the member that is a copy of it")
            return bytearray(base[:length]), [Copy(0, 0, length)]
        target, copies, base_end = bytearray(), [], 0
        while len(target) < length:
            literal = self.streams.number("literal lengths")
            if literal > length - len(target):
                raise Refused("literals beyond the target")
            target += bytes(literal) if apart else self.streams.bytes("literals", literal)
            if len(target) == length:
                break
            count = self.streams.number("copy lengths")
            start = base_end + literal + self.streams.signed("base offsets")
            if not 0 < count <= length - len(target) or start < 0 or start + count > len(base):
                raise Refused("a copy leaves base or target")
            copies.append(Copy(len(target), start, count))
            if edits:
                made = edits.copy(self.streams, start, start + count, len(target), length - len(target))
                copies[-1] = copies[-1]._replace(length=len(made))
                target += made
            else:
                target += base[start : start + count]
            base_end = start + count
        return target, copies

    def fields(self, view, apart, has_table, base, target, copies, edits, exact):
        """`copies` cover the target outside of literals; with edits, those of `edits` move by one distance each. Fields that
        cannot be wrong become exact."""
        placed = edits.copies if edits else copies
        taken = edits.taken if edits else [(c.base, c.base + c.length) for c in copies]
        streams, header, table = self.streams, b"", None
        if view == ELF:
            count = streams.number("headers")
            if count > len(target):
                raise Refused("headers longer than the target")
            xored = streams.bytes("headers", count)
            header = objects.headers_of_target(base, xored) if objects.is_object(base) else xor(xored, base)
            old, new = elf.Image.of_file(base), elf.Image.parse(header, len(target))
            if old.is_object != new.is_object:
                raise Refused("a relocatable file and another one")
            if has_table:
                table = new, unwind.place(new, streams.number("headers"), streams.number("headers"))
            found = elf.fields(base, old, has_table)
        else:
            old, new = elf.Image.flat(len(base)), elf.Image.flat(len(target))
            found = offset_fields(base, view == BIG)
        overrides = field_rules.read_overrides(streams, old.reach)
        pages_off = field_rules.read_page_flags(streams, len(base))
        the_map = field_rules.Map(placed, overrides, old, new)
        if apart:
            self.history, self.mixer = literals.fill(
                streams, self.history, self.mixer, target, copies, placed, (taken, base, old, new, found, the_map)
            )
        if view == ELF:
            literals.respell(target, copies, new)
        field_rules.correct(target, placed, found, (old, new), the_map, pages_off, streams, exact)
        if edits:
            edits.set_distances(target, (old, new), the_map, streams)
        if view == ELF and new.is_object:
            target[:64] = header[:64]
            target[new.sections_at : new.sections_at + len(header) - 64] = header[64:]
        else:
            target[: len(header)] = header
        return table, new

    def patches(self, target):
        """Patches the target; before each byte that changes, its place comes out."""
        at = 0
        for _ in range(self.streams.number("patch gaps")):
            at += self.streams.number("patch gaps")
            run = self.streams.number("patch runs") + 1
            if at + run > len(target):
                raise Refused("a patch ends after the target")
            for value in self.streams.bytes("patch values", run):
                yield at
                target[at] = (target[at] + value) & 255
                at += 1


def xor(xored, base):
    return bytes(a ^ b for a, b in zip(xored, base[: len(xored)].ljust(len(xored), b"\0")))


def offset_fields(base, is_big):
    """docs/format-group.md, section 8."""
    form = "offset32 big" if is_big else "offset32"
    found = []
    for at in range(0, len(base) - 3, 4):
        word = int.from_bytes(base[at : at + 4], "big" if is_big else "little")
        if 0 < word < len(base):
            found.append(field_rules.Field(at, form, word))
    return found
