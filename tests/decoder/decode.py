#!/usr/bin/env python3
"""Decodes a delta file by docs/format.md and the pages it names: small, slow, and apart from the program.

    tests/decoder/decode.py DELTA BASE [-o OUTDIR] [--limit-bytes N] [--no-section-digests]

BASE is an OCI layout, a directory or an archive. Every layer's uncompressed stream is rebuilt and compared with its diff
id, or, if it is carried, its blob with the manifest. One line is printed for each layer: number, how it comes about, diff id, length.
With -o, streams are written to OUTDIR under the hexadecimal digits of their diff ids, manifest and config next to them.

Not done: blobs are not compressed again, except stored ones and those by zlib's model, for which Python's zlib serves. An
archive in a layer that needs another model makes that layer `skipped`; the exit code is then 3. What does not decode is reported and
exits with 1.
"""
import argparse
import os
import sys

import container
from envelopes import DeflateRecipe, NoModel
from layout import Layout, check, inflate
from outline import Outline
from rebuild import Rebuild
from recipe import Recipe
from wire import Limits, Refused


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("delta")
    parser.add_argument("base")
    parser.add_argument("-o", "--output", help="write streams, manifest and config to this directory")
    parser.add_argument("--limit-bytes", type=int, default=1 << 30, help="refuse longer streams (default: 1 GiB)")
    parser.add_argument("--no-section-digests", action="store_true", help="do not hash sections: saves a minute per 30 MB")
    options = parser.parse_args()
    try:
        return decode(options)
    except Refused as error:
        print(f"refused: {error}", file=sys.stderr)
        return 1


def decode(options):
    limits = Limits(stream_bytes=options.limit_bytes)
    with open(options.delta, "rb") as file:
        sections = container.read(file.read(), not options.no_section_digests)
    outline = Outline(sections, limits)
    decoder = Decoder(outline, sections, Layout(options.base), limits)
    print(f"target {outline.digest}")
    skipped = False
    for number, layer in enumerate(outline.layers, 1):
        key = (layer.diff_id, layer.stream_bytes)
        try:
            how, stream = decoder.layer(layer)
            check(stream, layer.diff_id, f"layer {number}")
            if how != "kept":
                decoder.streams.setdefault(key, stream)
            envelope = decoder.envelope(layer, stream)
        except NoModel as model:
            print(f"layer {number} skipped: an archive in it needs the encoder model {model}")
            skipped = True
            decoder.streams.setdefault(key, None)
            continue
        if len(stream) != layer.stream_bytes:
            raise Refused(f"layer {number}: {len(stream)} bytes, should be {layer.stream_bytes}")
        print(f"layer {number} {how} {layer.diff_id} {len(stream)} {envelope}")
        if options.output:
            write(options.output, layer.diff_id.split(":")[1], stream)
    if options.output:
        write(options.output, "manifest.json", outline.manifest)
        write(options.output, "config.json", outline.config)
    return 3 if skipped else 0


class Decoder:
    """Makes the streams of layers."""

    def __init__(self, outline, sections, layout, limits):
        self.outline, self.layout, self.limits, self.made = outline, layout, limits, {}
        # Streams of layers before the present one that are not kept; None if one was skipped.
        self.streams = {}
        self.payloads = {kind: [s.payload for s in sections if s.kind == kind] for kind in (container.RECIPE, container.CARRIED)}

    def source_stream(self, source):
        """A source of a recipe: a target stream, or one of the base's."""
        if (source.diff_id, source.bytes) in self.streams:
            stream = self.streams[source.diff_id, source.bytes]
            if stream is None:
                raise NoModel("of an earlier layer")
            return stream
        stream = self.layout.stream(source.diff_id)
        if stream is None or len(stream) != source.bytes:
            raise Refused(f"the base has no stream {source.diff_id} of {source.bytes} bytes")
        return stream

    def layer(self, layer):
        """How the layer comes about, and its stream."""
        if layer.body is None:
            stream = self.layout.stream(layer.diff_id)
            if stream is None:
                raise Refused(f"the base has no stream {layer.diff_id}")
            return "kept", stream
        payload = self.payloads[layer.body][layer.number]
        if layer.body == container.CARRIED:
            check(payload, layer.blob, "carried blob")
            return "carried", inflate(payload)
        if layer.number not in self.made:
            recipe = Recipe(payload, self.limits)
            if (recipe.target.diff_id, recipe.target.bytes) != (layer.diff_id, layer.stream_bytes):
                raise Refused("a recipe for another stream than the layer's")
            self.made[layer.number] = Rebuild(recipe, self.source_stream, self.limits).stream()
        return "rebuilt", self.made[layer.number]

    def envelope(self, layer, stream):
        """Makes the blob, where that is easy, and says what became of it."""
        if layer.body == container.CARRIED:
            return "blob-carried"
        if layer.envelope == "base":
            if layer.blob not in self.layout.blobs:
                raise Refused(f"the base has no blob {layer.blob}")
            return "blob-in-base"
        if layer.envelope == "stored":
            check(stream, layer.blob, "blob")
            return "blob-stored"
        if layer.envelope == "deflate":
            try:
                check(DeflateRecipe(layer.recipe).make(stream), layer.blob, "blob")
                return "blob-deflate"
            except NoModel:
                pass
        return f"blob-not-made-{layer.envelope}"


def write(directory, name, data):
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, name), "wb") as file:
        file.write(data)


if __name__ == "__main__":
    sys.exit(main())
