#!/usr/bin/env python3
"""Sets imgdelta beside other delta tools on a pair of images, in one run.

    benches/peers.py [--tools zstd-3,xdelta3] [--imgdelta PATH] OLD:TAG NEW:TAG ...

OLD and NEW are OCI layouts. The task: who holds the tar streams of OLD's layers wants those of
NEW's layers that OLD lacks, byte for byte. Other tools get the streams in two files, one after
another, as they know no images; imgdelta gets the images (its times include inflating and hashing
them, so that cost is measured apart and printed as `floor`). What a tool rebuilds is compared;
size, CPU seconds and peak memory of making and applying are printed as a table. Tools that are
not installed are named and left out.
"""

import argparse
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile


def blob(layout, digest):
    return os.path.join(layout, "blobs", *digest.split(":"))


def layers(reference):
    """The layers of an image: diff id, blob path, compression."""
    layout, _, tag = reference.rpartition(":")
    index = json.load(open(os.path.join(layout, "index.json")))
    named = [
        m for m in index["manifests"]
        if m.get("annotations", {}).get("org.opencontainers.image.ref.name") == tag
    ]
    manifest = json.load(open(blob(layout, named[0]["digest"])))
    config = json.load(open(blob(layout, manifest["config"]["digest"])))
    found = []
    for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"]):
        found.append((diff_id, blob(layout, layer["digest"])))
    return found


def stream(path, out):
    """Inflates one blob into `out`."""
    with open(path, "rb") as file:
        magic = file.read(4)
        file.seek(0)
        if magic[:2] == b"\x1f\x8b":
            shutil.copyfileobj(gzip.GzipFile(fileobj=file), out, 1 << 20)
        elif magic == b"\x28\xb5\x2f\xfd":
            subprocess.run(["zstd", "-dcq", path], stdout=out, check=True)
        else:
            shutil.copyfileobj(file, out, 1 << 20)


def measured(command, stdin=None, stdout=None):
    """Runs a command; returns CPU seconds and peak MiB."""
    out = open(stdout, "wb") if stdout else subprocess.DEVNULL
    source = open(stdin, "rb") if stdin else subprocess.DEVNULL
    child = subprocess.Popen(command, stdin=source, stdout=out, stderr=subprocess.PIPE)
    complaint = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise RuntimeError(f"{command[0]}: {complaint.decode(errors='replace').strip()[-300:]}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def same(one, other):
    return subprocess.run(["cmp", "-s", one, other]).returncode == 0


class Peer:
    """A tool as two commands: `make` writes the delta, `apply` rebuilds."""

    def __init__(self, program, make, apply, make_stdout=False):
        self.program, self.make, self.apply, self.make_stdout = program, make, apply, make_stdout

    def run(self, old, new, dir):
        delta, rebuilt = os.path.join(dir, "delta"), os.path.join(dir, "rebuilt")
        fill = lambda words: [
            w.format(old=old, new=new, delta=delta, rebuilt=rebuilt, size=os.path.getsize(old))
            for w in words
        ]
        made = measured(fill(self.make), stdout=delta if self.make_stdout else None)
        applied = measured(fill(self.apply))
        if not same(new, rebuilt):
            raise RuntimeError(f"{self.program}: rebuilt other bytes")
        size = os.path.getsize(delta)
        os.remove(delta)
        os.remove(rebuilt)
        return size, made, applied


def zstd(level):
    return Peer(
        "zstd",
        ["zstd", f"-{level}", "--single-thread", "--ultra", "--long=31", "--patch-from={old}",
         "{new}", "-qfo", "{delta}"],
        ["zstd", "-d", "--long=31", "--memory=2048MB", "--patch-from={old}", "{delta}", "-qfo",
         "{rebuilt}"],
    )


PEERS = {
    "zstd-3": zstd(3),
    "zstd-9": zstd(9),
    "zstd-19": zstd(19),
    "xdelta3": Peer(
        "xdelta3",
        ["xdelta3", "-e", "-9", "-S", "lzma", "-B", "{size}", "-W", "16777216", "-f", "-s", "{old}",
         "{new}", "{delta}"],
        ["xdelta3", "-d", "-B", "{size}", "-f", "-s", "{old}", "{delta}", "{rebuilt}"],
    ),
    "bsdiff": Peer(
        "bsdiff", ["bsdiff", "{old}", "{new}", "{delta}"], ["bspatch", "{old}", "{rebuilt}", "{delta}"]
    ),
    "hdiffz": Peer(
        "hdiffz",
        ["hdiffz", "-m-6", "-SD", "-p-1", "-c-zstd-21-27", "-f", "{old}", "{new}", "{delta}"],
        ["hpatchz", "-f", "{old}", "{delta}", "{rebuilt}"],
    ),
}


def rdiff(old, new, dir):
    """A signature of old, a delta against it, compressed as it would be sent."""
    signature, delta = os.path.join(dir, "signature"), os.path.join(dir, "delta")
    packed, rebuilt = os.path.join(dir, "packed"), os.path.join(dir, "rebuilt")
    steps = [
        measured(["rdiff", "signature", old, signature]),
        measured(["rdiff", "delta", signature, new, delta]),
        measured(["zstd", "-9", "-qf", delta, "-o", packed]),
    ]
    made = sum(cpu for cpu, _ in steps), max(mib for _, mib in steps)
    applied = measured(["rdiff", "patch", old, delta, rebuilt])
    if not same(new, rebuilt):
        raise RuntimeError("rdiff: rebuilt other bytes")
    return os.path.getsize(packed), made, applied


def casync(old, new, dir):
    """Chunks of new that old has not, and new's index."""
    have, want = os.path.join(dir, "have"), os.path.join(dir, "want")
    index = os.path.join(dir, "new.caibx")
    measured(["casync", "make", f"--store={have}", os.path.join(dir, "old.caibx"), old])
    made = measured(["casync", "make", f"--store={want}", index, new])
    chunks = lambda store: {
        name: os.path.join(root, name) for root, _, names in os.walk(store) for name in names
    }
    had = chunks(have)
    size = os.path.getsize(index) + sum(
        os.path.getsize(path) for name, path in chunks(want).items() if name not in had
    )
    rebuilt = os.path.join(dir, "rebuilt")
    applied = measured(["casync", "extract", f"--store={want}", index, rebuilt])
    if not same(new, rebuilt):
        raise RuntimeError("casync: rebuilt other bytes")
    return size, made, applied


def imgdelta(program, preset, old, new, dir):
    delta, out = os.path.join(dir, "delta"), os.path.join(dir, "out")
    scratch = ["--scratch", dir, "-j", "1", "-q"]
    made = measured(
        [program, "create", "--layers", "uncompressed", "--preset", preset, "--no-prove",
         "oci:" + old, "oci:" + new, "-o", delta] + scratch
    )
    applied = measured(
        [program, "apply", delta, "--base", "oci:" + old, "--layers", "uncompressed",
         "-o", f"oci:{out}:new"] + scratch
    )
    # Each layer's blob is its stream now: its digest must be the diff id.
    wanted = [diff_id for diff_id, _ in layers(new)]
    for diff_id, path in layers(out + ":new"):
        found = hashlib.file_digest(open(path, "rb"), "sha256").hexdigest()
        if diff_id != "sha256:" + found or diff_id not in wanted:
            raise RuntimeError("imgdelta: rebuilt other bytes")
    size = os.path.getsize(delta)
    os.remove(delta)
    shutil.rmtree(out)
    return size, made, applied


def floor(old, new):
    """CPU of inflating and hashing what imgdelta reads, by one process a layer."""
    seconds = 0
    for path in {path for _, path in layers(old) + layers(new)}:
        for digest in (True, False):
            command = "sha256sum" if digest else "gzip -dcf | sha256sum"
            if not digest and open(path, "rb").read(4) == b"\x28\xb5\x2f\xfd":
                command = "zstd -dc | sha256sum"
            seconds += measured(["sh", "-c", command], stdin=path)[0]
    return seconds


def pair(old, new, tools, program, scratch):
    held = {diff_id for diff_id, _ in layers(old)}
    with tempfile.TemporaryDirectory(dir=scratch) as dir:
        old_tar, new_tar = os.path.join(dir, "old.cat"), os.path.join(dir, "new.cat")
        with open(old_tar, "wb") as out:
            for _, path in layers(old):
                stream(path, out)
                out.flush()
        with open(new_tar, "wb") as out:
            for diff_id, path in layers(new):
                if diff_id not in held:
                    stream(path, out)
                    out.flush()
        print(f"\n{old} -> {new}: {os.path.getsize(old_tar):,} and {os.path.getsize(new_tar):,} bytes")
        print(f"floor (gzip -dc and sha256sum of all blobs and streams): {floor(old, new):.2f} s\n")
        print("| tool | bytes | make CPU s | MiB | apply CPU s | MiB |")
        print("|---|--:|--:|--:|--:|--:|")
        for tool in tools:
            try:
                if tool.startswith("imgdelta"):
                    figures = imgdelta(program, tool.partition("-")[2] or "default", old, new, dir)
                elif tool in ("rdiff", "casync"):
                    if not shutil.which(tool):
                        raise RuntimeError("not installed")
                    figures = {"rdiff": rdiff, "casync": casync}[tool](old_tar, new_tar, dir)
                else:
                    if not shutil.which(PEERS[tool].program):
                        raise RuntimeError("not installed")
                    figures = PEERS[tool].run(old_tar, new_tar, dir)
            except RuntimeError as error:
                print(f"| {tool} | {error} | | | | |", flush=True)
                continue
            size, made, applied = figures
            print(
                f"| {tool} | {size:,} | {made[0]:.2f} | {made[1]:.0f} "
                f"| {applied[0]:.2f} | {applied[1]:.0f} |",
                flush=True,
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("images", nargs="+", metavar="LAYOUT:TAG", help="old and new, in turn")
    parser.add_argument(
        "--tools",
        default="imgdelta-fast,imgdelta-default,imgdelta-best,zstd-3,zstd-19,xdelta3,rdiff,casync,hdiffz",
        help="comma-separated; also zstd-9, bsdiff (17 bytes of memory a byte)",
    )
    parser.add_argument("--imgdelta", default="target/release/imgdelta", metavar="PROGRAM")
    parser.add_argument("--scratch", default=None, help="room for both images unpacked, twice")
    args = parser.parse_args()
    if len(args.images) % 2:
        parser.error("images come in pairs: OLD NEW")
    for old, new in zip(args.images[::2], args.images[1::2]):
        pair(old, new, args.tools.split(","), args.imgdelta, args.scratch)


if __name__ == "__main__":
    sys.exit(main())
