"""ELF files with compressed programs for graphics processors. docs/format-archives.md, sections 11 and 12."""
import struct
from collections import namedtuple

import lz4
from sections import Table
from wire import Refused

START = b"\x50\xed\x55\xba\x01\x00\x10\x00"
SECTIONS = (b".nv_fatbin", b"__nv_relfatbin")
WITHOUT_CONTENT, IS_LZ4, IS_HIDDEN, MOST_ENTRIES = 8, 0x2000, 0x1_0000, 65_536
Program = namedtuple("Program", "start end plain_bytes")


def programs(data):
    table, found, entries, end = Table(data), [], 0, 0
    ranges = []
    for number, entry in enumerate(table.entries):
        if int.from_bytes(entry[4:8], "little") != WITHOUT_CONTENT and table.name(data, number).startswith(SECTIONS):
            ranges.append(table.range(number))
    for start, stop in sorted(ranges):
        if start < end or stop > len(data):
            continue
        end, at = stop, start
        while stop - at >= 16 and data[at : at + 8] == START:
            inner_end = at + 16 + int.from_bytes(data[at + 8 : at + 16], "little")
            if inner_end > stop:
                break
            at += 16
            while inner_end - at >= 64:
                entries += 1
                if entries > MOST_ENTRIES:
                    raise Refused("too many programs")
                header_bytes, body_bytes, stored = struct.unpack_from("<4xIQI", data, at)
                flags, plain = struct.unpack_from("<40xQ8xQ", data, at)
                body = at + header_bytes
                if header_bytes < 64 or body + body_bytes > inner_end:
                    break
                if flags & (IS_LZ4 | IS_HIDDEN) == IS_LZ4 and 0 < stored <= min(body_bytes, lz4.MOST_PLAIN) and 0 < plain <= lz4.MOST_PLAIN:
                    found.append(Program(body, body + stored, plain))
                at = body + body_bytes
            at = inner_end + (start - inner_end) % 8
    names = table.range(table.names_number) if table.names_number < len(table.entries) else (0, 0)
    if names[1] > len(data) or names[1] - names[0] > 1 << 20:
        names = (0, 0)
    for start, stop in ((0, 64), (table.offset, table.end), names):
        if any(program.end > start and program.start < stop for program in found):
            raise Refused("a program in the headers of its file")
    if not found:
        raise Refused("an ELF file without compressed programs")
    return found


def open_fatbin(data):
    """The file with zeros for its programs; for each program its content, and its range in the file."""
    hollow, contents = bytearray(data), []
    for start, end, plain_bytes in programs(data):
        contents.append((lz4.decode(data[start:end], plain_bytes), (start, end - start)))
        hollow[start:end] = bytes(end - start)
    return bytes(hollow), contents


def close_fatbin(inner):
    if not inner or inner[0].recipe is not None:
        raise Refused("a file with programs is an inner payload without a compression")
    out = bytearray(inner[0].data)
    found = programs(inner[0].data)
    if len(found) != len(inner) - 1:
        raise Refused("another number of programs than inner payloads")
    for program, payload in zip(found, inner[1:]):
        stored = payload.data
        if payload.recipe is not None:
            if len(payload.recipe) != 2 or payload.recipe[0] != 0xF4:
                raise Refused("a program with a compression that is not LZ4")
            stored = lz4.encode(payload.recipe[1], payload.data)
        if len(stored) != program.end - program.start:
            raise Refused("a program of another length than its header says")
        out[program.start : program.end] = stored
    return bytes(out)
