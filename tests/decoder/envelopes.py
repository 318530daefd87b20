"""Deflate recipes, as far as Python's zlib can follow them. docs/format-envelopes.md, section 2."""
import zlib
from collections import namedtuple

from wire import Reader

MODELS = ["Go", "klauspost", "pgzip", "zlib", "GNU gzip", "pigz", "record", "pigz -i", "pigz -p 1", "gzip --rsyncable",
          "zlib-ng", "Chromium's zlib", "miniz_oxide"]
Member = namedtuple("Member", "header model parameters trailer plain_bytes")


class NoModel(Exception):
    """The recipe is sound, but needs an encoder that this decoder does not have."""


def number(reader):
    """A number of at most nine bytes, in any spelling."""
    value = 0
    for place in range(9):
        byte = reader.byte()
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value
    reader.refuse("a number of more than nine bytes")


def string(reader):
    return reader.bytes(number(reader))


class DeflateRecipe:
    def __init__(self, data):
        reader = Reader(data, "deflate recipe")
        version = reader.byte()
        if version not in (1, 2):
            reader.refuse(f"version {version}")
        self.members = [self.member(reader) for _ in range(number(reader))]
        self.tail = string(reader)
        if version == 2:
            # Restart points change no byte.
            for _ in range(3 * number(reader)):
                number(reader)
        reader.end()

    @staticmethod
    def member(reader):
        header, model = string(reader), reader.byte()
        if model >= len(MODELS):
            reader.refuse(f"model {model}")
        name = MODELS[model]
        if name == "zlib":
            parameters = list(reader.bytes(3))
        elif name == "record":
            parameters = [string(reader)]
        else:
            sizes = {"klauspost": 2, "pgzip": 2, "zlib-ng": 3, "Chromium's zlib": 3, "miniz_oxide": 2}
            parameters = list(reader.bytes(sizes.get(name, 1)))
            if name == "pgzip" or name.startswith("pigz"):
                parameters.append(number(reader))
            elif name == "zlib-ng":
                parameters += [number(reader), number(reader)]
        trailer = reader.byte()
        if trailer > 2:
            reader.refuse(f"trailer {trailer}")
        trailer = string(reader) if trailer == 2 else (None, "gzip")[trailer]
        return Member(header, name, parameters, trailer, number(reader))

    def make(self, plain):
        """The blob of these plain bytes."""
        out, at = b"", 0
        for member in self.members:
            length = member.plain_bytes
            if length == 0 and len(self.members) == 1:
                length = len(plain)  # docs/format.md, column 20
            own = plain[at : at + length]
            at += length
            out += member.header + deflate(member, own)
            if member.trailer == "gzip":
                out += zlib.crc32(own).to_bytes(4, "little") + (len(own) & 0xFFFFFFFF).to_bytes(4, "little")
            elif member.trailer:
                out += member.trailer
        return out + self.tail


def deflate(member, plain):
    if member.model != "zlib":
        raise NoModel(member.model)
    level, sizes, strategy = member.parameters
    encoder = zlib.compressobj(level, zlib.DEFLATED, -(15 - (sizes >> 4)), sizes & 15, strategy)
    return encoder.compress(plain) + encoder.flush()
