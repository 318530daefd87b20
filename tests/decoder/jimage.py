"""Runtime images of Java. docs/format-archives.md, sections 15 and 16."""
import struct
from collections import namedtuple

from wire import Refused

MAGIC, MOST_BYTES, MOST_RESOURCES = 0xCAFEDADA, 16 << 20, 1 << 18
FACTOR, MOST_SEEDS, MOST_PASSES = 0x01000193, 1001, 64
Resource = namedtuple("Resource", "names plain packed")


def stored(resource):
    return resource.packed or resource.plain


def open_jimage(data):
    """The list of the resources, and the end of the index."""
    if len(data) < 28:
        raise Refused("a runtime image that is cut")
    magic, _, _, count, slots, row_bytes, string_bytes = struct.unpack_from("<7I", data)
    rows = 28 + 8 * slots
    strings = rows + row_bytes
    end = strings + string_bytes
    if magic != MAGIC or count != slots or count > MOST_RESOURCES or end > MOST_BYTES or end >= len(data):
        raise Refused("a runtime image with a header that cannot be")
    listed = write_list(data[:12], *resources(data[rows - 4 * slots : rows], data[rows:strings], data[strings:end]))
    if len(listed) > MOST_BYTES or index_of(listed) != data[:end]:
        raise Refused("a runtime image with another index than that of its list")
    return listed, end


def resources(offsets, rows, strings):
    found = []
    try:
        for (at,) in struct.iter_unpack("<I", offsets):
            row, before = [0] * 8, 0
            while kind := rows[at] >> 3:
                count = (rows[at] & 7) + 1
                if at + 1 + count > len(rows) or kind <= before:
                    raise IndexError
                before = kind
                row[kind] = int.from_bytes(rows[at + 1 : at + 1 + count], "big")
                at += 1 + count
            names = tuple(strings[row[kind] : strings.index(0, row[kind])] for kind in range(1, 5))
            if max(row[6:]) >= 1 << 32:
                raise IndexError
            resource = Resource(names, row[7], row[6])
            found.append((row[5], stored(resource), resource))
    except (IndexError, ValueError):
        raise Refused("a runtime image with a row that is damaged")
    listed = [resource for _, _, resource in sorted(found, key=lambda each: each[:2])]
    return listed, b"" if string_table(listed)[0] == strings else strings


def write_list(start, listed, strings):
    out = bytearray(start + struct.pack("<I", len(listed)))
    for resource in listed:
        out += b"".join(name + b"\0" for name in resource.names) + struct.pack("<II", resource.plain, resource.packed)
    return bytes(out + strings)


def index_of(data):
    if len(data) < 16:
        raise Refused("a list of resources that is cut")
    (count,), at, listed = struct.unpack_from("<I", data, 12), 16, []
    if count * 12 > len(data) - 16 or count > MOST_RESOURCES:
        raise Refused("a list of fewer resources than it says")
    for _ in range(count):
        names = []
        for _ in range(4):
            end = data.find(b"\0", at)
            if end < 0:
                raise Refused("a list of resources that is cut")
            names.append(data[at:end])
            at = end + 1
        if at + 8 > len(data):
            raise Refused("a list of resources that is cut")
        listed.append(Resource(tuple(names), *struct.unpack_from("<II", data, at)))
        at += 8
    if at < len(data):
        strings, offsets, place = data[at:], {}, 0
        for string in strings.split(b"\0"):
            offsets.setdefault(string, place)
            place += len(string) + 1
    else:
        strings, offsets = string_table(listed)
    order, redirects = slots_of([key(resource.names) for resource in listed])
    rows, offset = [], 0
    for resource in listed:
        row = bytearray()
        values = [offsets.get(name) for name in resource.names] + [offset, resource.packed, resource.plain]
        if None in values:
            raise Refused("a name that is not in the table of strings")
        for kind, value in enumerate(values, 1):
            if value:
                count = -(-value.bit_length() // 8)
                row += bytes([kind << 3 | count - 1]) + value.to_bytes(count, "big")
        rows.append(bytes(row) + b"\0")
        offset += stored(resource)
    places, out = [], bytearray(1)
    for number in order:
        places.append(len(out))
        out += rows[number]
    out = padded(out)
    head = struct.pack("<4I", len(listed), len(order), len(out), len(strings))
    return data[:12] + head + struct.pack(f"<{len(order)}i", *redirects) + struct.pack(f"<{len(order)}I", *places) + out + strings


def padded(data):
    return bytes(data) + bytes((len(data) - 1) % 4)


def string_table(listed):
    out, offsets = bytearray(), {}
    for name in [b"", b"class"] + [name for resource in listed for name in resource.names]:
        if name not in offsets:
            offsets[name] = len(out)
            out += name + b"\0"
    return padded(out), offsets


def key(names):
    module, package, name, extension = names
    parts = [b"/" + module + b"/" if module else b"", package + b"/" if package else b"", name]
    return b"".join(parts) + (b"." + extension if extension else b"")


def hash_of(seed, name):
    for byte in name:
        seed = (seed * FACTOR ^ byte) & 0xFFFFFFFF
    return seed & 0x7FFFFFFF


def slots_of(keys):
    hashes, count = [hash_of(FACTOR, each) for each in keys], len(keys)
    budget = MOST_PASSES * sum(len(each) + 1 for each in keys)
    buckets = {}
    for number, each in enumerate(hashes):
        buckets.setdefault(each % count, []).append(number)
    slots, redirects, free = [None] * count, [0] * count, 0
    for bucket, numbers in sorted(buckets.items(), key=lambda each: (-len(each[1]), each[0])):
        if len(numbers) == 1:
            while slots[free] is not None:
                free += 1
            slots[free], redirects[bucket] = numbers[0], -1 - free
            continue
        for seed in range(FACTOR + 1, FACTOR + 1 + MOST_SEEDS):
            taken = []
            for number in numbers:
                budget -= len(keys[number]) + 1
                if budget < 0:
                    raise Refused("a list of resources that takes long")
                slot = hash_of(seed, keys[number]) % count
                if slots[slot] is not None:
                    break
                slots[slot] = number
                taken.append(slot)
            if len(taken) == len(numbers):
                redirects[bucket] = seed
                break
            for slot in taken:
                slots[slot] = None
        else:
            raise Refused("a list of resources without a table")
    return slots, redirects


def close_jimage(inner):
    if len(inner) != 2 or any(payload.recipe is not None for payload in inner) or len(inner[0].data) > MOST_BYTES:
        raise Refused("a runtime image is a list and resources, without a compression")
    return index_of(inner[0].data) + inner[1].data
