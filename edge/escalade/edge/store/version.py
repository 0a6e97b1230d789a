"""One version of an artifact as it lies in a folder; knows no store and no other version."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from escalade.edge.artifact import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    SignatureState,
    load_manifest,
    read_bounded,
    signature_state,
)
from escalade.edge.errors import ArtifactError

#: What is wrong with a version whose id is not its manifest's.
CHANGED = f"{MANIFEST_NAME} was changed since it was installed"


class Version(msgspec.Struct, frozen=True, kw_only=True):
    """A version in a store."""

    #: sha256 of its manifest, as it was installed.
    id: str
    current: bool
    signature: SignatureState
    #: Out of the manifest; empty where that cannot be read.
    model: str = ""
    created: str = ""
    bytes: int = 0
    #: What is wrong with the manifest; None where nothing is. Files are not read for this.
    problem: str | None = None


def version_in(folder: Path, *, current: bool, trusted_key: Path | None) -> Version:
    """What lies in a folder that is named by a version's id.

    Args:
        folder: of the version.
        current: whether clients open it.
        trusted_key: a public key; says whether it has signed the version.

    Raises:
        SignatureError: the key cannot be used.
    """
    signature = signature_state(folder, trusted_key)
    found = Version(id=folder.name, current=current, signature=signature)
    try:
        manifest = load_manifest(folder)
    except ArtifactError as error:
        return msgspec.structs.replace(found, problem=str(error))
    return msgspec.structs.replace(
        found,
        model=manifest.model.name,
        created=manifest.created,
        bytes=manifest.total_bytes,
        problem=None if id_of(folder) == folder.name else CHANGED,
    )


def id_of(folder: Path) -> str:
    """The id that a version has by its manifest, as that is now.

    Raises:
        ArtifactError: the manifest cannot be read.
    """
    raw = read_bounded(folder / MANIFEST_NAME, MAX_MANIFEST_BYTES)
    return hashlib.sha256(raw).hexdigest()
