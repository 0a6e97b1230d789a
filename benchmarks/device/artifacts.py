"""Our side: the exported artifact, and the same without the score; knows no peer."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path

import msgspec
import onnx
from benchmarks.device import shape

from escalade.edge.artifact import (
    MANIFEST_NAME,
    Manifest,
    file_entry,
    read_manifest,
    write_manifest,
)
from escalade.edge.runtimes import LOGPROB


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


def without_score(artifact: Path) -> Path:
    """A copy beside `artifact` whose graph gives 0 for the log-probability and computes none."""
    out = artifact.with_name(f"{artifact.name}-token-only")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    manifest = read_manifest(artifact)
    for name in manifest.files:
        if name != manifest.program:
            os.link(artifact / name, out / name)
    model = onnx.load(artifact / manifest.program, load_external_data=False)
    _drop_score(model.graph)
    onnx.save(model, out / manifest.program)
    files = {**manifest.files, manifest.program: file_entry(out / manifest.program)}
    write_manifest(out, msgspec.structs.replace(manifest, files=files, golden=[]))
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


def _drop_score(graph: onnx.GraphProto) -> None:
    wanted = {output.name for output in graph.output} - {LOGPROB}
    kept: list[onnx.NodeProto] = []
    for node in reversed(graph.node):  # a graph lists its nodes in the order of their use
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    zero = onnx.numpy_helper.from_array(_ZERO, LOGPROB)
    kept.append(onnx.helper.make_node("Constant", [], [LOGPROB], value=zero))
    del graph.node[:]
    graph.node.extend(reversed(kept))


_ZERO = onnx.numpy_helper.to_array(
    onnx.helper.make_tensor("zero", onnx.TensorProto.FLOAT, [1, 1], [0.0])
)
