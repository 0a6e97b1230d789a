"""Loads a package's names when they are asked for; knows no package."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def lazy(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package's face.

    Modules of the package are there too, whether or not somebody has imported them.

    Args:
        package: its `__name__`.
        homes: for each name, the module of the package that has it.
    """
    face = vars(sys.modules[package])

    def load(name: str) -> object:
        if name in homes:
            face[name] = getattr(import_module(f"{package}.{homes[name]}"), name)
            return face[name]  # asked for once
        whole = f"{package}.{name}"
        if not name.startswith("_"):  # `__init__` would be the face again
            try:
                return import_module(whole)
            except ModuleNotFoundError as error:
                if error.name != whole:
                    raise  # it is there, and what it imports is not
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return load, lambda: sorted({*face, *homes})
