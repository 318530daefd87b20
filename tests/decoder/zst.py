"""Zstd files and their recipes, as far as the zstandard module can follow them. docs/format-archives.md, sections 13 and 14."""
from collections import namedtuple

import zstandard

from envelopes import NoModel, number, string
from wire import Reader, Refused

MAGIC = b"\x28\xb5\x2f\xfd"
MOST_WINDOW = 32 << 20
BLOCK = 128 << 10
# The calls of libzstd: what a recipe says about the encoder.
Call = namedtuple("Call", "level jobs input window")
AFTER, WITH, ONE_CALL = range(3)
Frame = namedtuple("Frame", "header plain_bytes")


def unpack_zstd(data):
    """The content of all frames."""
    out, at = [], 0
    while at < len(data):
        if int.from_bytes(data[at : at + 4], "little") & ~15 == 0x184D2A50:
            length = int.from_bytes(data[at + 4 : at + 8], "little")
            if at + 8 + length > len(data):
                raise Refused("a skippable frame that is cut")
            at += 8 + length
            continue
        decoder = zstandard.ZstdDecompressor(max_window_size=MOST_WINDOW).decompressobj()
        try:
            out.append(decoder.decompress(data[at:]))
        except zstandard.ZstdError:
            raise Refused("a zstd file that is damaged")
        if not decoder.eof:
            raise Refused("a zstd file that is cut")
        at = len(data) - len(decoder.unused_data)
    return b"".join(out)


class ZstdRecipe:
    def __init__(self, data):
        reader = Reader(data, "zstd recipe")
        version = reader.byte()
        if version not in (1, 2):
            reader.refuse(f"version {version}")
        self.call = self.read_call(reader)
        # Literal bytes, or frames; a frame without a length has all plain bytes.
        self.parts = []
        if version == 2:
            flags = reader.byte()
            if self.call is None or flags > 3:
                reader.refuse("one frame of another encoder, or unknown flags")
            header = MAGIC + (bytes([0x20 | (flags & 1) << 2, 0]) if flags & 2 else bytes([(flags & 1) << 2, 0]))
            self.parts.append(Frame(header, None))
        else:
            for _ in range(number(reader)):
                kind = reader.byte()
                if kind > 1:
                    reader.refuse(f"part {kind}")
                if kind == 0:
                    self.parts.append(string(reader))
                    continue
                header, plain_bytes = string(reader), number(reader)
                cuts = [number(reader) for _ in range(number(reader))]
                if 0 in cuts or sum(cuts) > plain_bytes:
                    reader.refuse("a cut that is not in the frame")
                self.parts.append(Frame(header, plain_bytes))
        reader.end()

    @staticmethod
    def read_call(reader):
        """A call of libzstd; None for klauspost's encoder."""
        kind = reader.byte()
        if kind == 0:
            reader.bytes(2)
            return None
        if kind != 1:
            reader.refuse(f"model {kind}")
        folded = number(reader)
        level, flags = folded >> 1 ^ -(folded & 1), reader.byte()
        if flags > 15 or flags & 6 == 6 or not -131072 <= level <= 22 or level == 0:
            reader.refuse(f"level {level}, flags {flags}")
        window = reader.byte() if flags & 8 else 0
        if flags & 8 and not 10 <= window <= 27:
            reader.refuse(f"window {window}")
        return Call(level, flags & 1, flags >> 1 & 3, window)

    def make(self, plain):
        """The file of these plain bytes."""
        out, at = [], 0
        for part in self.parts:
            if isinstance(part, bytes):
                out.append(part)
                continue
            length = len(plain) if part.plain_bytes is None else part.plain_bytes
            own = plain[at : at + length]
            if len(own) != length:
                raise Refused("a frame with more plain bytes than there are")
            at += length
            out.append(self.frame(own, part.header))
        if at != len(plain):
            raise Refused("plain bytes behind the last frame")
        return b"".join(out)

    def frame(self, plain, header):
        if self.call is None:
            raise NoModel("klauspost")
        # The encoder is the one of the installed library. Versions other than 1.5.7 agree with it where nothing can be compressed.
        if self.call.window:
            raise NoModel("libzstd with a longer window")
        checksum, has_length = bool(header[4] & 4), bool(header[4] & 0x20 or header[4] >> 6)
        encoder = zstandard.ZstdCompressor(level=self.call.level, write_checksum=checksum, threads=self.call.jobs)
        # One block comes to the same encoder in all ways.
        if has_length and (self.call.input == ONE_CALL or len(plain) <= BLOCK):
            return encoder.compress(plain)
        if self.call.input != AFTER:
            raise NoModel("a call that ends with the last bytes")
        stream = encoder.compressobj(size=len(plain)) if has_length else encoder.compressobj()
        return b"".join(stream.compress(plain[at : at + BLOCK]) for at in range(0, len(plain), BLOCK)) + stream.flush()
