#!/usr/bin/env python3
"""Makes testdata/small: two tiny OCI layouts, a version and the next, with one of everything a diff tells.

    testdata/make-small.py testdata/small

The same bytes every time with the same zlib; the layouts are committed, so nobody needs to run it.
"""
import gzip, hashlib, io, json, os, shutil, sys, tarfile

OUT = sys.argv[1]
OLD_TIME, NEW_TIME = 1_700_000_000, 1_710_000_000


def layer(*members):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for member in members:
            tar.addfile(*member)
    return stream.getvalue()


def entry(path, kind=tarfile.REGTYPE, mode=0o644, time=OLD_TIME, link="", xattrs={}, owner=0):
    info = tarfile.TarInfo(path)
    info.type, info.mode, info.mtime, info.linkname = kind, mode, time, link
    info.uid = info.gid = owner
    info.pax_headers = {f"SCHILY.xattr.{name}": value for name, value in xattrs.items()}
    return info


def file(path, content, **facts):
    info = entry(path, **facts)
    info.size = len(content)
    return info, io.BytesIO(content)


def directory(path, **facts):
    return (entry(path, tarfile.DIRTYPE, facts.pop("mode", 0o755), **facts),)


def link(path, to, **facts):
    return (entry(path, tarfile.SYMTYPE, 0o777, link=to, **facts),)


def hard(path, to, **facts):
    return (entry(path, tarfile.LNKTYPE, link=to, **facts),)


def noise(seed, size):
    """Bytes that do not compress and are the same everywhere."""
    out = b""
    while len(out) < size:
        out += hashlib.sha256(b"%d %d" % (seed, len(out))).digest()
    return out[:size]


def dpkg(*packages):
    stanza = "Package: {}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {}\nDescription: an example\n\n"
    return "".join(stanza.format(*package) for package in packages).encode()


def blob(layout, content):
    name = hashlib.sha256(content).hexdigest()
    with open(f"{layout}/blobs/sha256/{name}", "wb") as out:
        out.write(content)
    return {"digest": f"sha256:{name}", "size": len(content)}


def image(name, layers, config, created):
    layout = f"{OUT}/{name}"
    shutil.rmtree(layout, ignore_errors=True)
    os.makedirs(f"{layout}/blobs/sha256")
    described, diff_ids, history = [], [], []
    for made_by, stream, level in layers:
        packed = gzip.compress(stream, level, mtime=0)
        media_type = "application/vnd.oci.image.layer.v1.tar+gzip"
        described.append({"mediaType": media_type, **blob(layout, packed)})
        diff_ids.append("sha256:" + hashlib.sha256(stream).hexdigest())
        history.append({"created": created, "created_by": made_by})
    whole = {
        "created": created, "architecture": "amd64", "os": "linux", "config": config,
        "rootfs": {"type": "layers", "diff_ids": diff_ids}, "history": history,
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", **blob(layout, json.dumps(whole).encode())},
        "layers": described,
    }
    top = {"mediaType": manifest["mediaType"], **blob(layout, json.dumps(manifest).encode())}
    top["annotations"] = {"org.opencontainers.image.ref.name": name}
    with open(f"{layout}/index.json", "w") as out:
        json.dump({"schemaVersion": 2, "manifests": [top]}, out)
    with open(f"{layout}/oci-layout", "w") as out:
        json.dump({"imageLayoutVersion": "1.0.0"}, out)


base = layer(
    directory("etc"), file("etc/os-release", b'NAME="Example"\nVERSION_ID=1\n'),
    file("etc/shadow", b"root:*:1::::::\n", mode=0o640),
    directory("usr"), directory("usr/bin"), directory("usr/lib"), link("bin", "usr/bin"),
    file("usr/bin/tool", noise(1, 3000), mode=0o755), file("usr/lib/libdemo.so.1", noise(2, 5000)),
    directory("var"), directory("var/lib"), directory("var/lib/dpkg"), directory("var/lib/dpkg/info"),
    file("var/lib/dpkg/status", dpkg(("libdemo1", "1.0-1"), ("tool", "2.1-1"))),
    file("var/lib/dpkg/info/tool.list", b"/.\n/usr\n/usr/bin\n/usr/bin/tool\n"),
    file("var/lib/dpkg/info/libdemo1:amd64.list", b"/.\n/usr\n/usr/lib\n/usr/lib/libdemo.so.1\n"),
)
security = layer(
    directory("usr", time=NEW_TIME), directory("usr/bin", time=NEW_TIME),
    file("bin/tool", noise(1, 2000) + noise(3, 1200), mode=0o755, time=NEW_TIME),
    file("var/lib/dpkg/status", dpkg(("libdemo1", "1.0-1"), ("tool", "2.1-1+deb1")), time=NEW_TIME),
)
site = "usr/lib/python3/dist-packages"
python = layer(
    directory(f"{site}/hello"), file(f"{site}/hello/__init__.py", b"def hello():\n    return 'hello'\n"),
    directory(f"{site}/hello-1.2.dist-info"),
    file(f"{site}/hello-1.2.dist-info/METADATA", b"Metadata-Version: 2.1\nName: hello\nVersion: 1.2\n"),
    file(f"{site}/hello-1.2.dist-info/RECORD", b"hello/__init__.py,,\nhello-1.2.dist-info/METADATA,,\n"),
)
debug = layer(directory("opt"), file("opt/debugger", noise(4, 4000), mode=0o755))


def app(time, main, logo, tag, more):
    return layer(
        directory("app", time=time), file("app/main.py", main, mode=0o755, time=time),
        *(file(f"app/page{n}.html", b"<p>page %d</p>\n" % n * 20, time=time) for n in range(5)),
        file(logo, noise(5, 2500), time=time),
        link("app/current", tag, time=time),
        *more,
    )


old_app = app(
    OLD_TIME, b"import hello\nprint(hello.hello(), 1)\n", "app/static/logo.png", "releases/1",
    [file("app/run", b"#!/bin/sh\nexec python3 main.py\n", mode=0o755),
     hard("app/start", "app/run"), file("app/notes.txt", b"remember\n"),
     file("app/cap", b"capable\n", xattrs={"user.level": "low"})],
)
new_app = app(
    NEW_TIME, b"import hello\nprint(hello.hello(), 2)\nprint('and more')\n", "app/assets/logo.png", "releases/2",
    [file("app/run", b"#!/bin/sh\nexec python3 main.py\n", mode=0o700, owner=1000),
     file("app/start", b"#!/bin/sh\nexec python3 main.py\n", mode=0o755),
     link("app/notes.txt", "/dev/null"), file("app/cap", b"capable\n", xattrs={"user.level": "high"}),
     file("app/odd \x1b[31mname\n", b""),
     file("etc/.wh.shadow", b"")],
)
image("old", [
    ("ADD base.tar /", base, 9), ("RUN install-debugger", debug, 9),
    ("RUN pip install hello", python, 9), ("COPY app /app", old_app, 9),
], {"Env": ["PATH=/usr/bin", "MODE=test"], "Cmd": ["/app/run"], "Labels": {"version": "1"}}, "2023-11-14T22:13:20Z")
image("new", [
    ("ADD base.tar /", base, 9), ("RUN apt-get upgrade", security, 9),
    ("RUN pip install hello", python, 1), ("COPY app /app", new_app, 9),
], {"Env": ["PATH=/usr/bin", "MODE=live"], "Cmd": ["/app/run"], "Labels": {"version": "2"}, "User": "1000"}, "2024-03-09T16:00:00Z")
