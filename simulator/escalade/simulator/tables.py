"""Reads files of TOML tables, strictly; knows no key.

Unknown keys are refused, the nearest known one is named.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from escalade.edge.base import explain, read_text
from escalade.edge.errors import DataError
from escalade.simulator.errors import ProfileError, SimulatorError

T = TypeVar("T")

#: A file of thousands of tables is shorter.
_MAX_BYTES = 1 << 20


def read_tables(path: Path, failure: type[SimulatorError] = ProfileError) -> dict[str, object]:
    """What stands at the top of a file, by its name.

    Raises:
        SimulatorError: it cannot be read, or is no TOML; of the kind `failure`.
    """
    try:
        with path.open("rb") as stream:
            return tomllib.loads(read_text(stream, path, _MAX_BYTES))
    except DataError as error:
        raise failure(str(error)) from error
    except OSError as error:
        raise failure(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # numbers of too many digits among them
        raise failure(f"{path}: not valid TOML: {error}") from error


def named_table(
    where: str,
    name: str,
    table: object,
    kind: type[T],
    dec_hook: Callable[[type, Any], object] | None = None,
) -> T:
    """A table as a value whose `name` is the table's heading.

    Args:
        where: what messages call it.
        name: the heading.
        table: what stands beneath.
        kind: a Struct that forbids unknown fields.
        dec_hook: as `msgspec.convert` takes it.

    Raises:
        ProfileError: a key is unknown or missing, or a value is of another type.
    """
    if not isinstance(table, Mapping):
        raise ProfileError(f"{where} must be a table, [{name}]; got {str(table)[:80]}")
    if "name" in table:
        raise ProfileError(f"{where}: the heading is the name; leave `name` out")
    raw = {"name": name, **table}
    try:
        return msgspec.convert(raw, kind, dec_hook=dec_hook)
    except msgspec.ValidationError as error:
        raise ProfileError(f"{where}: {explain(error, raw, kind)}") from error
