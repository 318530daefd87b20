"""Archives inside layers: gzip, xz, zstd, tar and ar files, and the way to zip and ELF files, to programs in these, and to runtime images of Java. docs/format-archives.md."""
import lzma
import zlib
from collections import namedtuple

import fatbin
import jimage
import sections
import zips
from envelopes import DeflateRecipe
from wire import Reader, Refused
from xz import XzRecipe
from zst import ZstdRecipe, unpack_zstd

GZIP, ZIP, TAR, ELF, XZ, AR, FATBIN, ZSTD, JIMAGE = range(9)
BLOCK = 512
# `stored` is a range of the archive, or None; `facts` are checksum and length of what was inflated, or None.
Part = namedtuple("Part", "data stored facts", defaults=(None, None))
# An inner payload; `recipe` is its compression, or None.
Inner = namedtuple("Inner", "data recipe facts", defaults=(None, None))


def open_archive(kind, data):
    if kind == GZIP:
        return [Part(inflate_gzip(data), (0, len(data)))]
    if kind == ELF:
        content, structure = sections.open_elf(data)
        return [Part(content, (0, len(data))), Part(structure)]
    if kind == XZ:
        return [Part(unpack_xz(data), (0, len(data)))]
    if kind == ZSTD:
        return [Part(unpack_zstd(data), (0, len(data)))]
    if kind == AR:
        return open_ar(data)
    if kind == FATBIN:
        host, programs = fatbin.open_fatbin(data)
        return [Part(host, (0, len(data)))] + [Part(*program) for program in programs]
    if kind == JIMAGE:
        listed, end = jimage.open_jimage(data)
        return [Part(listed, (0, end)), Part(data[end:], (end, len(data) - end))]
    return open_zip(data) if kind == ZIP else open_tar(data)


def close_archive(kind, inner):
    if kind == GZIP:
        if len(inner) != 1 or inner[0].recipe is None:
            raise Refused("a gzip file is one inner payload with a compression")
        return DeflateRecipe(inner[0].recipe).make(inner[0].data)
    if kind == XZ:
        if len(inner) != 1 or inner[0].recipe is None or inner[0].recipe[:1] != b"\xfd":
            raise Refused("an xz file is one inner payload with a compression of xz")
        return XzRecipe(inner[0].recipe[1:]).make(inner[0].data)
    if kind == ZSTD:
        if len(inner) != 1 or inner[0].recipe is None or inner[0].recipe[:1] != b"\xb5":
            raise Refused("a zstd file is one inner payload with a compression of zstd")
        return ZstdRecipe(inner[0].recipe[1:]).make(inner[0].data)
    if kind == ELF:
        return sections.close_elf(inner)
    if kind == FATBIN:
        return fatbin.close_fatbin(inner)
    if kind == JIMAGE:
        return jimage.close_jimage(inner)
    # An ar file is made of contents and what is around them like a tar file.
    return close_zip(inner) if kind == ZIP else close_tar(inner)


def gzip_header(data, at):
    """Where the header at `at` ends, or None."""
    flags = data[at + 3] if len(data) >= at + 10 else 0xE0
    if data[at : at + 3] != b"\x1f\x8b\x08" or flags & 0xE0:
        return None
    end = at + 10
    if flags & 4:
        end += 2 + int.from_bytes(data[end : end + 2], "little")
    for bit in (8, 16):
        if flags & bit:
            end = data.find(b"\0", end) + 1
            if end == 0:
                return None
    if flags & 2:
        end += 2
    return end if end <= len(data) else None


def inflate_gzip(data):
    out, at, first = b"", 0, True
    while (start := gzip_header(data, at)) is not None:
        inflater = zlib.decompressobj(-15)
        try:
            out += inflater.decompress(data[start:])
        except zlib.error:
            raise Refused("a gzip file that is damaged")
        if not inflater.eof:
            raise Refused("a gzip file that is cut")
        at, first = len(data) - len(inflater.unused_data) + 8, False
    if first:
        raise Refused("not a gzip file")
    return out


def unpack_xz(data):
    try:
        # The module passes over padding and goes on with the next stream.
        return lzma.decompress(data, lzma.FORMAT_XZ)
    except lzma.LZMAError:
        raise Refused("an xz file that is damaged")


def octal(field):
    digits = bytes(field).lstrip(b" \t\n\f\r")
    count = next((i for i, byte in enumerate(digits) if byte not in b"01234567"), len(digits))
    return int(digits[:count], 8) if 0 < count <= 20 else None


def stated_size(block):
    """The size that a header says, or None if the block is not one."""
    if octal(block[148:156]) != sum(block) - sum(block[148:156]) + 8 * 32:
        return None
    return int.from_bytes(block[128:136], "big") if block[124] == 0x80 else octal(block[124:136])


def open_tar(data):
    parts, around, start, at = [], [], 0, 0
    while at + BLOCK <= len(data):
        block, body = data[at : at + BLOCK], at + BLOCK
        if block == bytes(BLOCK):
            at = body
            continue
        size = stated_size(block)
        if size is None or body + size > len(data):
            break
        at = body
        if block[156] in b"123456":
            continue
        if size and block[156] not in b"xgLK":
            around.append(data[start:body])
            start = body + size
            parts.append(Part(data[body:start], (body, size)))
        at = -(-(body + size) // BLOCK) * BLOCK
    around.append(data[start:])
    if len(parts) > 200_000:
        raise Refused("a tar file with too many contents")
    return with_structure(parts, around)


def open_ar(data):
    parts, around, start, at = [], [], 0, 8
    while at < len(data):
        header, body = data[at : at + 60], at + 60
        field = header[48:58]
        digits = field[: next((i for i, byte in enumerate(field) if byte not in b"0123456789"), len(field))]
        if len(header) < 60 or header[58:] != b"`\n" or not digits or body + int(digits) > len(data):
            raise Refused("an ar file that is damaged")
        size = int(digits)
        if size:
            around.append(data[start:body])
            start = body + size
            parts.append(Part(data[body:start], (body, size)))
        at = (body + size + 1) & ~1
    around.append(data[start:])
    if len(parts) > 64:
        raise Refused("an ar file with too many contents")
    return with_structure(parts, around)


def with_structure(parts, around):
    if not parts:
        raise Refused("an archive without contents")
    structure = b"".join(map(put_number, [len(parts), *map(len, around)])) + b"".join(around)
    return parts + [Part(structure)]


def put_number(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def close_tar(inner):
    if not inner:
        raise Refused("a tar file has a structure")
    reader = Reader(inner[-1].data, "structure of a tar file")
    if reader.number() != len(inner) - 1:
        reader.refuse("the number of contents")
    lengths = [reader.number() for _ in inner]
    out = [reader.bytes(lengths[0])]
    for payload, length in zip(inner, lengths[1:]):
        out += [payload.data, reader.bytes(length)]
    reader.end()
    return b"".join(out)


def open_zip(data):
    parts = []
    members, structure = zips.open_members(data)
    for member in members:
        start, end = member.data
        if start == end:
            continue
        stored = data[start:end]
        if member.is_inflated():
            parts.append(Part(inflate(stored, member.plain_bytes), (start, end - start), (member.crc, member.plain_bytes)))
        else:
            parts.append(Part(stored, (start, end - start)))
    return parts + [Part(structure)]


def inflate(stored, length):
    inflater = zlib.decompressobj(-15)
    try:
        plain = inflater.decompress(stored)
    except zlib.error:
        raise Refused("a zip member that is damaged")
    if not inflater.eof or inflater.unused_data or len(plain) != length:
        raise Refused("a zip member that does not inflate to its length")
    return plain


def close_zip(inner):
    if not inner:
        raise Refused("a zip file has a structure")
    structure = zips.Structure(inner[-1].data)
    contents = iter(inner[:-1])
    out, places = [structure.lead], []
    at = len(structure.lead)
    for member in structure.members:
        stored, crc, plain_bytes = b"", 0, 0
        if member.has_content():
            payload = next(contents, None)
            if payload is None:
                raise Refused("a member without a content")
            stored, crc, plain_bytes = store(member, payload)
        if member.stored_facts:
            crc, plain_bytes = member.stored_facts
        facts = (crc, len(stored), plain_bytes)
        pieces = [member.local_header(facts), stored, member.descriptor_bytes(facts), member.gap]
        places.append((facts, at))
        out += pieces
        at += sum(map(len, pieces))
    if next(contents, None) is not None:
        raise Refused("more contents than members")
    return b"".join(out) + structure.directory(places, at)


def store(member, payload):
    """What is stored, and checksum and plain length."""
    data = payload.data
    if payload.recipe is not None:
        return DeflateRecipe(payload.recipe).make(data), zlib.crc32(data), len(data)
    if payload.facts:
        return data, *payload.facts
    if member.central.method == 8 and not member.stored_facts:
        plain = zlib.decompressobj(-15).decompress(data)
        return data, zlib.crc32(plain), len(plain)
    return data, zlib.crc32(data), len(data)
