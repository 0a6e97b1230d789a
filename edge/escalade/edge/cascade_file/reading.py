"""Reads a `cascade.toml` and checks all that can be said of it; opens no tier."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from escalade.edge.base import explain, read_text
from escalade.edge.cascade_file.calibrated import check_calibration
from escalade.edge.cascade_file.checks import check_tiers
from escalade.edge.cascade_file.tables import CascadeFile
from escalade.edge.errors import CascadeError, DataError

#: A file of a thousand tiers is shorter.
MAX_CASCADE_BYTES = 1 << 20
# tomllib takes memory with the square of how deep a key nests (30 kB of `a.a.a` 900 MB); below this
# depth at most 500 bytes for one of the file, found with `[a.b.c.d.e.f.g.h]`.
_TOO_DEEP = re.compile(r"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){8}""")
_HELD_PER_BYTE = 512
# For who has named something else.
_KINDS = "a cascade's file is TOML, an artifact a folder"


def read_cascade_file(
    path: Path, *, calibrated: bool = True, max_memory: int | None = None
) -> CascadeFile:
    """Read a file and check all that can be said without opening a tier.

    Args:
        path: the file.
        calibrated: whether what it says of its calibration must be of what it says otherwise; not
            where it is to be calibrated again.
        max_memory: bytes that reading it may take; None sets no bound.

    Raises:
        CascadeError: it cannot be read, a key is unknown (the nearest is named), a value is out of
            range, or tiers and gates do not fit together.
    """
    import tomllib  # an artifact alone needs none

    try:
        with path.open("rb") as stream:
            text = read_text(stream, path, MAX_CASCADE_BYTES)
        _check_bytes(path, text, max_memory)
        raw = tomllib.loads(text)
    except OSError as error:
        raise CascadeError(f"{path}: cannot be read: {error.strerror}") from error
    except DataError as error:
        raise CascadeError(f"{error}; {_KINDS}") from error
    except (ValueError, RecursionError) as error:  # numbers of too many digits among them
        raise CascadeError(f"{path}: not valid TOML: {error}; {_KINDS}") from error
    try:
        content = msgspec.convert(raw, CascadeFile)
    except msgspec.ValidationError as error:
        raise CascadeError(f"{path}: {explain(error, raw, CascadeFile)}") from error
    lower = check_tiers(path, content)
    if calibrated and content.calibration is not None:
        check_calibration(path, content.calibration, content.tiers, lower, content.policy)
    return content


def _check_bytes(path: Path, text: str, max_memory: int | None) -> None:
    """Refuse what would take much memory to read."""
    if _TOO_DEEP.search(text):
        raise CascadeError(f"{path}: a key nests deeper than 8; those of a cascade nest 3 deep")
    needed = _HELD_PER_BYTE * len(text)
    if max_memory is not None and needed > max_memory:
        raise CascadeError(
            f"{path}: needs {needed} bytes of memory to be read, may take at most {max_memory}"
        )
