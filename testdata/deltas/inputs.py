#!/usr/bin/env python3
"""Makes inputs.tar.xz: programs before and after a change, and compressed layers of encoders that Python does not have.

    testdata/deltas/inputs.py [--newer-go GO]

Needs g++, g++-aarch64-linux-gnu, Debian 12's golang-go, skopeo and zstd, and a Go from 1.20 to 1.26 for --newer-go. The file is committed,
since other compilers give other bytes; nobody needs to run this unless a case needs other inputs.
"""
import argparse
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile

sys.dont_write_bytecode = True
import make

HERE = os.path.dirname(os.path.abspath(__file__))


def run(*words, **environment):
    subprocess.run(words, check=True, env={**os.environ, **environment})


def cxx(version):
    """Functions with calls, tables, strings and exceptions; the second version has more of them, and changes some."""
    lines = ["#include <stdexcept>", "struct base { virtual long run(long) = 0; virtual ~base() {} };", "extern long shared[64];"]
    lines += ["long shared[64]; extern const char *names[]; long helper(long x); long (*volatile hooks[8])(long);"]
    lines += ["typedef long two __attribute__((vector_size(16))); two pairs[64];"]
    numbers = [i for i in range(60)] + (list(range(1000, 1040)) if version == 2 else [])
    numbers.sort(key=lambda i: (i * 7) % 61)
    for i in numbers:
        more = version if i % 9 == 0 else 1
        lines.append(f"""
struct kind{i} : base {{ long run(long x) override {{ shared[{i % 64}] += x * {i + more}; return helper(x) + shared[{(i * 5) % 64}]; }} }};
__attribute__((noinline)) long work{i}(long x) {{
  static kind{i} own; base *any = &own; long sum = 0;
  try {{ for (long k = 0; k < x; k++) {{ sum += any->run(k ^ {i * 13 + more}); if (sum == {i}) throw std::runtime_error(names[{i % 60}]); }} }}
  catch (const std::exception &error) {{ sum -= error.what()[0] + {i}; shared[{i % 64}] = helper(sum); }}
  switch (x & 15) {{ case 0: return sum + {i}; case 1: return helper(sum) * 3; case 2: return shared[1] ^ {i}; case 3: return sum - 9;
    case 4: return helper(x) / 7; case 5: return x << 3; case 6: return names[3][1]; case 7: return hooks[{i % 8}](sum);
    case 8: pairs[{i % 64}] += pairs[{(i * 3) % 64}]; return 0; default: return sum; }}
}}""")
    lines.append("const char *names[] = {" + ", ".join(f'"name {i} of version {version if i % 20 == 0 else 1}"' for i in range(60)) + "};")
    lines.append("__attribute__((noinline)) long helper(long x) { return x * 2654435761 >> 7; }")
    lines.append("long all(long x) { return " + " + ".join(f"work{i}(x)" for i in numbers) + "; }")
    return "\n".join(lines)


def go(version):
    """Types with methods, interfaces, closures, and calls that are inlined."""
    numbers = range(12 if version == 1 else 17)
    lines = ["package main", "type shape interface { area(int) int; grow(int); name() string }"]
    for i in numbers:
        more = version if i % 4 == 0 else 1
        lines.append(f"""
type kind{i} struct {{ side, depth int; label string; next *kind{i}; points [{i + 2}]int }}
func (k *kind{i}) area(x int) int {{ for j := range k.points {{ k.points[j] += x * {i + more} }}; return k.side*x + k.points[1] }}
func (k *kind{i}) grow(x int) {{ k.side += x + {more}; k.next = &kind{i}{{side: x, label: k.label + "{i}"}} }}
func (k *kind{i}) name() string {{ return k.label }}
func Work{i}(x int) int {{ shapes = append(shapes, &kind{i}{{side: x, label: "kind {i}"}}); f := func(y int) int {{ return y + x*{i} }}; return f(x) + len(shapes) }}""")
    lines.append("var shapes []shape\nfunc main() { x := 0; " + "; ".join(f"x += Work{i}(x)" for i in numbers))
    lines.append("for _, s := range shapes { s.grow(x); println(s.area(x), s.name()) } }")
    return "\n".join(lines)


def programs(directory, newer_go):
    for version in (1, 2):
        def write(name, text):
            path = os.path.join(directory, name)
            with open(path, "w") as file:
                file.write(text)
            return path

        out = lambda name: os.path.join(directory, f"{name}-{version}")
        source = write("a.cc", cxx(version))
        flags = ["-O1", "-fPIC", "-shared", "-Wl,--build-id=none", f"-ffile-prefix-map={directory}=."]
        run("g++", *flags, "-g1", source, "-o", out("x86_64"))
        run("aarch64-linux-gnu-g++", *flags, "-Wl,-z,max-page-size=4096", source, "-o", out("aarch64"))
        source = write("a.go", go(version))
        for name, program in (("go-old", "go"), ("go-new", newer_go)):
            run(program, "build", "-trimpath", "-ldflags", "-s -w -buildid=", "-o", out(name), source, CGO_ENABLED="0", GOARCH="amd64")
        yield from ((f"{name}-{version}", out(name)) for name in ("x86_64", "aarch64", "go-old", "go-new"))


def layers(directory):
    """Layers of the cases zstd and chunked, compressed by skopeo."""
    for case, form in (("zstd", "zstd"), ("chunked", "zstd:chunked")):
        image = make.CASES[case]({}).new
        plain, packed = os.path.join(directory, case), os.path.join(directory, case + "-packed")
        make.write_layout(make.Image([make.stored(layer.stream) for layer in image.layers]), plain)
        run("skopeo", "copy", "-q", "--dest-compress-format", form, "--dest-compress", f"oci:{plain}:image", f"oci:{packed}:image")
        with open(os.path.join(packed, "index.json")) as file:
            digest = json.load(file)["manifests"][0]["digest"]
        blob = lambda digest: os.path.join(packed, "blobs", *digest.split(":"))
        with open(blob(digest)) as file:
            manifest = json.load(file)
        for number, layer in enumerate(manifest["layers"]):
            yield f"{case}-{number}", blob(layer["digest"])


def carried(directory):
    """A layer by an encoder that the program cannot follow."""
    plain = os.path.join(directory, "carried")
    with open(plain, "wb") as file:
        file.write(make.CASES["carried"]({}).new.layers[0].stream)
    run("zstd", "-q", "-9", plain)
    yield "carried-0", plain + ".zst"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--newer-go", default="go")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        files = [*programs(directory, options.newer_go), *layers(directory), *carried(directory)]
        with tarfile.open(os.path.join(HERE, "inputs.tar.xz"), "w:xz", preset=9, format=tarfile.USTAR_FORMAT) as tar:
            for name, path in sorted(files):
                with open(path, "rb") as file:
                    data = file.read()
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
                print(name, len(data))


if __name__ == "__main__":
    main()
