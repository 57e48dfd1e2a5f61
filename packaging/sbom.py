#!/usr/bin/env python3
"""sbom.py TARGET: prints, as CycloneDX 1.5, the libraries in the program for this target.

`cargo tree` names the libraries, Cargo.lock has the checksums of their sources. The output holds
neither a time nor a serial number, so that the same sources give the same bytes.
docs/decisions/0002-sbom.md says why this is not a tool of others.
"""

import json
import subprocess
import sys
import tomllib

FORMAT = "{p}|{l}"


def linked(target):
    """Yields (name, version, license) of every package, the program itself first."""
    tree = subprocess.run(
        ["cargo", "tree", "--locked", "--edges", "normal,no-proc-macro", "--target", target,
         "--prefix", "none", "--format", FORMAT],
        check=True, capture_output=True, text=True, timeout=120,
    )
    for line in dict.fromkeys(tree.stdout.splitlines()):
        package, license = line.removesuffix(" (*)").split("|")
        name, version = package.split()[:2]
        yield name, version.removeprefix("v"), license.replace("/", " OR ")


def component(name, version, license, checksum=None):
    kind = "library" if checksum else "application"
    purl = f"pkg:cargo/{name}@{version}"
    described = {"type": kind, "bom-ref": purl, "name": name, "version": version, "purl": purl,
                 "licenses": [{"expression": license}]}
    if checksum:
        described["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return described


def main():
    with open("Cargo.lock", "rb") as file:
        checksums = {(p["name"], p["version"]): p.get("checksum") for p in tomllib.load(file)["package"]}
    (program, *libraries) = dict.fromkeys(linked(sys.argv[1]))
    bom = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(*program)},
        "components": sorted(
            (component(*library, checksums[library[:2]]) for library in libraries),
            key=lambda described: described["purl"],
        ),
    }
    json.dump(bom, sys.stdout, indent=1)
    print()


main()
