"""Reads a manifest and checks the files that it names, and writes one; knows no runtime."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from escalade.edge.artifact.integrity import check_file, check_nothing_else, read_bounded
from escalade.edge.artifact.manifest.checking import check_values
from escalade.edge.artifact.manifest.entries import (
    MANIFEST_NAME,
    MANIFEST_SCHEMA,
    MAX_MANIFEST_BYTES,
    SIGNATURE_NAME,
    TOKENIZER_NAME,
    FileEntry,
    Manifest,
)
from escalade.edge.base import atomic_write, explain, pretty_json, sha256_of
from escalade.edge.errors import ArtifactError
from escalade.v1.identity import tokenizer_fingerprint


def read_manifest(folder: Path) -> Manifest:
    """Read and check `manifest.json` and every file it names.

    Raises:
        ArtifactError: a file is missing, no regular file, has another size or hash, or is not
            listed; the schema is another one, or a value is out of range. The message says
            which.
    """
    manifest = load_manifest(folder)
    check_files(folder, manifest)
    return manifest


def load_manifest(folder: Path) -> Manifest:
    """Read `manifest.json`; the files it names are not looked at.

    Raises:
        ArtifactError: it is missing, no regular file, too long, or see `parse_manifest`.
    """
    path = folder / MANIFEST_NAME
    if not os.path.lexists(path):
        lacks = f"{MANIFEST_NAME} cannot be read: missing"
        if not os.path.lexists(folder):
            lacks = "there is no such folder"
        raise ArtifactError(f"{folder}: not an artifact: {lacks}")
    return parse_manifest(read_bounded(path, MAX_MANIFEST_BYTES), path)


def check_files(folder: Path, manifest: Manifest) -> None:
    """Hold every file of an artifact against its manifest.

    Raises:
        ArtifactError: see `read_manifest`.
    """
    for name, entry in manifest.files.items():
        check_file(folder / name, entry.bytes, entry.sha256)
    check_nothing_else(folder, {*manifest.files, MANIFEST_NAME, SIGNATURE_NAME})
    if manifest.linear is not None:
        return
    try:
        fingerprint = tokenizer_fingerprint(folder / TOKENIZER_NAME)
    except (OSError, ValueError) as error:
        raise ArtifactError(str(error)) from error
    if fingerprint != manifest.model.tokenizer_fingerprint:
        raise ArtifactError(
            f"{folder / TOKENIZER_NAME}: fingerprint {fingerprint[:12]}, the model was exported"
            f" with {manifest.model.tokenizer_fingerprint[:12]}"
        )


def parse_manifest(raw: bytes, where: object) -> Manifest:
    """Read a manifest out of its bytes; the files it names are not looked at.

    Args:
        raw: at most `MAX_MANIFEST_BYTES`, as the caller has seen to.
        where: what the bytes came from, for messages.

    Raises:
        ArtifactError: it is not UTF-8 JSON of this schema, or a value is out of range.
    """
    try:
        # Alone and first: a newer schema has fields that this version cannot name.
        found = msgspec.json.decode(raw, type=_Head).schema
        if found != MANIFEST_SCHEMA:
            raise ArtifactError(
                f"{where}: schema {str(found)[:24]}; this version reads {MANIFEST_SCHEMA}"
            )
        manifest = msgspec.json.decode(raw, type=Manifest)
    except msgspec.ValidationError as error:
        raise ArtifactError(f"{where}: {explain(error, raw, Manifest)}") from error
    except (ValueError, RecursionError) as error:  # no JSON, or no UTF-8
        raise ArtifactError(f"{where}: {error}") from error
    check_values(where, manifest)
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json`, aside and renamed."""
    with atomic_write(folder / MANIFEST_NAME) as stream:
        stream.write(pretty_json(manifest))


def file_entry(path: Path) -> FileEntry:
    """The size and sha256 of a file as it is now."""
    return FileEntry(sha256=sha256_of(path), bytes=path.stat().st_size)


class _Head(msgspec.Struct):
    schema: int
