"""Text whose names are replaced. docs/format-group.md, section 9."""
import re

RUN = re.compile(rb"[A-Za-z0-9_$]+")


def replace(target, base, copies, patches):
    """`patches` gives the place of each byte before it is patched."""
    count = min(max(-(-len(target) // 8), 4), 4096)
    bits = (count - 1).bit_length()
    table, place = {}, next(patches, None)
    for copy in copies:
        for run in RUN.finditer(base[copy.base : copy.base + copy.length]):
            name = run.group()
            if len(name) > 8 or name[:1].isdigit():
                continue
            start, end = copy.target + run.start(), copy.target + run.end()
            slot = (int.from_bytes(name, "little") * 0x9E3779B97F4A7C15 & (1 << 64) - 1) >> 64 - bits
            old, new = table.get(slot, (b"", b""))
            if old == name:
                target[start:end] = new
            while place is not None and place < end:
                place = next(patches, None)
            table[slot] = name, bytes(target[start:end])
    for _ in patches:
        pass
