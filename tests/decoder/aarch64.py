"""References in AArch64 code. docs/format-elf.md, section 6."""

CALLEE_MAY_CHANGE = [*range(19), 30]
FURTHEST = 256


def classify(top):
    rows = [
        (0xFC, 0x14, "jump"), (0xFC, 0x94, "call"), (0xFF, 0x54, "conditional"), (0x7E, 0x34, "compare"),
        (0x7E, 0x36, "test"), (0x9F, 0x90, "page"), (0xFF, 0x91, "add"), (0x3F, 0x39, "access"), (0x3B, 0x39, "vector access"),
        (0x1E, 0x14, "system"), (0x1E, 0x16, "system"), (0x0E, 0x0C, "other"), (0x3A, 0x28, "pair access"),
        (0x0A, 0x08, "other access"), (0x0E, 0x0E, "other"),
    ]
    return next((name for mask, value, name in rows if top & mask == value), "writes")


CLASSES = [classify(top) for top in range(256)]


def signed(number, bits):
    number &= (1 << bits) - 1
    return number - (1 << bits) if number >> bits - 1 else number


def code(scene, zone, address):
    data, low = scene.data, scene.image.low
    pages = {}  # register -> [page, number of the word, index of the field that waits]
    skipped = -(low + address) % 4
    words = (zone.end - zone.start - skipped) // 4

    def branch(form, distance):
        if distance:
            scene.add(at, form, here + 4 * distance)

    def forget(registers):
        for register in registers:
            pages.pop(register, None)

    for number in range(words):
        at = zone.start + skipped + 4 * number
        kind = CLASSES[data[at + 3]]
        if kind == "other":
            continue
        word = int.from_bytes(data[at : at + 4], "little")
        register, here, size = word & 31, address + at - zone.start, word >> 22 & 3
        if kind == "writes":
            forget([register])
        elif kind in ("jump", "call"):
            branch("branch26", signed(word, 26))
            if kind == "call":
                forget(CALLEE_MAY_CHANGE)
        elif kind == "system":
            if word & 0xFFFFFC1F == 0xD63F0000:
                forget(CALLEE_MAY_CHANGE)
        elif kind == "conditional":
            if word & 0x10 == 0:
                branch("branch19", signed(word >> 5, 19))
        elif kind == "compare":
            branch("branch19", signed(word >> 5, 19))
        elif kind == "test":
            branch("branch14", signed(word >> 5, 14))
        elif kind == "page" and scene.image.is_object:
            forget([register])
        elif kind == "page":
            distance = signed(word >> 29 & 3 | (word >> 5 & 0x7FFFF) << 2, 21)
            page = ((low + here >> 12) + distance << 12) - low
            forget([register])
            if scene.add(at, "page21", page):
                pages[register] = [page, number, len(scene.found) - 1]
        elif kind in ("add", "access", "vector access"):
            low12(scene, pages, kind, word, at, number)
            if kind == "add" or (kind == "access" and size):
                forget([register])
        elif kind == "pair access":
            if word >> 22 & 1:
                forget([register, word >> 10 & 31])
        elif kind == "other access" and size:
            forget([register])


def low12(scene, pages, kind, word, at, number):
    held = pages.get(word >> 5 & 31)
    if held is None or number - held[1] > FURTHEST or (kind == "add" and word >> 22 & 3):
        return
    scale = 0 if kind == "add" else word >> 30
    if kind == "vector access" and word >> 30 == 0 and word >> 23 & 1:
        scale = 4
    target = held[0] + ((word >> 10 & 0xFFF) << scale)
    if scene.add(at, "low12", target, scale=scale) and held[2] is not None:
        scene.found[held[2]] = scene.found[held[2]]._replace(target=target)
        held[2] = None
