"""Fuzzes the manifest reader, guided by coverage, until it is stopped; pytest does not collect it.

Needs the package `atheris`, which is no dependency of ours:

    pip install atheris
    mkdir corpus && cp ARTIFACT/manifest.json corpus/
    python tests/edge/fuzz_manifest.py corpus -max_total_time=300

Anything but a manifest or an ArtifactError stops it and leaves the input as `crash-*`.
"""

from __future__ import annotations

import contextlib
import sys

import atheris

with atheris.instrument_imports(include=["escalade.edge"]):
    from escalade.edge.artifact.manifest import parse_manifest
    from escalade.edge.errors import ArtifactError


def one_input(raw: bytes) -> None:
    """Read bytes as a manifest."""
    with contextlib.suppress(ArtifactError):
        parse_manifest(raw, "manifest")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
