"""Where a run was, in one file that is replaced whole; knows no level.

A safetensors file: the arrays of all levels and calibrators, and in its metadata what else the run
needs to go on as if it had never stopped, and a checksum of both.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from escalade.edge.base import UNDECODABLE, atomic_write, sync_folder
from escalade.edge.errors import DataError
from escalade.training.audit import AuditState
from escalade.training.errors import RecipeError
from escalade.training.online.record.figures import Tally
from escalade.training.tables import differences

_KEY, _CHECKSUM = "escalade.online", "escalade.online.sha256"
#: Of a level: where its model lies, whose weights are held against the checkpoint's.
_PATH = "path"


class RungState(msgspec.Struct, frozen=True, kw_only=True):
    """What is no array of a level and its place."""

    updates: int
    raised_at: int
    #: Texts and labels that wait for an update.
    cache: list[tuple[str, int]]


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A run after so many items."""

    #: What is learned, as plain types: another one is refused.
    configuration: dict[str, Any]
    items: int
    #: CRC-32 over the texts of those items.
    crc32: int
    #: Of the expert; empty where it has not said.
    model: str
    failing: bool
    rungs: list[RungState]
    audit: AuditState | None
    tally: Tally
    #: Of the figures that were told last.
    told: Tally
    #: Bytes of the files that belong to it.
    sizes: dict[str, int]
    seconds: float


Arrays = dict[str, NDArray[Any]]


def write_checkpoint(path: Path, checkpoint: Checkpoint, arrays: Arrays) -> None:
    """Write it in the place of the one before.

    Raises:
        DataError: it cannot be written; the one before stays.
    """
    text = msgspec.json.encode(checkpoint).decode()
    metadata = {_KEY: text, _CHECKSUM: _checksum(text, arrays)}
    try:
        with atomic_write(path) as stream:
            stream.write(save(arrays, metadata=metadata))
        sync_folder(path.parent)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror}") from error


def read_checkpoint(path: Path, configuration: dict[str, Any]) -> tuple[Checkpoint, Arrays] | None:
    """The checkpoint that is there; None if there is none.

    Args:
        path: of the file.
        configuration: of the run that goes on with it; an encoder's folder may lie elsewhere.

    Raises:
        DataError: it cannot be read, is no checkpoint, or was changed.
        RecipeError: it is another configuration's; the message names where they differ.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            if (raw := metadata.get(_KEY)) is None:
                raise DataError(f"{path}: is no checkpoint of a stream")
            checkpoint = msgspec.json.decode(raw, type=Checkpoint)
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, *UNDECODABLE) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    if metadata.get(_CHECKSUM) != _checksum(raw, arrays):
        raise DataError(f"{path}: was changed since it was written; its checksum is another")
    for name, was, is_ in differences(
        _placeless(checkpoint.configuration), _placeless(configuration)
    ):
        raise RecipeError(
            f"{path}: the run was begun with {name} = {was!r}, and is to go on with {is_!r}; go on"
            " with the former, or name another folder"
        )
    return checkpoint, arrays


def _checksum(text: str, arrays: Arrays) -> str:
    """SHA-256 over what is no array, and over each array's name, type, shape and bytes."""
    found = hashlib.sha256(text.encode())
    for name, array in sorted(arrays.items()):
        found.update(f"{name} {array.dtype.str} {array.shape}".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def _placeless(configuration: dict[str, Any]) -> dict[str, Any]:
    """The same, but for where levels' models lie."""
    levels = [
        {key: value for key, value in level.items() if key != _PATH}
        for level in configuration.get("level", [])
    ]
    return configuration | {"level": levels}
