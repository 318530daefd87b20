#!/usr/bin/env python3
"""Makes rpmdb.sqlite: an rpm database in the shape rpm 4.16 and later write, with small pages so
that the table has interior pages and rows overflow. Run it in this directory; SQLite's version
ends up in the file's header, nothing else varies."""

import os
import sqlite3
import struct

INT32, STRING, STRING_ARRAY, I18N = 4, 6, 8, 9


def header(tags):
    index, store = b"", b""
    for tag, (kind, values) in sorted(tags.items()):
        if kind == INT32:
            store += b"\0" * (-len(store) % 4)
        index += struct.pack(">IIII", tag, kind, len(store), len(values))
        for value in values:
            store += struct.pack(">I", value) if kind == INT32 else value.encode() + b"\0"
    return struct.pack(">II", len(index) // 16, len(store)) + index + store


def package(name, version, release, files, epoch=None, arch="x86_64"):
    tags = {
        1000: (STRING, [name]),
        1001: (STRING, [version]),
        1002: (STRING, [release]),
        1004: (I18N, ["Summary of " + name]),
    }
    if epoch is not None:
        tags[1003] = (INT32, [epoch])
    if arch:
        tags[1022] = (STRING, [arch])
        tags[1044] = (STRING, [f"{name}-{version}-{release}.src.rpm"])
    if files:
        directories = sorted({os.path.dirname(file) + "/" for file in files})
        tags[1116] = (INT32, [directories.index(os.path.dirname(file) + "/") for file in files])
        tags[1117] = (STRING_ARRAY, [os.path.basename(file) for file in files])
        tags[1118] = (STRING_ARRAY, directories)
    return header(tags)


packages = [
    package("bash", "5.2.26", "3.fc40", ["/usr/bin/bash", "/usr/bin/sh"]),
    package("shadow-utils", "4.15.1", "1.fc40", ["/usr/sbin/useradd", "/etc/login.defs"], epoch=2),
    package("gpg-pubkey", "a15b79cc", "63d04c2c", [], arch=None),
    package("tzdata", "2024a", "5.fc40", [f"/usr/share/zoneinfo/Zone{n}" for n in range(150)], arch="noarch"),
]
packages += [package(f"lib{n}", f"1.{n}", "1.fc40", [f"/usr/lib64/lib{n}.so.1"]) for n in range(20)]

if os.path.exists("rpmdb.sqlite"):
    os.remove("rpmdb.sqlite")
database = sqlite3.connect("rpmdb.sqlite")
database.execute("PRAGMA page_size = 512")
database.execute("CREATE TABLE IF NOT EXISTS 'Packages' (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)")
database.execute("CREATE TABLE IF NOT EXISTS 'Name' (key 'TEXT' NOT NULL, hnum INTEGER NOT NULL, idx INTEGER NOT NULL)")
database.executemany("INSERT INTO Packages (blob) VALUES (?)", [(blob,) for blob in packages])
database.commit()
database.close()
