"""Reads what a run is told in TOML, strictly, and compares two tellings; knows no key.

Unknown keys are refused, the nearest known one is named.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeGuard, TypeVar

import msgspec

from escalade.edge.base import explain, read_text
from escalade.edge.errors import DataError
from escalade.training.errors import RecipeError

T = TypeVar("T")

_MAX_BYTES = 1 << 20


class Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A TOML table whose keys are all known."""


def toml_text(path: Path) -> str:
    """The text of a file, which may come through a pipe: it is read once.

    Raises:
        RecipeError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return read_text(stream, path, _MAX_BYTES)
    except DataError as error:
        raise RecipeError(str(error)) from error
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from error


def kind_of(path: Path) -> object:
    """What a file says of its `kind`, at its top; None where it says nothing, or is no TOML.

    A pipe, which could not be read again, says nothing either.
    """
    if not path.is_file():
        return None
    try:
        return tomllib.loads(toml_text(path)).get("kind")
    except (RecipeError, tomllib.TOMLDecodeError):  # whoever reads it says what is wrong
        return None


def parse_tables(text: str, path: Path, kind: type[T]) -> T:
    """The tables of a text.

    Args:
        text: TOML.
        path: what messages call it.
        kind: what it is to hold.

    Raises:
        RecipeError: it is no TOML, a key is unknown, or a value is out of range.
    """
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: not valid TOML: {error}") from error
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        raise RecipeError(f"{path}: {explain(error, raw, kind)}") from error


def differences(one: object, other: object, name: str = "") -> Iterator[tuple[str, object, object]]:
    """Where two values of plain types differ: the name of the place, and what is there in each."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in [*one, *(key for key in other if key not in one)]:
            inner = f"{name}.{key}" if name else key
            yield from differences(one.get(key), other.get(key), inner)
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for place, (was, is_) in enumerate(zip(one, other, strict=True)):
            yield from differences(was, is_, f"{name}[{place}]")
    elif _are_tables(one) and _are_tables(other):
        yield f"the number of {name}", len(one), len(other)
    elif one != other:
        yield name, one, other


def _are_tables(value: object) -> TypeGuard[list[object]]:
    return isinstance(value, list) and any(isinstance(inner, Mapping) for inner in value)
