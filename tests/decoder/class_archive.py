"""Class-data archives of Java virtual machines. docs/format-elf.md, section 10."""
from collections import namedtuple

from wire import Refused

HEADER, RECORD, PAGE, MOST_HEAPS = 1024, 24, 4096, 4
Region = namedtuple("Region", "offset place length")
Heap = namedtuple("Heap", "start length reference anchor")


def u64(data, at):
    return int.from_bytes(data[at : at + 8], "little")


def is_archive(data):
    return len(data) >= HEADER and data[:4] == b"\xa2\xab\x0b\xf0"


def regions(data, file_length):
    found, at = [], 8
    while at + RECORD <= HEADER:
        region = Region(*(u64(data, at + 8 * i) for i in range(3)))
        if found:
            end = found[-1].offset + found[-1].length
            is_next = region.offset == -(-end // PAGE) * PAGE
        else:
            is_next = 1 <= region.offset <= 65536 and region.place in (0, region.offset)
        if is_next and region.offset % PAGE == 0 and region.length and region.offset + region.length <= file_length:
            found.append(region)
            at += RECORD
        else:
            at += 8
    return found


def image(make, segment, data, file_length):
    found = regions(data, file_length)
    words = [u64(data, at) for at in range(8, HEADER, 8)]
    low = [word for word in words if 1 << 33 <= word < 1 << 40 and word % (1 << 32) == 0]
    if not found or not low:
        raise Refused("a class-data archive without regions, or without an address")
    first = found[0]
    length = file_length - first.offset
    span = first.place + length
    if span >= (1 << 32) - 1:
        raise Refused("a class-data archive that is too long")
    made = make("class data", low[0], span, [segment(first.offset, length, first.place, length, False)], None, HEADER)
    heaps = [r for r in found if r.place > file_length and r.place + r.length < 1 << 32][:MOST_HEAPS]
    made.heaps = [Heap(first.place + r.offset - first.offset, r.length, r.place, None) for r in heaps]
    return made


def fields(scene):
    image, data = scene.image, scene.data
    heaps = [heap._replace(anchor=scene.anchor(heap.start)) for heap in image.heaps]
    start = image.segments[0]
    for at in range(start.offset, len(data) - 7, 8):
        value = u64(data, at)
        if 0 <= value - image.low < image.span:
            scene.add(at, "absolute64 in data", value - image.low)
            continue
        address = start.start + at - start.offset
        if not any(heap.start <= address < heap.start + heap.length for heap in heaps):
            continue
        for half in (at, at + 4):
            word = int.from_bytes(data[half : half + 4], "little")
            for heap in heaps:
                if heap.reference <= word < heap.reference + heap.length:
                    scene.add(half, "anchored32", heap.start + word - heap.reference, heap.anchor)
                    break
