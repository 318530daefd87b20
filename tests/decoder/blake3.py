"""BLAKE3 in its hash mode, the plain way: about a quarter of a megabyte a second."""
import struct

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
ORDER = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
MASK = 0xFFFFFFFF
LANES = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15), (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))


def compress(chaining, block, counter, length, flags):
    s = [*chaining, *IV[:4], counter & MASK, counter >> 32, length, flags]
    words = struct.unpack("<16I", block.ljust(64, b"\0"))
    for turn in range(7):
        at = 0
        for a, b, c, d in LANES:
            x, y = words[at], words[at + 1]
            at += 2
            sa, sb, sc, sd = s[a], s[b], s[c], s[d]
            sa = sa + sb + x & MASK
            sd ^= sa
            sd = sd >> 16 | sd << 16 & MASK
            sc = sc + sd & MASK
            sb ^= sc
            sb = sb >> 12 | sb << 20 & MASK
            sa = sa + sb + y & MASK
            sd ^= sa
            sd = sd >> 8 | sd << 24 & MASK
            sc = sc + sd & MASK
            sb ^= sc
            s[a], s[b], s[c], s[d] = sa, sb >> 7 | sb << 25 & MASK, sc, sd
        if turn < 6:
            words = [words[i] for i in ORDER]
    return [a ^ b for a, b in zip(s[:8], s[8:])]


def chunk(data, counter, flags):
    chaining = IV
    blocks = [data[i : i + 64] for i in range(0, len(data), 64)] or [b""]
    for i, block in enumerate(blocks):
        own = (CHUNK_START if i == 0 else 0) | (CHUNK_END | flags if i == len(blocks) - 1 else 0)
        chaining = compress(chaining, block, counter, len(block), own)
    return chaining


def tree(data, counter, flags):
    if len(data) <= 1024:
        return chunk(data, counter, flags)
    left = 1024
    while left * 2 < len(data):
        left *= 2
    children = tree(data[:left], counter, 0) + tree(data[left:], counter + left // 1024, 0)
    return compress(IV, struct.pack("<16I", *children), 0, 64, PARENT | flags)


def digest(data):
    return struct.pack("<8I", *tree(bytes(data), 0, ROOT))
