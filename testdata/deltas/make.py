#!/usr/bin/env python3
"""Remakes the golden deltas, their bases and the list in README.md.

    testdata/deltas/make.py IMGDELTA [CASE...]

IMGDELTA is the program. Inputs are built here, except those in inputs.tar.xz (inputs.py). A base is an OCI archive, NAME.base.tar; a delta
is NAME.imgdelta. With the same Python the bases stay the same bytes; deltas change when the format or the maker does.
"""
import base64
import gzip
import hashlib
import io
import json
import lzma
import os
import random
import re
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections import namedtuple

import zstandard

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "tests", "decoder"))
import jimage  # These are the second decoder's, which has the encoders.
import lz4

DAY = 86_400
START = 1_700_000_000
GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
PLAIN = "application/vnd.oci.image.layer.v1.tar"
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"

Layer = namedtuple("Layer", "stream blob media_type")
Image = namedtuple("Image", "layers")
Case = namedtuple("Case", "feature old new options", defaults=((),))


# Layers and images.


def stored(stream):
    return Layer(stream, stream, PLAIN)


def gzipped(stream, level=6):
    return Layer(stream, gzip_member(stream, level), GZIP)


def small(stream):
    """For bases: as small as it gets."""
    return Layer(stream, zstandard.ZstdCompressor(level=22).compress(stream), ZSTD)


def gzip_member(data, level=6, name=b""):
    """One gzip member by zlib, the same bytes every time."""
    encoder = zlib.compressobj(level, zlib.DEFLATED, -15, 8)
    header = b"\x1f\x8b\x08" + (b"\x08" if name else b"\0") + bytes(4) + b"\0\xff" + (name + b"\0" if name else b"")
    trailer = zlib.crc32(data).to_bytes(4, "little") + len(data).to_bytes(4, "little")
    return header + encoder.compress(data) + encoder.flush() + trailer


def documents(image):
    """Blobs by digest, and the descriptor of the manifest."""
    blobs = {}

    def put(data, media_type):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": media_type, "digest": digest, "size": len(data)}

    dumps = lambda document: json.dumps(document, separators=(",", ":")).encode()
    diff_ids = ["sha256:" + hashlib.sha256(layer.stream).hexdigest() for layer in image.layers]
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids}}
    layers = [put(layer.blob, layer.media_type) for layer in image.layers]
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": put(dumps(config), CONFIG), "layers": layers}
    return blobs, put(dumps(manifest), MANIFEST)


def layout_files(image):
    blobs, manifest = documents(image)
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [{**manifest, "annotations": {"org.opencontainers.image.ref.name": "image"}}]}
    yield "oci-layout", b'{"imageLayoutVersion":"1.0.0"}'
    yield "index.json", json.dumps(index, separators=(",", ":")).encode()
    for digest, data in blobs.items():
        yield "blobs/" + digest.replace(":", "/"), data


def write_layout(image, directory):
    for name, data in layout_files(image):
        path = os.path.join(directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(data)


def write_archive(image, path):
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in layout_files(image):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


# Tar streams.


def entry(path, data=b"", time=START, kind=tarfile.REGTYPE, link="", pax=None, **facts):
    info = tarfile.TarInfo(path)
    info.type, info.mtime, info.linkname, info.size, info.pax_headers = kind, time, link, len(data), pax or {}
    for name, value in facts.items():
        setattr(info, name, value)
    return info, data


def directory(path, **facts):
    return entry(path, kind=tarfile.DIRTYPE, mode=0o755, **facts)


def tar(*entries, form=tarfile.GNU_FORMAT):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as out:
        for info, data in entries:
            out.addfile(info, io.BytesIO(data) if data else None)
    return stream.getvalue()


# Contents.


def noise(seed, size):
    out = b""
    while len(out) < size:
        out += hashlib.sha256(b"%d %d" % (seed, len(out))).digest()
    return out[:size]


def prose(seed, words):
    """Text that compresses about as well as text does."""
    source = random.Random(seed)
    stock = ["".join(source.choice("abcdefghiklmnoprstuvw") for _ in range(source.randint(2, 9))) for _ in range(400)]
    return " ".join(source.choice(stock) + ("\n" if i % 12 == 11 else "") for i in range(words)).encode()


def edited(text, seed, edits):
    """The text with words replaced, added and removed, and single bytes changed."""
    source, out = random.Random(seed), bytearray(text)
    for _ in range(edits):
        at = source.randrange(len(out))
        action = source.randrange(4)
        if action == 0:
            out[at:at] = b"a new sentence %d " % source.randrange(1000)
        elif action == 1:
            del out[at : at + source.randint(1, 40)]
        else:
            out[at] = (out[at] + 1) % 256
    return bytes(out)


def zipped(members, comment=b""):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.comment = comment
        for name, data, method in members:
            info = zipfile.ZipInfo(name, (2023, 11, 14, 22, 13, 20))
            info.compress_type = method
            file.writestr(info, data)
    return out.getvalue()


def piped(members):
    """A zip as written to a pipe: descriptors behind the members."""

    class Pipe(io.RawIOBase):
        def __init__(self):
            self.data = b""

        def writable(self):
            return True

        def write(self, data):
            self.data += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w") as file:
        for name, data, method in members:
            info = zipfile.ZipInfo(name, (2023, 11, 14, 22, 13, 20))
            info.compress_type = method
            file.writestr(info, data)
    return pipe.data


def odd_zip(data):
    """A directory in another order, names and extra fields that differ from the headers', a member that says it is encrypted, large fields."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, extra, large in (("b", b"", False), ("a", b"\x55\x54\1\0\0", False), ("secret", b"", False), ("large", b"", True)):
            info = zipfile.ZipInfo(name, (2023, 11, 14, 22, 13, 20))
            info.compress_type, info.extra = zipfile.ZIP_DEFLATED, extra
            with file.open(info, "w", force_zip64=large) as member:
                member.write(data + name.encode())
    whole = bytearray(out.getvalue())
    start = int.from_bytes(whole[-6:-2], "little")
    starts = [match.start() for match in re.finditer(b"PK\x01\x02", whole) if match.start() >= start] + [len(whole) - 22]
    entries = [bytearray(whole[a:b]) for a, b in zip(starts, starts[1:])]
    entries[2][8] |= 1  # encrypted, says the directory only
    entries[0][46:47] = b"B"
    entries[1][34:36] = b"\1\0"
    whole[start : len(whole) - 22] = b"".join(entries[i] for i in (1, 0, 3, 2))
    return bytes(whole[: len(whole) - 22]) + b"before the end" + bytes(whole[-22:])


def large_end(whole):
    """The zip with a large end record and a locator before its end record."""
    directory, end = whole[:-22], bytearray(whole[-22:])
    count, length, offset = int.from_bytes(end[10:12], "little"), int.from_bytes(end[12:16], "little"), int.from_bytes(end[16:20], "little")
    large = b"PK\6\6" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, count, count, length, offset)
    locator = b"PK\6\7" + struct.pack("<IQI", 0, len(directory), 1)
    end[8:12] = b"\xff" * 4
    return directory + large + locator + bytes(end)


def offset_table(names, order):
    """A catalogue: offsets of texts, then the texts."""
    start, out, texts = 16 + 4 * len(names), b"CATL" + len(names).to_bytes(4, order) + bytes(8), b""
    for name in names:
        out += (start + len(texts)).to_bytes(4, order)
        texts += name + b"\0"
    return out + texts


def class_archive(count, heap_count, is_new_form):
    """Objects of a Java virtual machine with pointers, and Java objects with references of 32 bits, behind a header."""
    page, requested, reference = 4096, 8 << 32, 0xFFE00000
    # A seed names an object, so that another one in the middle moves those behind it.
    names = lambda count: list(range(500)) + list(range(9000, 9000 + count)) + list(range(500, 900))

    def lay_out(start, width, count):
        places, at = {}, start
        for name in names(count):
            places[name] = at
            at += -(-(16 + name % 4 * width) // 8) * 8
        return places, at

    pointers, end = lay_out(page, 8, count)
    heap = -(-end // page) * page
    references, heap_end = lay_out(heap, 4, heap_count)
    out = bytearray(heap_end)
    struct.pack_into("<I", out, 0, 0xF00BABA2)
    struct.pack_into("<QQQ", out, 0x30, page, page if is_new_form else 0, end - page)
    struct.pack_into("<QQQ", out, 0x90, heap, reference, heap_end - heap)
    struct.pack_into("<Q", out, 0x358, requested)
    first = requested + (page if is_new_form else 0)
    for places, form, shift, width in ((pointers, "<Q", first - page, 8), (references, "<I", reference - heap, 4)):
        for name, at in places.items():
            struct.pack_into("<Q", out, at, name * 977 + 1)
            for i in range(name % 4):
                struct.pack_into(form, out, at + 16 + width * i, places[(name * 31 + i * 17) % 900] + shift)
    return bytes(out)


# Cases.


def files(_):
    text, other = prose(1, 6000), prose(2, 3000)
    old = tar(directory("docs/"), entry("docs/one.txt", text), entry("docs/two.txt", other), entry("docs/same", noise(3, 700)),
              entry("docs/cut", prose(4, 900)), entry("docs/gone", b"gone\n"), entry("docs/x", noise(8, 900)), entry("docs/y", noise(9, 800)))
    new = tar(directory("docs/"), entry("docs/one.txt", edited(text, 5, 60), START + DAY), entry("docs/cut", prose(4, 900)[:2500], START + DAY),
              entry("docs/moved", noise(3, 700), START + DAY), entry("docs/new.txt", prose(6, 300), START + DAY),
              entry("docs/again.txt", prose(6, 300), START + DAY), entry("docs/both.txt", text[:9000] + other[9000:], START + DAY),
              entry("docs/x", noise(9, 800), START + DAY), entry("docs/y", noise(8, 900), START + DAY))
    return Case("files: edited, cut, moved, new, repeated", Image([small(old)]), Image([stored(new)]))


def kept(_):
    streams = [tar(entry(f"layer/{i}", prose(i, 500))) for i in range(4)]
    old = Image([gzipped(streams[0]), gzipped(streams[1], 1), stored(streams[2])])
    return Case("kept layers: the blob is in the base, or made from the stream again; one layer twice", old,
                Image([gzipped(streams[0]), gzipped(streams[1], 9), gzipped(streams[2]), gzipped(streams[0])]))


def carried(inputs):
    old = tar(entry("a", prose(1, 50)))
    fresh = tar(entry("b", prose(2, 900)))
    fresh = Layer(fresh, inputs.get("carried-0", fresh), ZSTD)
    tail = tar(entry("c", b"c")) + noise(3, 1500)
    return Case("a carried layer, twice: new content by an encoder without a model; a tar with other bytes behind it", Image([gzipped(old)]),
                Image([fresh, gzipped(tail, 9), gzipped(old), fresh, gzipped(tar(entry("a", prose(1, 50), START + DAY)))]))


def twice(_):
    text = prose(7, 3000)
    new = gzipped(tar(entry("a", edited(text, 8, 9))))
    return Case("a rebuilt layer that the image has twice", Image([small(tar(entry("a", text)))]), Image([new, new]))


def streams_only(_):
    text = prose(9, 3000)
    return Case("no envelope: only streams can be made", Image([small(tar(entry("a", text)))]), Image([gzipped(tar(entry("a", edited(text, 10, 9))))]),
                ("--layers", "uncompressed"))


def deflate(_):
    text = prose(11, 5000)
    new = tar(entry("a", edited(text, 12, 9), START + DAY))
    members = gzip_member(new[:7000], 9, b"first") + gzip_member(new[7000:], 1) + b"behind"
    windows = []
    for bits, memory, strategy in ((12, 9, zlib.Z_DEFAULT_STRATEGY), (15, 5, zlib.Z_FILTERED), (15, 8, zlib.Z_RLE)):
        stream = tar(entry(f"b{bits}{memory}{strategy}", edited(text, bits, 5)))
        encoder = zlib.compressobj(6, zlib.DEFLATED, -bits, memory, strategy)
        blob = gzip_member(b"")[:10] + encoder.compress(stream) + encoder.flush()
        blob += zlib.crc32(stream).to_bytes(4, "little") + len(stream).to_bytes(4, "little")
        windows.append(Layer(stream, blob, GZIP))
    return Case("deflate envelopes of zlib: several members, bytes behind them, windows and strategies", Image([small(tar(entry("a", text)))]),
                Image([gzipped(new), Layer(new, members, GZIP), *windows]))


def zstd(inputs):
    return compressed(inputs, "zstd", "a zstd envelope, by klauspost's encoder")


def chunked(inputs):
    return compressed(inputs, "chunked", "a zstd:chunked envelope: frames, table of contents, tar-split")


def compressed(inputs, name, feature):
    text = prose(13, 4000)
    old = tar(directory("opt/"), entry("opt/a", text), entry("opt/b", prose(14, 200)), form=tarfile.PAX_FORMAT)
    new = tar(directory("opt/"), entry("opt/a", edited(text, 15, 20), START + DAY), entry("opt/b", prose(14, 200)), form=tarfile.PAX_FORMAT)
    # Makers of chunked layers keep two blocks of zeros at the end, and no more.
    new = new[: -(-len(new.rstrip(b"\0")) // 512) * 512 + 1024]
    blob = inputs.get(name + "-0", new)
    return Case(feature, Image([small(old)]), Image([Layer(new, blob, ZSTD)]))


def archives(_):
    text = prose(16, 2500)
    again = edited(text, 17, 12)
    deflated, plain = zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED
    inside = lambda data: tar(directory("in/"), entry("in/a", data), entry("in/b", prose(18, 90)), entry("in/empty"),
                              entry("in/link", kind=tarfile.SYMTYPE, link="a"), form=tarfile.PAX_FORMAT)
    jar = lambda data, time: zipped([("META-INF/", b"", plain), ("META-INF/MANIFEST.MF", b"Manifest-Version: 1.0\n", deflated),
                                     ("a/A.class", data, deflated), ("a/B.class", prose(19, 400), deflated), ("raw", noise(20, 300) + time, plain)])

    def layer(data, time):
        nested = zipped([("inner.jar", jar(data, b"1"), plain), ("inner.tar.gz", gzip_member(inside(data), 9), plain)])
        return tar(
            entry("log.gz", gzip_member(data, 9, b"log") + gzip_member(data[:900], 1), time),
            entry("app.jar", jar(data, b"0"), time),
            entry("piped.zip", piped([("a", data, deflated), ("b", prose(21, 300), deflated), ("c", noise(22, 50), plain)]), time),
            entry("commented.zip", b"#!/bin/sh\n" + zipped([("z", data, deflated), ("a", b"", plain)], b"a comment"), time),
            entry("odd.zip", odd_zip(data), time),
            entry("large-end.zip", large_end(zipped([("a", data, deflated), ("b", b"b", plain)])), time),
            entry("source.tar.gz", gzip_member(inside(data)), time),
            entry("nested.zip", nested, time),
            entry("plain.tar", inside(data), time),
        )

    return Case("archives: gzip, zip, tar in gzip, zip in zip", Image([small(layer(text, START))]), Image([stored(layer(again, START + DAY))]))


def xz(_):
    text, again = prose(70, 3000), edited(prose(70, 3000), 71, 12)

    def package(data):
        return ar([("debian-binary", b"2.0\n"), ("control.tar.xz", lzma.compress(b"control " + data[:99])), ("data.tar.xz", lzma.compress(tar(entry("usr/a", data))))])

    def layer(data, version):
        module = lzma.compress(data, check=lzma.CHECK_CRC32, filters=[{"id": lzma.FILTER_LZMA2, "preset": 6, "dict_size": 1 << 20}])
        chain = [{"id": lzma.FILTER_X86}, {"id": lzma.FILTER_DELTA, "dist": 3}, {"id": lzma.FILTER_LZMA2, "preset": 2, "lc": 0, "lp": 2, "pb": 1}]
        streams = lzma.compress(data[:5000], check=lzma.CHECK_NONE, preset=1) + bytes(8) + lzma.compress(data[5000:], check=lzma.CHECK_SHA256, filters=chain)
        return tar(entry(f"modules/6.1.{version}/a.ko.xz", module), entry("streams.xz", streams), entry(f"a_{version}_amd64.deb", package(data)))

    return Case("xz files of several streams, filters and checksums, and a Debian package", Image([small(layer(text, 8))]), Image([stored(layer(again, 9))]))


def zstd_files(_):
    """Contents are noise, which all versions of the encoder store as it is."""
    data = noise(90, 9000)
    again = data[:4000] + b"other words" + data[4020:]
    skippable = b"\x5a\x2a\x4d\x18\x05\0\0\0hello"

    def frame(plain, level=3, checksum=True, length=True):
        encoder = zstandard.ZstdCompressor(level=level, write_checksum=checksum)
        stream = encoder.compressobj(size=len(plain)) if length else encoder.compressobj()
        return stream.compress(plain) + stream.flush()

    def layer(data, version):
        package = ar([("debian-binary", b"2.0\n"), ("control.tar.zst", frame(data[3900:4100], 19, True, False)), ("data.tar.zst", frame(data, 19, True, False))])
        conda = io.BytesIO()
        with zipfile.ZipFile(conda, "w", zipfile.ZIP_STORED) as file:
            for name, part in (("metadata.json", b'{"conda_pkg_format_version": 2}'), (f"pkg-a-{version}.tar.zst", frame(data, 19, False)), (f"info-a-{version}.tar.zst", frame(data[:99]))):
                file.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), part)
        streams = frame(data[:2000], 1, False) + skippable + frame(data[2000:], 1, True, False)
        return tar(entry(f"modules/6.1.{version}/a.ko.zst", frame(data)), entry("streams.zst", streams), entry(f"a_{version}_amd64.deb", package), entry(f"a-{version}.conda", conda.getvalue()))

    return Case("zstd files of several frames, lengths and checksums, a Debian package and a conda package", Image([small(layer(data, 8))]), Image([stored(layer(again, 9))]))


def ar(members):
    out = b"!<arch>\n"
    for name, content in members:
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode() + content + b"\n" * (len(content) % 2)
    return out


def siblings(inputs):
    text, fresh, near = prose(30, 900), prose(31, 600), edited(prose(31, 600), 32, 5)
    packed = gzip_member(prose(33, 800), 9)
    old = tar(entry("doc/text", text))
    first = tar(entry("doc/text", edited(text, 34, 9)), entry("new/one.txt", fresh), entry("new/two.txt", near), entry("new/a.gz", packed))
    second = tar(entry("more/same.txt", fresh), entry("more/near.txt", edited(near, 35, 5)), entry("more/b.gz", packed))
    lone = tar(entry("b", prose(2, 900)))
    last = tar(entry("last/b", prose(2, 900)), entry("last/near", edited(prose(2, 900), 36, 5)))
    return Case("files made from files of the same layer and of earlier layers, one of which is carried", Image([small(old)]),
                Image([stored(first), gzipped(second), Layer(lone, inputs.get("carried-0", lone), ZSTD), stored(last)]))


def digests(_):
    def layer(version):
        files = {f"usr/lib/pkg/file-{i}": prose(40 + i + (version if i % 3 else 0), 8) for i in range(9)}
        files["usr/lib/pkg/data.gz"] = gzip_member(prose(60 + version, 400), 9)
        md5 = "".join(f"{hashlib.md5(data).hexdigest()}  {path}\n" for path, data in files.items())
        # A file that is listed and not there.
        md5 += f"{hashlib.md5(bytes([version])).hexdigest()}  usr/share/doc/pkg/changelog\n"
        sums = "".join(f"{hashlib.sha256(data).hexdigest()} *./{path}\n" for path, data in files.items())
        record = "".join(f"{path.removeprefix('usr/lib/')},sha256={url_digest(data)},{len(data)}\n" for path, data in files.items())
        apk = "P:pkg\nF:usr/lib/pkg\n" + "".join(f"R:{path.split('/')[-1]}\nZ:Q1{sha1_digest(data)}\n" for path, data in files.items())
        lists = {"lib/apk/db/installed": apk, "var/lib/dpkg/info/pkg.md5sums": md5, "usr/lib/SHA256SUMS": sums, "usr/lib/pkg.dist-info/RECORD": record + "pkg.dist-info/RECORD,,\n"}
        entries = [entry(path, data) for path, data in files.items()]
        return tar(*entries, *(entry(path, text.encode()) for path, text in lists.items()))

    return Case("digests in lists: MD5, SHA-1, and SHA-256 in both spellings", Image([small(layer(0))]), Image([gzipped(layer(20))]))


def sha1_digest(data):
    return base64.b64encode(hashlib.sha1(data).digest()).decode()


def url_digest(data):
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def windows(_):
    zeros = bytes((33 << 20) - 100_000)
    start, end = prose(23, 3000), prose(24, 20_000)
    old = start + zeros + end
    new = edited(start, 25, 20) + zeros + edited(end, 26, 20)
    return Case("a file in windows, since it is large for the memory of its maker", Image([small(tar(entry("large", old)))]),
                Image([gzipped(tar(entry("large", new)))]), ("--memory", "40MiB"))


def headers(_):
    source = random.Random(25)
    old, new = [directory("usr/"), directory("usr/lib/")], []
    for number in range(40):
        folder = f"usr/lib/folder-{number % 7}/"
        if number < 7:
            old.append(directory(folder))
        owner = {"uid": number, "gid": number % 3, "uname": f"user{number % 4}", "gname": "staff"}
        old.append(entry(folder + f"file-{number}", noise(number, number * 7), START + number, mode=0o640, **owner))
    old += [
        entry("usr/link", kind=tarfile.SYMTYPE, link="lib/folder-1/file-1", mode=0o777),
        entry("usr/hard", kind=tarfile.LNKTYPE, link="usr/lib/folder-1/file-1"),
        entry("dev/zero", kind=tarfile.CHRTYPE, devmajor=1, devminor=5),
        entry("usr/" + "long-" * 30 + "name", b"long", START),
        entry("usr/" + "deep/" * 25 + "file", b"deep"),
        entry("usr/to-long", kind=tarfile.SYMTYPE, link="elsewhere/" * 15),
        entry("usr/xattr", b"x", pax={"SCHILY.xattr.user.a": "value", "mtime": "1700000000.123456789"}),
        entry("usr/naïve-" + "ü" * 60, b"names"),
        entry("usr/owner", b"o", uid=3_000_000), entry("usr/older", b"b", -7 * DAY), entry("usr/" + "link-" * 25, kind=tarfile.SYMTYPE, link="to-" * 50),
        entry("usr/size", b"size", pax={"size": "4"}),
    ]
    for info, data in old:
        info = source.random() < 0.9 and info
        if not info:
            continue
        more = tarfile.TarInfo(info.name)
        for name in ("type", "mode", "uid", "gid", "uname", "gname", "linkname", "devmajor", "devminor", "pax_headers", "mtime"):
            setattr(more, name, getattr(info, name))
        if source.random() < 0.8:
            more.mtime = START + DAY + source.randrange(3)
        if source.random() < 0.2:
            more.mode ^= 0o22
            more.uname, more.gname = "another", "group"
        if info.isreg() and source.random() < 0.2:
            data += b"more"
        if "mtime" in more.pax_headers:
            more.pax_headers = {"SCHILY.xattr.user.a": "other value", "SCHILY.xattr.user.b": "new", "mtime": f"{more.mtime}.5"}
        if more.name.endswith("owner"):
            more.uid = 5_000_000_000
        more.size = len(data) if info.isreg() else 0
        new.append((more, data))
    new += [
        entry("usr/" + "deep/" * 25 + "other", b"deep too", START + DAY),
        entry("usr/" + "long-" * 30 + "other", b"long too", START + DAY, uid=1),
        entry("usr/before-1970", b"b", -5 * DAY), entry("usr/new-link", kind=tarfile.SYMTYPE, link="new-" * 40, time=START + DAY),
        entry("usr/new-xattr", b"x", START + DAY, pax={"SCHILY.xattr.user.a": "third"}), entry("usr/ü" * 20, b"names", START + DAY),
    ]
    shuffled = sorted(new, key=lambda item: (item[0].name.rsplit("/", 1)[0], hashlib.sha256(item[0].name.encode()).digest()))
    forms = (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
    old_layers = [tar(*old, form=form) for form in forms]
    old_layers[0] = sparse(old_layers[0])
    layers = [tar(*items, form=form) for form in forms for items in (new, shuffled)]
    odd = bytearray(layers[0])
    odd[100:108] = b"  00755 "
    odd[148:156] = b"%6o\0 " % (sum(odd[:148]) + sum(odd[156:512]) + 8 * 32)
    odd[-700:-690] = b"not a tar!"
    return Case("header columns: times, owners, links, long names, PAX records, another order, bytes that are not headers",
                Image([small(layer) for layer in old_layers]), Image([gzipped(layer) for layer in [*layers, sparse(layers[0]), bytes(odd)]]))


def sparse(stream):
    """The stream with a sparse member of GNU's older form before it: a map that goes on in a further block."""
    header = bytearray(512)
    header[:6] = b"sparse"
    header[100:124] = b"0000644\0" * 3
    header[124:148] = b"00000000012\0" + b"14525066600\0"
    header[156:157] = b"S"
    header[257:265] = b"ustar  \0"
    for part in range(4):
        header[386 + 24 * part : 410 + 24 * part] = b"%011o\0%011o\0" % (4096 * part, 2)
    header[482] = 1
    header[483:495] = b"00000100000\0"
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    more = (b"%011o\0%011o\0" % (4096 * 4, 2)).ljust(512, b"\0")
    return bytes(header) + more + b"0123456789".ljust(512, b"\0") + stream


def offsets(_):
    names = [f"text number {i} of the catalogue, which has {i % 17} words".encode() for i in range(900)]
    more = names[:200] + [b"a text that is new %d" % i for i in range(5)] + names[200:700] + names[710:]
    layer = lambda names: tar(*(entry(f"catalogue-{order}", offset_table(names, order)) for order in ("little", "big")))
    return Case("views of 32-bit offsets, in both byte orders", Image([small(layer(names))]), Image([gzipped(layer(more))]))


def class_archives(_):
    layer = lambda counts: tar(*(entry(f"classes-{form}.jsa", class_archive(*counts, form == "new")) for form in ("old", "new")))
    return Case("class-data archives of Java virtual machines, with and without the page of the header in memory", Image([small(layer((3, 2)))]), Image([gzipped(layer((7, 5)))]))


def objects(_):
    layer = lambda version: tar(*(entry(f"lib/{name}.ko", relocatable(version, machine)) for name, machine in (("x86-64", 62), ("aarch64", 183))))
    feature = "relocatable files of both machines: relocations, symbols, tables of sites, unwind records, types"
    return Case(feature, Image([small(layer(1))]), Image([gzipped(layer(2))]))


def relocatable(version, machine):
    """A kernel module: functions that call and load; version 2 has more of them, and other types before its own."""
    is_x86 = machine == 62
    numbers = sorted([*range(120)] + ([*range(200, 240)] if version == 2 else []), key=lambda number: number * 29 % 101)
    names, strings, btf_strings = b"\0", b"", b"\0"
    text, data, text_relocations, data_relocations, sites, symbols = b"", b"", [], [], [], []
    index = {number: 3 + i for i, number in enumerate(numbers)}
    undefined = 3 + len(numbers)
    for number in numbers:
        source, start, place = random.Random(number), len(text), len(strings)
        strings += f"function {number} of a kernel module\n".encode() + b"\0"
        symbols.append((len(names), 0x12, 1, start))
        names += f"function_{number}".encode() + b"\0"
        for i in range(source.randint(4, 12)):
            text += source.randbytes(4 * source.randint(1, 6))
            if version == 2 and number % 8 == 0 and i == 2:
                text += b"\x90\x90\x90\x90" if is_x86 else struct.pack("<I", 0xD503201F)
            callee = index[source.randrange(120)] if source.randrange(2) else undefined
            sites.append(len(text))
            if is_x86:
                text_relocations.append((len(text) + 1, 4, callee, -4))
                text += b"\xE8\0\0\0\0\x8B\x05\0\0\0\0" + b"\xE9" + struct.pack("<i", start - len(text) - 16)
                text_relocations.append((len(text) - 9, 2, 2, place - 4))
            else:
                text_relocations += [(len(text), 283, callee, 0), (len(text) + 4, 275, 2, place), (len(text) + 8, 277, 2, place)]
                text += struct.pack("<IIII", 0x94000000, 0x90000000, 0x91000000, 0x14000000 | (start - len(text) - 12 >> 2) & 0x3FFFFFF)
        symbols[-1] += (len(text) - start,)
        text += bytes(-len(text) % 16)
        data_relocations += [(len(data) + 8, 1 if is_x86 else 257, index[number], 0), (len(data) + 16, 1 if is_x86 else 257, 1, start)]
        data += struct.pack("<Q16x", number)
    names += b"printk\0"
    # Types and names of the kernel come first; it has more of them in version 2.
    kernel_types, kernel_names, records = 5000 + 60 * version, 90000 + 700 * version, b""
    for number in numbers:
        name = kernel_names + len(btf_strings)
        btf_strings += f"type_{number}".encode() + b"\0"
        known = number * 37 % 4000
        known += 60 * version if known > 900 else 0
        shapes = [(1, 0, 8, [64]), (2, 0, known, []), (3, 0, 0, [known, 7, number]), (4, 2, 16, [name, known, 0, 40 + number, kernel_types + number % 50, 64]),
                  (6, 1, 4, [name, number]), (7, 0, 0, []), (13, 2, known, [name, known, 0, 0]), (14, 0, known, [1]), (15, 1, 9, [known, 0, 8]),
                  (12, 1, kernel_types + number % 70, []), (19, 1, 8, [name, 1, 2])]
        kind, count, third, rest = shapes[number % len(shapes)]
        records += struct.pack(f"<III{len(rest)}I", name, kind << 24 | count, third, *rest)
    btf = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(records), len(records), len(btf_strings)) + records + btf_strings
    common = struct.pack("<II", 20, 0) + b"\x01zR\0\x01\x78\x10\x01\x1B" + bytes(7)
    frames, frame_relocations = common, []
    for _, _, _, start, length in symbols:
        frame_relocations.append((len(frames) + 8, 2 if is_x86 else 261, 1, start))
        frames += struct.pack("<IIiI8x", 20, len(frames) + 4, 0, length)
    table = bytes(24) + struct.pack("<IBxHQQ", 0, 3, 1, 0, 0) + struct.pack("<IBxHQQ", 0, 3, 4, 0, 0)
    table += b"".join(struct.pack("<IBxHQQ", name, kind, section, start, length) for name, kind, section, start, length in symbols)
    table += struct.pack("<IBxHQQ", len(names) - 7, 0x10, 0, 0, 0)
    pack = lambda entries: b"".join(struct.pack("<QIIq", *entry) for entry in entries)
    site_relocations = [(4 * i, 2 if is_x86 else 261, 1, site) for i, site in enumerate(sites)]
    # Name, type, flags, content, link, info, alignment.
    sections = [
        (b".text", 1, 6, text, 0, 0, 16), (b".rela.text", 4, 64, pack(text_relocations), 11, 1, 8), (b".data", 1, 3, data, 0, 0, 8),
        (b".rodata.str", 1, 2, strings, 0, 0, 1), (b".rela.data", 4, 64, pack(data_relocations), 11, 3, 8), (b".call_sites", 1, 2, bytes(4 * len(sites)), 0, 0, 1),
        (b".rela.call_sites", 4, 64, pack(site_relocations), 11, 6, 8), (b".bss", 8, 3, bytes(1000 * version), 0, 0, 8), (b".eh_frame", 1, 2, frames, 0, 0, 8),
        (b".rela.eh_frame", 4, 64, pack(frame_relocations), 11, 9, 8), (b".symtab", 2, 0, table, 12, 3, 8), (b".strtab", 3, 0, names, 0, 0, 1),
        (b".BTF", 1, 0, btf, 0, 0, 1),
    ]
    titles = b"\0" + b"".join(section[0] + b"\0" for section in sections) + b".shstrtab\0"
    sections.append((b".shstrtab", 3, 0, titles, 0, 0, 1))
    out, headers, title = bytearray(64), bytes(64), 1
    for name, kind, flags, content, link, info, alignment in sections:
        out += bytes(-len(out) % alignment)
        headers += struct.pack("<IIQQQQIIQQ", title, kind, flags, 0, len(out), len(content), link, info, alignment, 24 if kind in (2, 4) else 0)
        title += len(name) + 1
        out += b"" if kind == 8 else content
    out += bytes(-len(out) % 8)
    out[:64] = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 1, machine, 1, 0, 0, len(out), 0, 64, 0, 0, 64, len(sections) + 1, len(sections))
    return bytes(out + headers) + noise(version, 70)


def x86_64(inputs):
    return program(inputs, "x86_64", "an x86-64 program: sections, unwind records, symbols, debug data; LZ codes")


def aligned_aarch64(inputs):
    feature = "the best preset, AArch64 programs: aligned codes, one of them with the mixer state of the other"
    return programs_of_code(inputs, "aarch64", 20_000, feature)


def programs_of_code(inputs, name, length, feature):
    """Some of a program's code in two programs of their own, since the second decoder takes a millisecond for a byte."""
    def layer(version):
        data, code = inputs.get(f"{name}-{version}", bytes(64)), 0x200
        headers = [data[at : at + 56] for at in range(64, 64 + 56 * int.from_bytes(data[56:58], "little"), 56)]
        start = next((int.from_bytes(h[8:16], "little") for h in headers if h[0] == 1 and h[4] & 1), 0)
        entries = []
        for number in (0, 1):
            part = data[start + number * length : start + (number + 1) * length]
            fields = [0x5_0000_0001, code, 0x1200, 0x1200, len(part), len(part), 4096]
            header = data[:56] + (1).to_bytes(2, "little") + bytes(6) + b"".join(field.to_bytes(8, "little") for field in fields)
            header = header[:40] + bytes(8) + header[48:]
            entries.append(entry(f"lib/program-{number}.so", header.ljust(code, b"\0") + part))
        return tar(*entries)

    return Case(feature, Image([small(layer(1))]), Image([gzipped(layer(2))]), ("--preset", "best"))


def names(_):
    """A script whose variables have other names in each version, with some new text."""
    def layer(version):
        source, script = random.Random(34), "var table={};"
        for number in range(600):
            own = [f"{chr(97 + source.randrange(26))}{chr(65 + source.randrange(26))}" for _ in range(4)]
            others = [chr(97 + (ord(name[0]) - 92) % 26) + name[1] for name in own]
            a, b, c, d = others if version == 2 and number % 7 else own
            script += f"function {a}({b},{c}){{for(var {d}=0;{d}<{c}.length;{d}++){b}.push({c}[{d}]%{number});return {b}}}"
            if version == 2 and number % 100 == 50:
                script += "table.more=(new_value,0x1f,'a value that is new');"
        return tar(entry("srv/bundle.js", script.encode()))

    return Case("a script with other names", Image([small(layer(1))]), Image([gzipped(layer(2))]))


def corrections(inputs):
    """Bytes that change here and there, so that codes of corrections are shorter than patches: of a file, and of a program with code
    and data."""
    def layer(version):
        source, start = random.Random(32), 0x200

        def later(data):
            return bytes(byte + source.randint(1, 5) & 255 if version == 2 and source.random() < 0.02 else byte for byte in data)

        code = inputs.get("x86_64-1", bytes(64))
        code = later(code[len(code) // 3 :][:16_000])
        fields = [0x5_0000_0001, start, 0x1200, 0x1200, len(code), len(code), 4096]
        header = inputs.get("x86_64-1", bytes(64))[:54] + (56).to_bytes(2, "little") + (1).to_bytes(2, "little") + bytes(6)
        header += b"".join(field.to_bytes(8, "little") for field in fields)
        header = header[:32] + (64).to_bytes(8, "little") + bytes(8) + header[48:]
        program_ = header.ljust(start, b"\0") + code + later(noise(33, 5_000))
        return tar(entry("data", later(noise(31, 12_000))), entry("lib/program.so", program_))

    feature = "the best preset: codes of corrections, of a file and of an x86-64 program; one goes on with the state of the other"
    return Case(feature, Image([small(layer(1))]), Image([gzipped(layer(2))]), ("--preset", "best"))


def x86_64_bare(inputs):
    return program(inputs, "x86_64", "an x86-64 program without sections", bare=True)


def aarch64(inputs):
    return program(inputs, "aarch64", "an AArch64 program: branches, pages with low bits")


def aarch64_bare(inputs):
    return program(inputs, "aarch64", "an AArch64 program without sections", bare=True)


def program(inputs, name, feature, options=(), bare=False):
    """A program, or the same program without its table of sections."""
    def layer(version):
        data = inputs.get(f"{name}-{version}", bytes(64))
        if bare:
            data = bytearray(data)
            data[40:48] = bytes(8)
            data[58:64] = bytes(6)
        return tar(entry("lib/program.so", bytes(data)))

    return Case(feature, Image([small(layer(1))]), Image([gzipped(layer(2))]), options)


def first(inputs):
    """Programs for receivers that have no image: the base has no layers."""
    programs = [entry(f"bin/{name}", inputs[name]) for name in ("x86_64-2", "aarch64-2")]
    return Case("no base: programs of both machines in parts", Image([]), Image([gzipped(tar(directory("bin"), *programs))]))


def edits(_):
    layer = lambda version: tar(entry("lib/program.so", compiled_program(150, version)))
    return Case("an x86-64 program at a fixed address, with other registers and stack places: copies with edits, addresses in code", Image([small(layer(1))]), Image([gzipped(layer(2))]))


def edits_aarch64(_):
    layer = lambda version: tar(entry("lib/program.so", compiled_program(150, version, 183)))
    return Case("an AArch64 program with other registers and stack places: copies with edits", Image([small(layer(1))]), Image([gzipped(layer(2))]))


def compiled_program(functions, version, machine=62):
    """A program with unwind records; version 2 allocates some registers and stack places differently."""
    table, records, code, low = 0x200, 0x210, 0x4000, 0x400000
    is_x86, function = machine == 62, compiled_function if machine == 62 else compiled_words
    compiled = [function(number, functions, version) for number in range(functions)]
    size = lambda line: ({"jump": 2, "call": 5, "address": 5} if is_x86 else {"jump": 4, "call": 4}).get(line[0]) or len(line[1])
    places = [code]
    for lines in compiled:
        places.append(places[-1] + sum(map(size, lines)) + 15 & ~15)
    out = bytearray(code)
    for lines, start in zip(compiled, places):
        out += b"\xCC" * (start - len(out))
        starts = [0]
        for line in lines:
            starts.append(starts[-1] + size(line))
        for (kind, value), end in zip(lines, starts[1:]):
            if kind == "jump" and not is_x86:
                # cbnz x0
                out += struct.pack("<I", 0xB5000000 | (starts[value] - end + 4 >> 2 & 0x7FFFF) << 5)
            elif kind == "call" and not is_x86:
                out += struct.pack("<I", 0x94000000 | (places[value] - len(out) >> 2) & 0x3FFFFFF)
            elif kind == "jump":
                out += bytes([0x75, starts[value] - end])
            elif kind == "call":
                out += b"\xE8" + struct.pack("<i", places[value] - len(out) - 5)
            elif kind == "address":
                out += b"\xBF" + struct.pack("<I", low + places[value])
            else:
                out += value
    out += b"\xCC" * (places[-1] - len(out))
    out[table : table + 8] = bytes([1, 0x1B, 3, 0x3B]) + struct.pack("<i", records - table - 4)
    common = struct.pack("<II", 20, 0) + b"\x01zR\0\x01\x78\x10\x01\x1B"
    frames = bytearray(common.ljust(24, b"\0"))
    for lines, start in zip(compiled, places):
        at = records + len(frames)
        frames += struct.pack("<IIiI8x", 20, at + 4 - records, start - at - 8, sum(map(size, lines)))
    frames += bytes(4)
    out[records : records + len(frames)] = frames
    assert records + len(frames) <= code
    out[:7] = b"\x7fELF\x02\x01\x01"
    for at, form, value in ((18, "<H", machine), (32, "<Q", 64), (54, "<H", 56), (56, "<H", 3)):
        struct.pack_into(form, out, at, value)
    for number, (kind, flags, start, length) in enumerate(((1, 4, 0, code), (1, 5, code, len(out) - code), (0x6474E550, 4, table, 12))):
        struct.pack_into("<IIQQQQQQ", out, 64 + 56 * number, kind, flags, start, low + start, 0, length, length, 0)
    return bytes(out)


def compiled_function(number, functions, version):
    source, changes = random.Random(number), random.Random(-1 - number)
    count = source.randint(30, 60)
    changed = lambda one_in: changes.randrange(one_in) == 0 and version == 2
    lines = []
    for at in range(count):
        register, other, kind, value = source.randrange(8), source.randrange(3), source.randrange(9), source.randrange(100)
        callee = source.randrange(functions)
        is_new = changed(9)
        value += 120 * changed(11)
        rex = 0x4C if is_new else 0x48
        short = struct.pack("b", value) if value < 128 else None
        if kind < 2:
            place = short or struct.pack("<i", value)
            lines.append(("bytes", bytes([rex, 0x8B, (0x44 if short else 0x84) | register << 3, 0x24]) + place))
        elif kind < 4:
            lines.append(("bytes", bytes([0x44] * is_new + [0x89, 0xC0 | register << 3 | other])))
        elif kind == 4:
            head = [0x48, 0x83 if short else 0x81, 0xC0 | other]
            lines.append(("bytes", bytes(head) + (short or struct.pack("<i", value))))
        elif kind == 5:
            lines.append(("jump", min(at + 4, count)))
        elif kind == 6:
            lines.append(("address" if other == 2 else "call", callee))
        elif kind == 7:
            # Scaled: the index may be another register.
            lines.append(("bytes", bytes([rex, 0x8D, 4 | register << 3, 0x80 | (other + is_new) << 3 | 3])))
        else:
            lines.append(("bytes", bytes([0xC5, 0xF8, 0x28, 0xC0 | register << 3 | other])))
    return lines + [("bytes", b"\xC3")]


def compiled_words(number, functions, version):
    """A function of AArch64 with an instruction of each shape."""
    source, changes = random.Random(number), random.Random(-1 - number)
    count = source.randint(30, 60)
    changed = lambda one_in: changes.randrange(one_in) == 0 and version == 2
    lines = []
    for at in range(count):
        register, other, third, kind = (source.randrange(28) for _ in range(4))
        value, callee = source.randrange(30), source.randrange(functions)
        register += changed(9)
        other += changed(19)
        third += changed(23)
        value += 30 * changed(11)
        pair = register | other << 5
        words = {
            0: 0xF94003E0 | register | value << 10,  # ldr x, [sp, number]
            1: 0xF94003E0 | register | value << 10,
            2: 0xB9000000 | pair | value << 10,  # str w, [x, number]
            3: 0xA9000000 | pair | third << 10 | (value & 31) << 15,  # stp x, x, [x, number]
            4: 0xF8400000 | pair | (-value & 0x1FF) << 12,  # ldur x, [x, -number]
            5: 0xF8606800 | pair | third << 16,  # ldr x, [x, x]
            6: 0x3DC00000 | pair | value << 10,  # ldr q, [x, number]
            7: 0x6D000000 | pair | third << 10 | value << 15,  # stp d, d, [x, number]
            8: 0x91000000 | pair | value << 10,  # add x, x, number
            9: 0x92400000 | pair | value << 10,  # and x, x, bits
            10: 0xD2800000 | register | value * 77 << 5,  # mov x, number
            11: 0xD3400000 | pair | value << 16,  # lsr x, x, number
            12: 0x93C00000 | pair | third << 16 | value << 10,  # extr
            13: 0x8B000000 | pair | third << 16 | value << 10,  # add x, x, x, lsl number
            14: 0x9B000000 | pair | third << 16 | value % 28 << 10,  # madd
            15: 0x9A800000 | pair | third << 16 | value % 14 << 12,  # csel
            16: 0x1E602800 | pair | third << 16,  # fadd d, d, d
            17: 0x37000000 | register | value % 32 << 19 | 2 << 5,  # tbnz
            18: 0x54000040 | value % 14,  # b.cond
            19: 0xD63F0000 | other << 5,  # blr x
            20: 0xD53BD040 | register,  # mrs x, tpidr_el0
            21: 0xC85F7C00 | pair,  # ldxr x, [x]
            22: 0x58000000 | register | value << 5,  # ldr x, literal
        }
        if kind in words:
            lines.append(("bytes", struct.pack("<I", words[kind])))
        else:
            lines.append(("jump", min(at + 4, count)) if kind % 2 else ("call", callee))
        if changed(25):
            lines.append(("bytes", struct.pack("<I", 0xD503201F)))
    return lines + [("bytes", struct.pack("<I", 0xD65F03C0))]


def sections(inputs):
    """Programs as linkers write them: with compression headers, and in GNU's older form."""
    def layer(version):
        data = inputs.get(f"x86_64-{version}", bytes(64))
        return tar(entry("bin/program", compress_sections(data, 6, False)), entry("bin/older", compress_sections(data, 9, True)))

    return Case("compressed sections of ELF files, in both forms", Image([small(layer(1))]), Image([stored(layer(2))]))


def fatbin(_):
    """Programs for graphics processors: every encoder of LZ4, a block that none makes, and one that is not packed."""
    source = random.Random(82)
    # Of three letters, so that a search of 16 attempts finds more than one of 8.
    deep = bytes(source.choice(b"abc") for _ in range(5000))
    text, again = prose(80, 500) + deep, edited(prose(80, 500), 81, 6) + deep[:2000] + b"edit" + deep[2000:]

    def program(data, number=None):
        block = lz4.encode(number, data) if number is not None else b"\xf0" + b"\xff" * ((len(data) - 15) // 255) + bytes([(len(data) - 15) % 255]) + data
        return struct.pack("<HHIQIIII8xQ8xQ", 2, 257, 64, -(-len(block) // 8) * 8, len(block), 0, 0, 80 + (number or 0), 0x2011, len(data)) + block + bytes(-len(block) % 8)

    def layer(data, numbers):
        third = len(data) // 3
        first = program(data[:third], numbers[0]) + program(data[third:], numbers[1]) + program(data[:900])
        second = struct.pack("<HHIQIIII8xQ8xQ", 2, 257, 64, 16, 0, 0, 0, 90, 0x11, 0) + b"not packed      " + b"".join(program(data[third:], number) for number in numbers[2:])
        containers = b"".join(b"\x50\xed\x55\xba\1\0\x10\0" + struct.pack("<Q", len(entries)) + entries for entries in (first, second))
        names = b"\0.nv_fatbin\0.shstrtab\0"
        section = lambda name, kind, start, length: struct.pack("<IIQQQQIIQQ", name, kind, 0, 0, start, length, 0, 0, 8, 0)
        table = bytes(64) + section(1, 1, 64, len(containers)) + section(12, 3, 64 + len(containers), len(names))
        header = b"\x7fELF\2\1\1" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 0, 64 + len(containers) + len(names), 0, 64, 56, 0, 64, 3, 2)
        return tar(entry("lib/libcuda.so", header + containers + names + table))

    return Case("programs for graphics processors: LZ4 blocks by every encoder, and by none", Image([small(layer(text, (1, 1, 1)))]), Image([stored(layer(again, (0, 1, 2, 3, 4)))]))


def compress_sections(data, level, is_gnu):
    """The program with compressed debug sections; GNU's form has other names."""
    count, names = struct.unpack_from("<2xHH", data, 58)
    table = int.from_bytes(data[40:48], "little")
    entries = [list(struct.unpack_from("<IIQQQQIIQQ", data, table + 64 * i)) for i in range(count)]
    texts = data[entries[names][4] : entries[names][4] + entries[names][5]]
    name_of = lambda section: texts[section[0] :].split(b"\0")[0]
    stored = {}
    for i, section in enumerate(entries):
        if name_of(section).startswith(b".debug_") and section[5] > 100:
            plain = data[section[4] : section[4] + section[5]]
            front = b"ZLIB" + len(plain).to_bytes(8, "big") if is_gnu else struct.pack("<QQQ", 1, len(plain), section[8])
            stored[i] = front + zlib.compress(plain, level)
            section[2] |= 0 if is_gnu else 0x800
    if is_gnu:
        stored[names] = texts + b"".join(name_of(entries[i]).replace(b".debug", b".zdebug") + b"\0" for i in stored)
        at = len(texts)
        for i in (i for i in stored if i != names):
            at, entries[i][0] = at + len(name_of(entries[i])) + 2, at
    end = min(entries[i][4] for i in stored)
    out = data[:end]
    for i in sorted((i for i, section in enumerate(entries) if section[4] >= end), key=lambda i: entries[i][4]):
        section = entries[i]
        content = stored.get(i, data[section[4] : section[4] + section[5]])
        section[4], section[5] = len(out), len(content)
        out += content
    offset = len(out)
    return out[:40] + offset.to_bytes(8, "little") + out[48:] + b"".join(struct.pack("<IIQQQQIIQQ", *section) for section in entries)


def best(_):
    text = prose(26, 1500)
    old = tar(entry("text", text))
    new = tar(entry("text", edited(text, 27, 200), START + DAY), entry("new", prose(28, 900)))
    return Case("the best preset: mixed streams", Image([small(old)]), Image([gzipped(new)]), ("--preset", "best"))


def jimages(_):
    """Runtime images: one more class moves every row of the index; strings in another order; buckets of several keys."""

    def image(version, strings):
        source, resources, content = random.Random(83), [], b""
        for number in range(160):
            names = (b"java.base", b"java/package%d" % (number // 9), b"Class%d" % number, b"class")
            # The second version has another class, and some of other lengths.
            data = prose(number, 30 + source.randrange(40)) + (b"changed" if version == 2 and number % 60 == 5 else b"")
            if version == 2 or number != 99:
                resources.append(jimage.Resource(names, len(data) * (1 + number % 2), len(data) if number % 2 else 0))
                content += data
        table = b"".join(name + b"\0" for name in [b"", b"zip"] + sorted({name for resource in resources for name in resource.names}))
        listed = jimage.write_list(bytes.fromhex("dadafeca0000010000000000"), resources, table if strings else b"")
        return jimage.index_of(listed) + content

    layer = lambda version: tar(entry("lib/modules", image(version, False)), entry("small/modules", image(version, True)))
    return Case("runtime images of Java, with strings in both orders", Image([small(layer(1))]), Image([stored(layer(2))]))


def go_old(inputs):
    return go(inputs, "go-old", "Go programs of 1.19: function tables of 1.18, types")


def go_new(inputs):
    return go(inputs, "go-new", "Go programs of 1.22: function tables of 1.20, trees of inlined calls, types")


def go(inputs, name, feature):
    layer = lambda version: tar(entry("bin/program", inputs.get(f"{name}-{version}", bytes(64))))
    return Case(feature, Image([small(layer(1))]), Image([gzipped(layer(2))]))


CASES = {
    "files": files, "kept": kept, "carried": carried, "twice": twice, "streams-only": streams_only, "deflate": deflate, "zstd": zstd,
    "chunked": chunked, "archives": archives, "xz": xz, "zstd-files": zstd_files, "windows": windows, "headers": headers, "offsets": offsets, "class-archives": class_archives, "objects": objects,
    "x86-64": x86_64, "aarch64": aarch64, "x86-64-bare": x86_64_bare, "aarch64-bare": aarch64_bare,
    "aligned-aarch64": aligned_aarch64, "names": names, "corrections": corrections, "edits": edits, "edits-aarch64": edits_aarch64,
    "first": first,
    "sections": sections, "fatbin": fatbin, "jimages": jimages, "go-1.19": go_old, "go-1.22": go_new, "best": best, "siblings": siblings, "digests": digests,
}


# The folder.


def read_inputs():
    with tarfile.open(os.path.join(HERE, "inputs.tar.xz")) as tar_file:
        return {member.name: tar_file.extractfile(member).read() for member in tar_file}


def make(program, name, case):
    """Writes base and delta, and returns the line of the list."""
    base, delta = (os.path.join(HERE, name + end) for end in (".base.tar", ".imgdelta"))
    write_archive(case.old, base)
    with tempfile.TemporaryDirectory() as scratch:
        write_layout(case.new, scratch)
        words = [program, "create", f"oci-archive:{base}", f"oci:{scratch}", "-o", delta, "--quiet", "--platform", "linux/amd64", *case.options]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    digest = documents(case.new)[1]["digest"]
    return f"| {name}.imgdelta | {name}.base.tar | {case.feature} | {len(case.new.layers)} | `{digest}` |"


def main():
    program, chosen = sys.argv[1], sys.argv[2:] or list(CASES)
    inputs = read_inputs()
    page = os.path.join(HERE, "README.md")
    with open(page) as file:
        lines = file.read().rstrip("\n").split("\n")
    rows = {match[1]: line for line in lines if (match := re.match(r"\| ([^ ]+)\.imgdelta \|", line))}
    for name in chosen:
        rows[name] = make(program, name, CASES[name](inputs))
        print(rows[name])
    head = [line for line in lines if ".imgdelta |" not in line]
    with open(page, "w") as file:
        file.write("\n".join(head + [rows[name] for name in CASES if name in rows]) + "\n")


if __name__ == "__main__":
    main()
