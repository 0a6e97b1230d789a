"""Who an artifact's model is, down to the bytes that decide what it answers; reads no file."""

from __future__ import annotations

import hashlib

import msgspec

from escalade.edge.artifact.manifest import Manifest, ModelEntry


def program_digest(manifest: Manifest) -> str:
    """One digest over the model's entry and every file but the router's, in hexadecimal.

    Weights may lie beside the program, and two models of one architecture may differ nowhere else.
    """
    return _digest(manifest, manifest.model)


def content_digest(manifest: Manifest) -> str:
    """The same without what the model is called: what two of one digest answer is the same."""
    return _digest(manifest, msgspec.structs.replace(manifest.model, name=""))


def _digest(manifest: Manifest, model: ModelEntry) -> str:
    others = manifest.deferral.files
    hashes = {name: one.sha256 for name, one in manifest.files.items() if name not in others}
    what: tuple[object, ...] = (model, hashes)
    if manifest.classification:
        what = (*what, manifest.classification)
    if manifest.deferral.kernels:
        what = (*what, manifest.deferral.kernels)
    return hashlib.sha256(msgspec.json.encode(what, order="sorted")).hexdigest()
