"""The outline: the target's documents, and how each layer comes about. docs/format.md, section 2."""
import hashlib
import json
from collections import namedtuple

import pack
from container import CARRIED, RECIPE
from wire import MAX_PLACE, Reader, Refused

ALGORITHMS = {0: ("sha256", 32), 1: ("sha512", 64)}
ENVELOPES = ["unknown", "base", "stored", "deflate", "zstd", "chunked"]
Layer = namedtuple("Layer", "blob blob_bytes media_type diff_id stream_bytes body number envelope recipe")


def digest_of(algorithm, data):
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def read_digest(reader):
    """An algorithm and a digest, as text."""
    kind = reader.byte()
    if kind not in ALGORITHMS:
        reader.refuse(f"digest algorithm {kind}")
    name, length = ALGORITHMS[kind]
    return f"{name}:{reader.bytes(length).hex()}"


class Outline:
    def __init__(self, sections, limits):
        streams = pack.unpack(sections[0].payload, 64, limits, "outline")
        names, media_type, platform, self.manifest, self.config, layers, compressions, times = streams[:8]
        names = Reader(names, "outline, names")
        kind = names.byte()
        if kind not in ALGORITHMS:
            names.refuse(f"digest algorithm {kind}")
        self.base = read_digest(names) if names.left() else None
        names.end()
        self.media_type, self.platform = media_type.decode("utf-8"), platform.decode("utf-8")
        self.digest = digest_of(ALGORITHMS[kind][0], self.manifest)
        manifest = json.loads(self.manifest)
        self.check_config(manifest)
        self.layers = self.read_layers(manifest, Reader(layers, "outline, layers"), Reader(compressions, "compressions"))
        times = Reader(times, "outline, times")
        for _ in self.layers:
            if times.left():
                times.number()
        times.end()
        self.check_sections(sections)

    def check_config(self, manifest):
        descriptor = manifest["config"]
        digest = digest_of(descriptor["digest"].split(":")[0], self.config)
        if digest != descriptor["digest"] or len(self.config) != descriptor["size"]:
            raise Refused("the config is not the manifest's")
        self.diff_ids = json.loads(self.config)["rootfs"]["diff_ids"]
        if len(self.diff_ids) != len(manifest["layers"]):
            raise Refused("config and manifest have different numbers of layers")

    def read_layers(self, manifest, reader, compressions):
        layers, used = [], {RECIPE: 0, CARRIED: 0}
        for descriptor, diff_id in zip(manifest["layers"], self.diff_ids):
            stream_bytes, word, envelope = reader.number(), reader.number(), reader.number()
            if stream_bytes > MAX_PLACE or envelope >= len(ENVELOPES):
                reader.refuse("a layer")
            body = {0: None, 1: RECIPE, 2: CARRIED}.get(word & 3, "unknown")
            if body == "unknown" or (body is None and word) or (body == CARRIED and envelope):
                reader.refuse(f"body {word} with envelope {envelope}")
            number = None
            if body is not None:
                number = used[body] - (word >> 2)
                if number < 0:
                    reader.refuse("an earlier body that is not there")
                used[body] += number == used[body]
            recipe = compressions.bytes(reader.number()) if envelope >= 3 else None
            if ENVELOPES[envelope] == "stored" and descriptor["size"] != stream_bytes:
                reader.refuse("a stored stream not as long as the blob")
            layers.append(Layer(descriptor["digest"], descriptor["size"], descriptor.get("mediaType", ""), diff_id,
                                stream_bytes, body, number, ENVELOPES[envelope], recipe))
        reader.end()
        compressions.end()
        self.used = used
        return layers

    def check_sections(self, sections):
        for kind in (RECIPE, CARRIED):
            if [section.kind for section in sections].count(kind) != self.used[kind]:
                raise Refused("a recipe or carried section is not used, or missing")
        carried = [section for section in sections if section.kind == CARRIED]
        for layer in self.layers:
            if layer.body == CARRIED and len(carried[layer.number].payload) != layer.blob_bytes:
                raise Refused("a carried section not as long as the blob")
