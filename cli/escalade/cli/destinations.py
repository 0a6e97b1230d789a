"""Where a verb writes: all of it checked together, before the work; knows no format.

Two outputs may share a folder, and a file may lie in a folder that another option fills. What may
not be: that one takes the place of another, or of a file that the verb reads.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from itertools import combinations
from pathlib import Path

from escalade.cli.errors import CliError
from escalade.edge.base import check_fillable, check_writable

# How the files end that each of these options writes into its folder.
_ENDS = {"--figures": (".png", ".svg"), "--tables": (".csv", ".parquet")}

_Named = tuple[str, Path]


def check_destinations(
    files: Mapping[str, Path | None],
    folders: Mapping[str, Path | None] | None = None,
    *,
    read: Iterable[Path | None] = (),
) -> None:
    """Refuse what could not be written, or would be written over, once the work is done.

    Args:
        files: each by the option that names it; None was not given.
        folders: in the same way those that files are written into.
        read: what the verb reads, where it was given.

    Raises:
        DataError: one cannot be written; see `check_writable` and `check_fillable`.
        CliError: one takes the place of another, or of what is read.
    """
    made = [(option, path) for option, path in files.items() if path is not None]
    filled = [(option, path) for option, path in (folders or {}).items() if path is not None]
    for _, path in made:
        check_writable(path)
    for _, path in filled:
        check_fillable(path)
    regular = [one for one in made if _is_regular(one[1])]
    for one, other in combinations(regular, 2):
        _check_apart(one, other)
        _check_apart(other, one)
    for one in regular:
        for folder in filled:
            _check_apart(one, folder)
            _check_not_of(folder, one)
    there = {os.path.realpath(path) for path in read if path is not None}
    for option, path in regular:
        if os.path.realpath(path) in there:
            raise CliError(f"{option}: {path} is read too, and would be lost; give another name")


def _is_regular(path: Path) -> bool:
    """Whether it is a file or becomes one; a device or a pipe takes what comes, of several too."""
    return path.is_file() or not path.exists()


def _check_apart(one: _Named, other: _Named) -> None:
    """Refuse a file that is what another output is, or is in."""
    place, within = (Path(os.path.realpath(path)) for _, path in (one, other))
    if place == within:
        raise CliError(f"{one[0]} and {other[0]} are both {one[1]}; give each a name of its own")
    if place in within.parents:
        raise CliError(
            f"{other[0]}: {other[1]} lies in {one[1]}, which {one[0]} makes a file; give another"
            " name"
        )


def _check_not_of(folder: _Named, file: _Named) -> None:
    """Refuse a file among a folder's own."""
    ends = _ENDS.get(folder[0], ())
    here = os.path.realpath(file[1].parent) == os.path.realpath(folder[1])
    if here and file[1].suffix in ends:
        raise CliError(
            f"{file[0]}: {file[1]} ends as what {folder[0]} writes there ({', '.join(ends)}); give"
            " another name"
        )
