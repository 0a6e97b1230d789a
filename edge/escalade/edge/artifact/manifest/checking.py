"""Holds what a manifest says against itself; reads no file."""

from __future__ import annotations

from typing import get_args

from escalade.edge.artifact.integrity import check_listing
from escalade.edge.artifact.manifest.entries import (
    MANIFEST_NAME,
    SIGNATURE_NAME,
    TOKENIZER_NAME,
    Format,
    Manifest,
    OwnScheme,
)
from escalade.edge.artifact.manifest.planes import planes_name
from escalade.edge.classification import ClassificationEntry, check_classification
from escalade.edge.deferral import check_deferral
from escalade.edge.errors import ArtifactError


def check_values(where: object, manifest: Manifest) -> None:
    """Refuse a manifest whose values contradict each other.

    Args:
        where: what it came from, for messages.
        manifest: decoded, each value in its own range.

    Raises:
        ArtifactError: they do; the message says which.
    """

    def need(holds: bool, message: str) -> None:
        if not holds:
            raise ArtifactError(f"{where}: {message}")

    check_listing(
        where, ((name, entry.bytes, entry.sha256) for name, entry in manifest.files.items())
    )
    listed = {name.lower() for name in manifest.files}  # some file systems know no case
    for name in (MANIFEST_NAME, SIGNATURE_NAME):
        need(name not in listed, f"files must not list {name}")
    model = manifest.model
    named = [manifest.program]
    if manifest.linear is None:
        named.append(TOKENIZER_NAME)
    if manifest.encoder is not None:
        named.append(manifest.encoder)
    if model.chat is not None:
        named.append(model.chat.template)
    for name in named:
        need(name in manifest.files, f"files does not list {repr(name[:80])[1:-1]}")
    need(model.name.isprintable(), f"model.name must be printable, got {model.name[:80]!r}")
    if manifest.classification:
        _check_classifier(where, manifest, manifest.classification)
    elif manifest.embedding:
        need(
            manifest.format == "onnx" and manifest.encoder is None and not manifest.golden,
            "a sentence encoder must be of format onnx, of one program, and have no golden answer",
        )
    else:
        need(manifest.format != "linear", "format linear is for a classifier")
        need(
            manifest.format != "gguf" or manifest.encoder is None,
            "a program of format gguf must be a decoder alone",
        )
        need(bool(model.end_of_sequence_ids), "model.end_of_sequence_ids is empty")
    scheme = manifest.quantization.scheme
    need(
        manifest.format == "gguf" or scheme in get_args(OwnScheme),
        f"quantization.scheme {scheme} is of format gguf, got {manifest.format}",
    )
    planes, stored = manifest.quantization.planes, planes_name(manifest.program)
    has = manifest.files[stored].bytes if stored in manifest.files else 0
    need(
        has == (said := sum(one.stored_bytes for one in planes)),
        f"files.{stored} must have {said} bytes of planes, has {has}",
    )
    last = model.vocabulary_size - 1
    for golden in manifest.golden:
        shown = f"golden prompt {golden.prompt[:80]!r}"
        answers = last
        if manifest.classification:
            answers = len(manifest.classification.labels) - 1
        wordless = manifest.linear is not None and not golden.prompt_ids
        for ids, most in ((golden.prompt_ids, last), (golden.token_ids, answers)):
            need(
                (bool(ids) or (wordless and ids is golden.prompt_ids))
                and all(0 <= token_id <= most for token_id in ids),
                f"{shown}: token ids must be there and in 0-{most}",
            )
        need(
            len(golden.prompt_ids) < model.window + bool(manifest.classification),
            f"{shown}: longer than the window, {model.window}",
        )
    need(
        not (manifest.classification and manifest.embedding),
        "classification and embedding: an artifact has one of them",
    )
    need(
        not manifest.deferral.kernels or manifest.format == "onnx",
        f"deferral.kernels is of format onnx, got {manifest.format}",
    )
    try:
        check_deferral(manifest.deferral, manifest.files)
    except ValueError as error:
        raise ArtifactError(f"{where}: deferral.{error}") from error


def _check_classifier(where: object, manifest: Manifest, entry: ClassificationEntry) -> None:
    try:
        check_classification(entry)
    except ValueError as error:
        raise ArtifactError(f"{where}: classification.{error}") from error
    wanted: Format = "onnx" if entry.linear is None else "linear"
    if manifest.format != wanted or manifest.encoder is not None:
        raise ArtifactError(
            f"{where}: format of this classifier must be {wanted}, of one program; got"
            f" {manifest.format}"
        )
    if entry.linear is None:
        return
    features, model = entry.linear.features, manifest.model
    found = (model.vocabulary_size, model.tokenizer_fingerprint)
    if found != (features.buckets, features.fingerprint):
        raise ArtifactError(
            f"{where}: model.vocabulary_size and tokenizer_fingerprint must be"
            f" {features.buckets} and {features.fingerprint[:12]} by its features, got"
            f" {found[0]} and {found[1][:12]!r}"
        )
