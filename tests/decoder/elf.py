"""ELF files: images, sections, zones and the fields of each zone. docs/format-elf.md, sections 1 to 5.

Class-data archives are in class_archive.py, relocatable files in objects.py."""
import struct
from collections import namedtuple

import aarch64
import class_archive
import golang
import objects
import unwind
import x86_64
from fields import Field, width
from wire import Refused

Segment = namedtuple("Segment", "offset file_length start memory_length executable")
Section = namedtuple("Section", "name kind flags address offset length link number")
Zone = namedtuple("Zone", "kind start end section", defaults=(None,))
LOADED, EXECUTABLE = 2, 4
LEAST_POINTER = 0x400


class Image:
    """Segments of a file, with addresses relative to the lowest one."""

    def __init__(self, machine, low, span, segments, unwind_header=None, header_length=0):
        self.machine, self.low, self.span, self.segments = machine, low, span, segments
        self.unwind_header, self.header_length = unwind_header, header_length
        self.is_object, self.reach, self.sections_at = False, span, None

    @classmethod
    def flat(cls, length):
        if length >= (1 << 32) - 1:
            raise Refused("a file too long for a view of offsets")
        return cls(None, 0, length, [Segment(0, length, 0, length, False)])

    @classmethod
    def of_file(cls, data):
        return cls.parse(objects.headers(data) if objects.is_object(data) else data, len(data))

    @classmethod
    def parse(cls, data, file_length):
        def refuse():
            raise Refused("not a program that the ELF view can read")

        if class_archive.is_archive(data):
            return class_archive.image(cls, Segment, data, file_length)
        if objects.is_object(data):
            return objects.image(cls, Segment, data, file_length)
        if len(data) < 64 or data[:7] != b"\x7fELF\x02\x01\x01" or file_length >= 1 << 32:
            refuse()
        machine = {62: "x86-64", 183: "aarch64"}.get(u16(data, 18))
        count = u16(data, 56)
        if machine is None or u64(data, 32) != 64 or u16(data, 54) != 56 or count > 256 or 64 + 56 * count > len(data):
            refuse()
        headers = [struct.unpack_from("<IIQQQQQQ", data, 64 + 56 * i) for i in range(count)]
        loaded = [h for h in headers if h[0] == 1 and h[6] > 0]
        if not 1 <= len(loaded) <= 64:
            refuse()
        low = loaded[0][3]
        span = loaded[-1][3] + loaded[-1][6] - low
        if not 0 <= span < (1 << 32) - 1:
            refuse()

        def admit(header):
            _, flags, offset, address, _, file_size, memory_size, _ = header
            start = address - low
            fits = start >= 0 and start + memory_size <= span and file_size <= memory_size
            fits = fits and offset + file_size <= file_length
            return Segment(offset, file_size, start, memory_size, bool(flags & 1)) if fits else None

        segments = []
        for header in loaded:
            segment = admit(header)
            if segment is None:
                refuse()
            if segments:
                before = segments[-1]
                if before.start + before.memory_length > segment.start or before.offset + before.file_length > segment.offset:
                    refuse()
            segments.append(segment)
        table = [h for h in headers if h[0] == 0x6474E550]
        table = admit(table[-1]) if table else None
        table = (table.start, table.memory_length) if table else None
        return cls(machine, low, span, segments, table, 64 + 56 * count)

    def absolute_data_end(self):
        last = self.segments[-1]
        return self.low + last.start + last.file_length

    def segment_at(self, offset):
        """The segment that the byte at a file offset is loaded from."""
        for segment in self.segments:
            if segment.offset + segment.file_length > offset:
                return segment if segment.offset <= offset else None
        return None

    def segment_of_address(self, address):
        for segment in self.segments:
            if segment.start + segment.memory_length > address:
                return segment if segment.start <= address else None
        return None

    def address_at(self, offset):
        segment = self.segment_at(offset)
        return segment and segment.start + offset - segment.offset

    def offset_of(self, address):
        segment = self.segment_of_address(address)
        within = segment and address - segment.start
        return segment.offset + within if segment and within < segment.file_length else None

    def relative(self, absolute):
        """An absolute address relative to the image, if it is inside."""
        return absolute - self.low if 0 <= absolute - self.low < self.span else None


def u16(data, at):
    return int.from_bytes(data[at : at + 2], "little")


def u32(data, at):
    """The number, or None if bytes are missing."""
    return int.from_bytes(data[at : at + 4], "little") if 0 <= at <= len(data) - 4 else None


def i32(data, at):
    return int.from_bytes(data[at : at + 4], "little", signed=True) if 0 <= at <= len(data) - 4 else None


def u64(data, at):
    return int.from_bytes(data[at : at + 8], "little") if 0 <= at <= len(data) - 8 else None


def read_sections(data):
    table, count, names_number = u64(data, 40), u16(data, 60), u16(data, 62)
    if u16(data, 58) != 64 or table + 64 * count > len(data) or names_number >= count:
        return []
    headers = [struct.unpack_from("<IIQQQQIIQQ", data, table + 64 * i) for i in range(count)]

    def extent(header):
        sound = header[1] != 8 and header[4] + header[5] <= len(data)
        return (header[4], header[5]) if sound else (0, 0)

    names_offset, names_length = extent(headers[names_number])
    names = data[names_offset : names_offset + names_length]
    sections = []
    for number, header in enumerate(headers):
        name, nul, _ = bytes(names[header[0] : header[0] + 32]).partition(b"\0")
        offset, length = extent(header)
        sections.append(Section(name if nul else b"", header[1], header[2], header[3], offset, length, header[6], number))
    return sections


def section_kind(section, is_object):
    loaded = section.flags & LOADED
    if section.kind == 1 and loaded and section.flags & EXECUTABLE:
        return "code"
    if (section.kind == 2 and not loaded) or (section.kind == 11 and loaded):
        return "symbols"
    if section.kind == 4 and (loaded or is_object):
        return "relocations"
    if is_object:
        if section.kind in (1, 0x70000001) and section.name == b".eh_frame":
            return "unwind records"
        return "types" if section.kind == 1 and section.name == b".BTF" else None
    if section.kind == 1 and not loaded and section.name.startswith(b".debug_"):
        return "debug"
    return None


def claims(data, image, sections, go):
    kinds = [(section_kind(section, image.is_object), section) for section in sections]
    claimed = [Zone(kind, s.offset, s.offset + s.length, s) for kind, s in kinds if kind]
    if image.unwind_header:
        address, length = image.unwind_header
        start = image.offset_of(address)
        if start is not None:
            claimed.append(Zone("unwind table", start, start + length))
            records = unwind.locate(data, start, address, image)
            if records:
                claimed.append(Zone("unwind records", *records))
    if go:
        claimed.append(Zone("go", go.offset, go.offset + go.length))
    if not any(kind == "code" for kind, _ in kinds):
        for segment in image.segments:
            if segment.executable:
                start = max(segment.offset, image.header_length)
                claimed.append(Zone("code", start, segment.offset + segment.file_length))
    return [zone for zone in claimed if zone.start < zone.end <= len(data)]


def divide(data, image, sections, go):
    """The zones of a file, ascending."""
    zones, at = [], 0

    def data_until(end):
        for segment in image.segments:
            start = max(segment.offset, at)
            stop = min(segment.offset + segment.file_length, end)
            if start < stop:
                zones.append(Zone("data", start, stop))

    for zone in sorted(claims(data, image, sections, go), key=lambda zone: zone.start):
        start = max(zone.start, at)
        if start >= zone.end:
            continue
        last = zones[-1] if zones else None
        if last and last.kind == zone.kind == "code" and start - last.end < 64:
            first = image.address_at(last.start)
            if first is not None and image.address_at(start) == first + start - last.start:
                zones[-1] = last._replace(end=zone.end)
                at = zone.end
                continue
        data_until(start)
        segment = image.segment_at(start)
        end = min(zone.end, segment.offset + segment.file_length) if segment else zone.end
        zones.append(zone._replace(start=start, end=end))
        at = end
    data_until(len(data))
    return zones


def fields(data, image, has_table=False):
    """All fields of a base; of a table that is computed, only those in its first bytes."""
    if image.machine == "class data":
        scene = Scene(data, image, [], (0, 0))
        class_archive.fields(scene)
        return scene.sorted()
    sections = read_sections(data)
    go = None if image.is_object else golang.Tables.locate(data, image, sections)
    zones = divide(data, image, sections, go)
    code = [zone for zone in zones if zone.kind == "code"]
    starts = [a for a in (image.address_at(zone.start) for zone in code) if a is not None]
    ends = [a for a in (image.address_at(zone.end - 1) for zone in code) if a is not None]
    scene = Scene(data, image, sections, (min(starts, default=0), max(ends, default=0)))
    if go:
        golang.types(go, scene)
    table = objects.Sections(scene) if image.is_object else None
    for zone in zones:
        if has_table and zone.kind == "unwind table":
            zone = zone._replace(end=min(zone.end, zone.start + 8))
        address = image.address_at(zone.start)
        if table and zone.kind not in ("code", "unwind records"):
            table.fields(scene, zone)
        elif zone.kind == "go":
            golang.table(go, scene)
        elif zone.kind == "symbols":
            symbols(scene, zone)
        elif zone.kind == "debug":
            debug(scene, zone)
        elif address is not None:
            walk = {
                "code": x86_64.code if image.machine == "x86-64" else aarch64.code, "unwind table": unwind.table,
                "unwind records": unwind.records, "relocations": relocations, "data": plain_data,
            }[zone.kind]
            walk(scene, zone, address)
    return scene.sorted()


class Scene:
    """A base, and the fields found so far."""

    def __init__(self, data, image, sections, code):
        self.data, self.image, self.sections, self.code = data, image, sections, code
        self.found, self.anchors = [], 0

    def add(self, at, form, target, anchor=None, scale=0, is_number=False):
        """Adds a field if its target is inside the image."""
        if 0 <= target < (self.image.reach if is_number else self.image.span):
            self.found.append(Field(at, form, target, anchor, scale))
            return True
        return False

    def add_span(self, at, form, target, scale, number, first):
        """Adds the length of a function, or the distance of two places in one."""
        if self.add(at, form, target, None, scale):
            self.found[-1] = self.found[-1]._replace(number=number, first=first)

    def anchor(self, address, stride=1):
        self.anchors += 1
        return (address, stride) if self.anchors <= 256 else None

    def absolute(self, at, form="absolute64"):
        value = u64(self.data, at)
        if value is not None and value >= LEAST_POINTER:
            return self.add(at, form, value - self.image.low)
        return False

    def sorted(self):
        kept, end = [], 0
        for field in sorted(self.found, key=lambda field: field.at):
            if field.at >= end:
                kept.append(field)
                end = field.at + width(field.form)
        return kept


def linked(scene, zone):
    link = zone.section.link
    return scene.sections[link] if link < len(scene.sections) else None


def anchor_at(scene, section, stride):
    address = scene.image.relative(section.address)
    return None if address is None else scene.anchor(address, stride)


def symbols(scene, zone):
    names = linked(scene, zone)
    anchor = anchor_at(scene, names, 1) if names and names.flags & LOADED else None
    for at in range(zone.start, zone.end - 23, 24):
        name = u32(scene.data, at)
        if anchor and name:
            scene.add(at, "anchored32", anchor[0] + name, anchor)
        scene.absolute(at + 8)


def relocations(scene, zone, _address):
    table = linked(scene, zone)
    anchor = anchor_at(scene, table, 24) if table and table.kind == 11 else None
    for at in range(zone.start, zone.end - 23, 24):
        scene.absolute(at)
        symbol = u32(scene.data, at + 12)
        if anchor and symbol:
            scene.add(at + 12, "anchored32", anchor[0] + 24 * symbol, anchor)
        scene.absolute(at + 16)


def debug(scene, zone):
    image, at = scene.image, zone.start
    upper = image.low >> 32
    while at + 8 <= zone.end:
        value = u64(scene.data, at)
        near = value >> 32 in (upper, upper + 1 & 0xFFFFFFFF)
        if near and scene.code[0] <= value - image.low <= scene.code[1] and scene.absolute(at, "absolute64 in data"):
            at += 8
        else:
            at += 1


def plain_data(scene, zone, address):
    data, image = scene.data, scene.image

    def half(at):
        if image.machine != "x86-64" or at < zone.start or at + 4 > zone.end:
            return
        value = i32(data, at)
        target = address + at - zone.start + value
        if value and scene.code[0] <= target <= scene.code[1]:
            scene.add(at, "relative32 in data", target)

    first = zone.start + -(image.low + address) % 8
    half(first - 4)
    at = first
    while at + 8 <= zone.end:
        if data[at : at + 8] != bytes(8) and not scene.absolute(at, "absolute64 in data"):
            half(at)
            half(at + 4)
        at += 8
    half(at)
