#!/usr/bin/env python3
"""Lists the packages that a built imgdelta consists of, as a CycloneDX 1.5 document, and gathers their licences.

Reads what cargo says of this source tree; fetches nothing. `--check FILE` looks over a document instead.
"""

import argparse
import datetime
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys
import tomllib
import uuid

PROGRAM = "imgdelta-cli"
LICENCE_FILE = re.compile(r"(licen[cs]e|copying|notice|unlicense)", re.IGNORECASE)


def run(*command):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def tree(target, features, *edges):
    """Returns (name, version) of all packages that the program's build reaches over these edges."""
    lines = run(
        "cargo", "tree", "--locked", "-p", PROGRAM, "--features", features, "--target", target,
        "-e", ",".join(edges), "--prefix", "none", "--no-dedupe", "--format", "{p}",
    )  # fmt: skip
    return {(name, version.removeprefix("v")) for name, version in (line.split()[:2] for line in lines.splitlines())}


class Package:
    """A package of the build, with what the document says of it."""

    def __init__(self, metadata, checksum, is_shipped):
        self.id = metadata["id"]
        self.name = metadata["name"]
        self.version = metadata["version"]
        self.folder = pathlib.Path(metadata["manifest_path"]).parent
        self.metadata = metadata
        self.checksum = checksum
        self.is_shipped = is_shipped
        self.purl = f"pkg:cargo/{self.name}@{self.version.replace('+', '%2B')}"

    def licence(self):
        # Old manifests separate alternatives with a slash, which SPDX no longer allows.
        return re.sub(r"\s*/\s*", " OR ", self.metadata["license"] or "")

    def component(self):
        component = {
            "type": "application" if self.name == PROGRAM else "library",
            "bom-ref": self.purl,
            "name": self.name,
            "version": self.version,
            "purl": self.purl,
        }
        if self.metadata["description"]:
            component["description"] = " ".join(self.metadata["description"].split())
        if self.name != PROGRAM:
            component["scope"] = "required" if self.is_shipped else "excluded"
        if self.licence():
            component["licenses"] = [{"expression": self.licence()}]
        if self.checksum:
            component["hashes"] = [{"alg": "SHA-256", "content": self.checksum}]
        if self.metadata["repository"]:
            component["externalReferences"] = [{"type": "vcs", "url": self.metadata["repository"]}]
        return component

    def licence_files(self):
        """Texts that the package carries, those of C sources in it included."""
        for path in sorted(self.folder.rglob("*")):
            if LICENCE_FILE.match(path.name) and path.is_file() and path.suffix not in (".rs", ".h", ".c", ".py"):
                yield path


def packages(target, features):
    metadata = json.loads(
        run("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", target,
            "--features", ",".join(f"{PROGRAM}/{feature}" for feature in features.split(",")))
    )  # fmt: skip
    with open(pathlib.Path(metadata["workspace_root"]) / "Cargo.lock", "rb") as file:
        lock = tomllib.load(file)["package"]
    checksums = {(entry["name"], entry["version"]): entry.get("checksum") for entry in lock}
    built = tree(target, features, "normal", "build")
    shipped = tree(target, features, "normal", "no-proc-macro")
    chosen = {}
    for entry in metadata["packages"]:
        key = (entry["name"], entry["version"])
        if key in built:
            chosen[entry["id"]] = Package(entry, checksums.get(key), key in shipped)
    missing = built - {(package.name, package.version) for package in chosen.values()}
    if missing:
        sys.exit(f"cargo tree and cargo metadata differ: {missing}")
    return chosen, metadata["resolve"]["nodes"]


def bill(chosen, nodes):
    """Makes the CycloneDX document."""
    components = sorted((package.component() for package in chosen.values()), key=lambda c: c["bom-ref"])
    program = next(component for component in components if component["name"] == PROGRAM)
    components.remove(program)
    dependencies = []
    for node in nodes:
        if node["id"] not in chosen:
            continue
        reached = {
            chosen[dependency["pkg"]].purl
            for dependency in node["deps"]
            if dependency["pkg"] in chosen and any(kind["kind"] != "dev" for kind in dependency["dep_kinds"])
        }
        dependencies.append({"ref": chosen[node["id"]].purl, "dependsOn": sorted(reached)})
    dependencies.sort(key=lambda dependency: dependency["ref"])
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    content = hashlib.sha256(json.dumps([components, dependencies]).encode()).hexdigest()
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        # Made from the content, so that equal builds have equal documents.
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).isoformat(),
            "component": program,
        },
        "components": components,
        "dependencies": dependencies,
    }


def licences(chosen):
    """Joins the licences of what is shipped; each text once, under the names of those that carry it."""
    texts = {}
    for package in sorted(chosen.values(), key=lambda package: (package.name, package.version)):
        if not package.is_shipped or package.checksum is None:
            continue
        for path in package.licence_files():
            text = path.read_text(errors="replace").strip()
            where = f"{package.name} {package.version}: {path.relative_to(package.folder)}"
            texts.setdefault(text, []).append(where)
    musl = pathlib.Path("/usr/share/doc/musl-dev/copyright")
    if musl.exists():
        texts.setdefault(musl.read_text(errors="replace").strip(), []).append("musl")
    listing = ["Packages that this program contains, and their licences.\n"]
    for package in sorted(chosen.values(), key=lambda package: (package.name, package.version)):
        if package.is_shipped and package.checksum is not None:
            listing.append(f"{package.name} {package.version}: {package.licence()}")
    listing += ["the Rust standard library, by its contributors: MIT OR Apache-2.0", "musl, the C library: MIT"]
    for text, places in texts.items():
        listing += ["\n" + "-" * 80, *places, "-" * 80, "", text]
    return "\n".join(listing) + "\n"


def check(path):
    """Looks over a document: what CycloneDX 1.5 requires, and what a reader of this one relies on."""
    with open(path) as file:
        document = json.load(file)
    assert document["bomFormat"] == "CycloneDX" and document["specVersion"] == "1.5"
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", document["serialNumber"])
    datetime.datetime.fromisoformat(document["metadata"]["timestamp"])
    program = document["metadata"]["component"]
    components = [program, *document["components"]]
    references = [component["bom-ref"] for component in components]
    assert len(references) == len(set(references)), "a reference stands for two components"
    for component in components:
        assert component["type"] in ("application", "library") and component["name"] and component["version"]
        assert component["purl"].startswith("pkg:cargo/"), component["purl"]
        assert component.get("scope") in (None, "required", "excluded")
        assert component.get("licenses"), f"{component['name']} has no licence"
        for digest in component.get("hashes", []):
            assert re.fullmatch("[0-9a-f]{64}", digest["content"]), component["name"]
    edges = {dependency["ref"]: dependency["dependsOn"] for dependency in document["dependencies"]}
    assert set(edges) == set(references), "a component without an entry among the dependencies"
    reached, waiting = set(), [program["bom-ref"]]
    while waiting:
        reference = waiting.pop()
        if reference not in reached:
            reached.add(reference)
            waiting += edges[reference]
    assert reached == set(references), f"nothing depends on {set(references) - reached}"
    print(f"{len(components)} components, each with a version, a licence and a way to the program")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", default="x86_64-unknown-linux-musl")
    parser.add_argument("--features", default="node,static-allocator", help="features of the program")
    parser.add_argument("--bill", type=pathlib.Path, help="write the CycloneDX document here")
    parser.add_argument("--licences", type=pathlib.Path, help="write the licences here")
    parser.add_argument("--check", type=pathlib.Path, metavar="FILE", help="look over this document")
    options = parser.parse_args()
    if options.check:
        check(options.check)
        return
    chosen, nodes = packages(options.target, options.features)
    if options.bill:
        options.bill.write_text(json.dumps(bill(chosen, nodes), indent=2) + "\n")
    if options.licences:
        options.licences.write_text(licences(chosen))


main()
