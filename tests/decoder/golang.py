"""Tables and type descriptors of Go programs. docs/format-elf.md, section 7."""
import elf

NONE = 0xFFFFFFFF
MOST_METHODS = 4096


class Tables:
    """Where the tables lie."""

    @classmethod
    def locate(cls, data, image, sections):
        section = next((s for s in sections if s.name.endswith(b".gopclntab")), None)
        if section is None:
            return None
        table = data[section.offset : section.offset + section.length]
        start = image.relative(section.address)
        if start is None or image.offset_of(start) != section.offset or len(table) < 72 or table[7] != 8:
            return None
        self = cls()
        self.offset, self.length, self.start, self.bytes = section.offset, section.length, start, table
        self.record_length = {0xFFFFFFF1: 44, 0xFFFFFFF0: 40}.get(elf.u32(table, 0))
        parts = [elf.u64(table, at) for at in (32, 40, 48, 56, 64)]
        if self.record_length is None or any(p > len(table) or start + p >= image.span for p in parts):
            return None
        self.names, self.units, self.files, self.lines, self.functions = (start + p for p in parts)
        self.text = image.relative(elf.u64(table, 24))
        if self.text is None:
            text = next((s for s in sections if s.name == b".text"), None)
            self.text = image.relative(text.address) if text else None
        self.count = elf.u64(table, 8)
        if self.text is None or self.count >= 1 << 32:
            return None
        self.module = self.locate_module(data, image, section.address)
        return self

    def locate_module(self, data, image, address):
        wanted = address.to_bytes(8, "little") + (image.low + self.names).to_bytes(8, "little")
        for segment in image.segments:
            if segment.executable:
                continue
            at = data.find(wanted, segment.offset)
            while at != -1 and at + 8 <= segment.offset + segment.file_length:
                if (at - segment.offset) % 8 == 0:
                    return self.read_module(data, image, at)
                at = data.find(wanted, at + 1)
        return None

    def read_module(self, data, image, at):
        more = 16 if self.record_length == 44 else 0
        module, names = {}, [
            ("buckets", 152), ("first code", 160), ("types", 280 + more), ("types end", 288 + more), ("constants", 296 + more),
            ("function data", 304 + more),
        ]
        for name, offset in names:
            value = elf.u64(data, at + offset)
            module[name] = None if value is None else image.relative(value)
            if module[name] is None:
                return None
        code_length = elf.u64(data, at + 168) - image.low - module["first code"]
        if code_length < 0:
            return None
        module["bucket count"] = code_length // 4096 + 1
        return module


class Missing(Exception):
    """A walk ends: a value or an anchor is not there."""


def anchor(scene, address, stride=1):
    made = scene.anchor(address, stride)
    if made is None:
        raise Missing
    return made


def table(go, scene):
    try:
        data_starts = functions(go, scene)
    except Missing:
        return
    if go.module:
        try:
            buckets(go, scene)
            function_data(go, scene, data_starts)
        except Missing:
            pass


def functions(go, scene):
    names = {"text": 1, "names": 1, "units": 4, "files": 1, "lines": 1, "functions": 1}
    anchors = {name: anchor(scene, getattr(go, name), stride) for name, stride in names.items()}
    go.names_anchor = anchors["names"]
    module = go.module
    data_anchor = anchor(scene, module["function data"]) if module else None
    bytes_, data_starts = go.bytes, []

    def add(at, from_, stride=1):
        """Adds an offset field and returns whether there was a value."""
        value = elf.u32(bytes_, at)
        if value is None or value == NONE:
            return False
        scene.add(go.offset + at, "anchored32", from_[0] + value * stride, from_)
        return True

    for at in range(go.units - go.start, go.files - go.start, 4):
        add(at, anchors["files"])
    first = go.functions - go.start
    for i in range(go.count):
        if not add(first + 8 * i, anchors["text"]) or not add(first + 8 * i + 4, anchors["functions"]):
            raise Missing
    add(first + 8 * go.count, anchors["text"])
    walked = 0
    for i in range(go.count):
        record = first + elf.u32(bytes_, first + 8 * i + 4)
        behind = record + go.record_length
        if behind > len(bytes_) or record < walked:
            continue
        add(record, anchors["text"])
        add(record + 4, anchors["names"])
        add(record + 32, anchors["units"], 4)
        line_lists, data_lists = min(elf.u32(bytes_, record + 28), 64), bytes_[behind - 1]
        places = [record + 16, record + 20, record + 24, *(behind + 4 * j for j in range(line_lists))]
        for at in places:
            if elf.u32(bytes_, at) != 0:
                add(at, anchors["lines"])
        behind += 4 * line_lists
        for kind in range(data_lists):
            value = elf.u32(bytes_, behind + 4 * kind)
            if module and value is not None:
                add(behind + 4 * kind, data_anchor)
                data_starts.append((value, kind))
        walked = behind + 4 * data_lists
    return data_starts


def buckets(go, scene):
    start = scene.image.offset_of(go.module["buckets"])
    if start is None or start + 20 * go.module["bucket count"] > len(scene.data):
        return
    functions_anchor = anchor(scene, go.functions, 8)
    for i in range(go.module["bucket count"]):
        value = elf.u32(scene.data, start + 20 * i)
        scene.add(start + 20 * i, "anchored32", go.functions + 8 * value, functions_anchor)


def function_data(go, scene, data_starts):
    if go.record_length != 44:
        return
    constants = anchor(scene, go.module["constants"])
    starts = sorted({start for start in data_starts if start[0] != NONE})
    values = sorted({value for value, _ in starts})
    following = dict(zip(values, values[1:]))
    for value, kind in starts:
        at = scene.image.offset_of(go.module["function data"] + value)
        room = following.get(value, value) - value
        if at is None or at + room > len(scene.data):
            continue
        if kind == 3:
            skipped, word, from_ = 0, 4, go.names_anchor
        elif kind == 2:
            skipped, word, from_ = 8, 12, constants
        else:
            continue
        for row in range(at + skipped, at + room - 15, 16):
            scene.add(row + word, "anchored32", from_[0] + elf.u32(scene.data, row + word), from_)


def types(go, scene):
    if not go.module:
        return
    try:
        from_types, from_text = anchor(scene, go.module["types"]), anchor(scene, go.text)
    except Missing:
        return
    data, image = scene.data, scene.image
    section = next((s for s in scene.sections if s.name == b".typelink"), None)
    if section:
        for at in range(section.offset, section.offset + section.length - 3, 4):
            offset_field(scene, at, from_types)
    at, end = image.offset_of(go.module["types"]), image.offset_of(go.module["types end"])
    if at is None or end is None:
        return
    walk = Descriptors(scene, from_types, from_text)
    while at + 48 <= min(end, len(data)):
        at += 48 if walk.descriptor(at) else 8


def offset_field(scene, at, from_):
    value = elf.u32(scene.data, at)
    if value not in (None, 0, NONE):
        scene.add(at, "anchored32", from_[0] + value, from_)


class Descriptors:
    """Type descriptors, tried at every eighth byte."""

    def __init__(self, scene, from_types, from_text):
        self.scene, self.types, self.text = scene, from_types, from_text
        self.left = len(scene.data) // 16

    def descriptor(self, at):
        """Adds the fields of a descriptor, and says whether there is a whole one."""
        scene, data, image = self.scene, self.scene.data, self.scene.image
        size, pointers = elf.u64(data, at), elf.u64(data, at + 8)
        flags, kind, name = data[at + 20], data[at + 23] & 31, elf.u32(data, at + 40)
        powers = (1, 2, 4, 8, 16)
        if pointers > size or size >= 1 << 32 or flags >= 32 or data[at + 21] not in powers or data[at + 22] not in powers:
            return False
        if not 1 <= kind <= 26 or name == 0 or self.types[0] + name >= image.span:
            return False
        if any(p and image.relative(p) is None for p in (elf.u64(data, at + 24), elf.u64(data, at + 32))):
            return False
        offset_field(scene, at + 40, self.types)
        offset_field(scene, at + 44, self.types)
        if kind == 20:
            list_, count = elf.u64(data, at + 56), elf.u64(data, at + 64)
            list_ = None if list_ is None else image.relative(list_)
            list_ = None if list_ is None else image.offset_of(list_)
            if list_ is None or count is None:
                return False
            count = self.take(count)
            for i in range(2 * count):
                offset_field(scene, list_ + 4 * i, self.types)
        if flags & 1:
            return self.methods(at, kind)
        return True

    def methods(self, at, kind):
        if kind == 21:
            return False
        scene, data = self.scene, self.scene.data
        own = at + 48 + {17: 24, 18: 16, 19: 8, 22: 8, 23: 8, 20: 32, 25: 32}.get(kind, 0)
        offset_field(scene, own, self.types)
        if elf.u32(data, own + 8) is None:
            return False
        list_ = own + elf.u32(data, own + 8)
        for i in range(self.take(elf.u32(data, own + 4) & 0xFFFF)):
            for word, from_ in enumerate((self.types, self.types, self.text, self.text)):
                offset_field(scene, list_ + 16 * i + 4 * word, from_)
        return True

    def take(self, count):
        count = min(count, MOST_METHODS, self.left)
        self.left -= count
        return count
