"""Writes two versions of a small image as OCI layouts, for kubernetes.sh and podman.sh.

The versions share a layer. In the other layer a program of 24 MB differs in some bytes, and 400
files differ in a version. No program in them runs: the scripts mount the one that does.

Usage: pair.py DIRECTORY      (writes DIRECTORY/old and DIRECTORY/new)
"""

import gzip
import hashlib
import io
import json
import pathlib
import random
import sys
import tarfile


def layer(files):
    """Returns a layer and its diff id; equal files give equal bytes."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(content), 0o755, 1_700_000_000
            tar.addfile(member, io.BytesIO(content))
    raw = stream.getvalue()
    return gzip.compress(raw, 6, mtime=0), "sha256:" + hashlib.sha256(raw).hexdigest()


def program(version):
    """Returns bytes that compress to about a half, and differ a little between versions."""
    source = random.Random(1)
    table = bytes(source.randrange(256) for _ in range(16)) * 16
    code = bytearray(source.randbytes(24_000_000).translate(table))
    for place in range(0, len(code), 400_000):
        code[place] ^= version
    return bytes(code)


def layers(version):
    """Returns the two layers of a version."""
    shared = [("lib/shared", random.Random(2).randbytes(500_000))]
    texts = [
        (f"share/{number}", f"part {number} of version {version}\n".encode() * 40)
        for number in range(400)
    ]
    return layer(shared), layer([("bin/program", program(version)), *texts])


def write(directory, version):
    """Writes the layout of a version."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(content, kind):
        digest = hashlib.sha256(content).hexdigest()
        (blobs / digest).write_bytes(content)
        media = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(content)}

    parts = layers(version)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/bin/program"]},
        "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in parts]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob(json.dumps(config).encode(), "config.v1+json"),
        "layers": [blob(content, "layer.v1.tar+gzip") for content, _ in parts],
    }
    index = {"schemaVersion": 2, "manifests": [blob(json.dumps(manifest).encode(), "manifest.v1+json")]}
    (directory / "index.json").write_text(json.dumps(index))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


for name, number in [("old", 1), ("new", 2)]:
    write(pathlib.Path(sys.argv[1]) / name, number)
