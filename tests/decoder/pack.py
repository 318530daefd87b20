"""Packs: several streams as one byte string. docs/format-group.md, section 2."""
import zstandard

import lz
import mixed
from wire import Reader, Refused

ZSTD_MAGIC = bytes.fromhex("28B52FFD")
MOST_MIXED = 4 << 20


def unpack_frame(packed, raw_length, prefix=b""):
    """Unpacks a zstd frame without its magic number, behind a prefix."""
    if raw_length > 32768 * len(packed):
        raise Refused(f"a frame of {len(packed)} bytes cannot hold {raw_length}")
    dictionary = None
    if prefix:
        dictionary = zstandard.ZstdCompressionDict(prefix, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    decompressor = zstandard.ZstdDecompressor(dict_data=dictionary, max_window_size=1 << 31)
    try:
        raw = decompressor.decompress(ZSTD_MAGIC + packed, max_output_size=raw_length or 1)
    except zstandard.ZstdError as error:
        raise Refused(f"a zstd frame: {error}")
    if len(raw) != raw_length:
        raise Refused(f"a frame of {len(raw)} bytes, should be {raw_length}")
    return raw


def unpack(data, most_streams, limits, what="pack"):
    """Returns the streams, as many as `most_streams`."""
    reader = Reader(data, what)
    count = reader.number()
    if count > most_streams:
        reader.refuse(f"{count} streams, at most {most_streams}")
    table, total, mixed_bytes = [], 0, 0
    for _ in range(count):
        word = reader.number()
        raw, coder = word >> 2, word & 3
        packed = reader.number() if coder in (1, 3) else raw
        if coder == 3:
            coder, packed = 3 + packed % 2, packed // 2
        total += raw
        if total > limits.pack_bytes:
            reader.refuse(f"more than {limits.pack_bytes} bytes")
        if coder == 3:
            mixed_bytes += raw
            if raw > 32 * packed or mixed_bytes > MOST_MIXED:
                reader.refuse("too many mixed bytes")
        table.append((coder, raw, packed))
    shared = b""
    if any(coder == 2 for coder, _, _ in table):
        shared_length = reader.number()
        shared = unpack_frame(reader.bytes(shared_length), sum(raw for coder, raw, _ in table if coder == 2))
    streams, at, mixer = [], 0, mixed.StreamMixer()
    for coder, raw, packed in table:
        if coder == 2:
            streams.append(shared[at : at + raw])
            at += raw
            continue
        body = reader.bytes(packed)
        streams.append({0: lambda: body, 1: lambda: unpack_frame(body, raw), 3: lambda: mixed.unpack(mixer, body, raw), 4: lambda: lz.unpack(body, raw)}[coder]())
    reader.end()
    return streams + [b""] * (most_streams - count)
