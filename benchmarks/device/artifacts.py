"""Our side: the exported artifact; knows no peer."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import onnx
from benchmarks.device import shape

from escalade.edge.artifact import (
    MANIFEST_NAME,
    Manifest,
    read_manifest,
)


def exported(model: Path, folder: Path, repository: Path) -> Path:
    """The int4 artifact of the model, exported again whenever exporter or edge have changed."""
    parts = (repository / "export", repository / "edge")
    sources = sorted(source for part in parts for source in part.rglob("*.py"))
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    out = folder / f"escalade-{digest[:12]}"
    if not (out / MANIFEST_NAME).exists():
        from escalade.export.artifact.artifact import export_artifact  # brings torch
        from escalade.export.text import NEAREST

        for outdated in folder.glob("escalade-*"):
            shutil.rmtree(outdated)
        export_artifact(model, out, quantize="int4", rounded_by=NEAREST, golden_prompts=["a"])
    return out


def program_bytes(manifest: Manifest) -> int:
    """Of the graph and its weights."""
    stem = manifest.program.split(".", maxsplit=1)[0]
    return sum(entry.bytes for name, entry in manifest.files.items() if name.startswith(stem))


def head_bits(artifact: Path) -> int | None:
    """Bits of a weight of the head; None where the head is not stored in blocks."""
    manifest = read_manifest(artifact)
    graph = onnx.load(artifact / manifest.program, load_external_data=False).graph
    for node in graph.node:
        settings = {attribute.name: attribute.i for attribute in node.attribute}
        if node.op_type == "MatMulNBits" and settings["N"] == shape.VOCABULARY:
            return settings["bits"]
    return None
