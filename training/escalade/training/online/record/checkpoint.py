"""Where a run was, in one file that is replaced whole; knows no level.

A safetensors file: the arrays of all levels and calibrators, and in its metadata what else the run
needs to go on as if it had never stopped.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from escalade.edge.base import UNDECODABLE, atomic_write, sync_folder
from escalade.edge.errors import DataError
from escalade.training.audit import AuditState
from escalade.training.errors import RecipeError
from escalade.training.online.record.figures import Tally
from escalade.training.tables import differences

_KEY = "escalade.online"


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
    metadata = {_KEY: msgspec.json.encode(checkpoint).decode()}
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
        configuration: of the run that goes on with it.

    Raises:
        DataError: it cannot be read, or is no checkpoint.
        RecipeError: it is another configuration's; the message names where they differ.
    """
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            raw = (file.metadata() or {}).get(_KEY)
            if raw is None:
                raise DataError(f"{path}: is no checkpoint of a stream")
            checkpoint = msgspec.json.decode(raw, type=Checkpoint)
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, *UNDECODABLE) as error:
        raise DataError(f"{path}: cannot be read: {error}") from error
    for name, was, is_ in differences(checkpoint.configuration, configuration):
        raise RecipeError(
            f"{path}: the run was begun with {name} = {was!r}, and is to go on with {is_!r}; go on"
            " with the former, or name another folder"
        )
    return checkpoint, arrays
