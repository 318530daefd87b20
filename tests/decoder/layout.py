"""Base images: OCI layouts, as directories or as archives, and their layers' streams by diff id."""
import gzip
import hashlib
import io
import json
import os
import tarfile

import zstandard

from wire import Refused

INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")


class Layout:
    """An OCI layout, with all images in it."""

    def __init__(self, path):
        self.path = path
        self.members = None
        if os.path.isfile(path):
            with tarfile.open(path) as tar:
                files = [member for member in tar if member.isfile()]
                self.members = {os.path.normpath(m.name): tar.extractfile(m).read() for m in files}
        self.layers = {}
        self.blobs = set()
        for descriptor in json.loads(self.file("index.json"))["manifests"]:
            self.add(descriptor)

    def file(self, name):
        if self.members is not None:
            return self.members[name]
        with open(os.path.join(self.path, name), "rb") as file:
            return file.read()

    def blob(self, digest):
        algorithm, text = digest.split(":")
        data = self.file(f"blobs/{algorithm}/{text}")
        if hashlib.new(algorithm, data).hexdigest() != text:
            raise Refused(f"base blob {digest} is damaged")
        return data

    def add(self, descriptor):
        document = json.loads(self.blob(descriptor["digest"]))
        if document.get("mediaType", descriptor["mediaType"]) in INDEXES or "manifests" in document:
            for inner in document["manifests"]:
                self.add(inner)
            return
        diff_ids = json.loads(self.blob(document["config"]["digest"]))["rootfs"]["diff_ids"]
        for layer, diff_id in zip(document["layers"], diff_ids):
            self.layers[diff_id] = layer["digest"]
            self.blobs.add(layer["digest"])

    def stream(self, diff_id):
        """The layer's uncompressed bytes, or None."""
        if diff_id not in self.layers:
            return None
        stream = inflate(self.blob(self.layers[diff_id]))
        check(stream, diff_id, "base stream")
        return stream


def inflate(blob):
    if blob[:2] == b"\x1f\x8b":
        return gzip.decompress(blob)
    # A zstd frame, or a skippable one before it.
    if blob[:4] == b"\x28\xb5\x2f\xfd" or blob[1:4] == b"\x2a\x4d\x18":
        with zstandard.ZstdDecompressor(max_window_size=1 << 31).stream_reader(io.BytesIO(blob), read_across_frames=True) as reader:
            return reader.read()
    return blob


def check(data, digest, what):
    algorithm, text = digest.split(":")
    found = hashlib.new(algorithm, data).hexdigest()
    if found != text:
        raise Refused(f"{what}: {algorithm}:{found}, should be {digest}")


class Space:
    """An address space: pieces one after another."""

    def __init__(self, pieces):
        self.data = bytearray().join(pieces)

    def add(self, data):
        self.data += data

    def read(self, address, length):
        if address + length > len(self.data):
            raise Refused(f"bytes {address} to {address + length} of an address space of {len(self.data)}")
        return bytes(self.data[address : address + length])
