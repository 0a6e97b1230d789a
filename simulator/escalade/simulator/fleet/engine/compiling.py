"""How the engine's functions become machine code; knows no model."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TypeVar, cast

import numba
import platformdirs

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Compile for speed, and keep the code for the next process where there is a place for it.

    Sums and products stay in the order they are written in, as Python has them (no fastmath), and
    the interpreter's lock is let go of.
    """
    return _compiled(function, for_python=True)


def inner(function: F) -> F:
    """The same of what only compiled functions call: it becomes part of them."""
    return _compiled(function, for_python=False)


def _compiled(function: F, *, for_python: bool) -> F:
    options = {
        "nogil": True,
        # Arrays are the caller's: to count who refers to them took most of the time.
        "_nrt": False,
        "error_model": "numpy",
        "forceinline": not for_python,
        "no_cpython_wrapper": not for_python,
        "no_cfunc_wrapper": True,
    }
    before, numba.config.CACHE_DIR = numba.config.CACHE_DIR, _folder()
    try:
        made = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder of this user may be written
        made = numba.njit(**options)(function)
    finally:
        numba.config.CACHE_DIR = before
    return cast(F, made)  # numba has no types


@cache
def _folder() -> str:
    """Where code is kept.

    numba looks only at the file of a function for whether its code is still good, not at those of
    the functions that it calls; so code is kept by all of them.
    """
    sources = sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        sources.update(path.read_bytes())
    return str(
        platformdirs.user_cache_path("escalade", appauthor=False)
        / f"fleet-{sources.hexdigest()[:16]}"
    )
