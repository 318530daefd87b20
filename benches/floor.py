#!/usr/bin/env python3
"""The floor under `imgdelta diff`: inflate (libdeflate) and hash (OpenSSL) the gzip layers of OCI layouts once.

    benches/floor.py OCI_DIR...

Prints CPU seconds for each part. One thread, every layer whole in memory: a bound to compare with, not a way to work.
Needs libdeflate's shared library (Debian: libdeflate0); Python's hashlib is OpenSSL's.
"""
import ctypes, ctypes.util, glob, hashlib, json, resource, struct, sys


def cpu():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def layers(layout):
    blob = lambda digest: f"{layout}/blobs/{digest.replace(':', '/')}"
    index = json.load(open(f"{layout}/index.json"))
    for image in index["manifests"]:
        for layer in json.load(open(blob(image["digest"])))["layers"]:
            yield blob(layer["digest"])


def main():
    lib = ctypes.CDLL(ctypes.util.find_library("deflate") or "libdeflate.so.0")
    lib.libdeflate_alloc_decompressor.restype = ctypes.c_void_p
    inflater = ctypes.c_void_p(lib.libdeflate_alloc_decompressor())
    spent = {"inflate": 0.0, "hash streams": 0.0, "hash blobs": 0.0}
    stored = stream = 0
    for path in (path for layout in sys.argv[1:] for path in layers(layout)):
        packed = open(path, "rb").read()
        if packed[:2] != b"\x1f\x8b":
            sys.exit(f"{path}: not gzip")
        size = struct.unpack("<I", packed[-4:])[0]
        out = ctypes.create_string_buffer(max(size, 1))
        got = ctypes.c_size_t()
        at = cpu()
        result = lib.libdeflate_gzip_decompress(inflater, packed, ctypes.c_size_t(len(packed)), out, ctypes.c_size_t(size), ctypes.byref(got))
        spent["inflate"] += cpu() - at
        if result:
            sys.exit(f"{path}: libdeflate says {result} (several members, or over 4 GiB)")
        at = cpu()
        hashlib.sha256(memoryview(out)[:size]).digest()
        spent["hash streams"] += cpu() - at
        at = cpu()
        hashlib.sha256(packed).digest()
        spent["hash blobs"] += cpu() - at
        stored += len(packed)
        stream += size
    total = sum(spent.values())
    print(f"stored {stored:,} B, streams {stream:,} B")
    print("  ".join(f"{part} {seconds:.2f} s" for part, seconds in spent.items()), f"  all {total:.2f} s CPU")


main()
