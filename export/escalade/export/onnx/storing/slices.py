"""Names slices of a table of words, whose rows are stored in more than one way; stores nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

# Between a table's name and the first row of a slice of it.
_FROM = ".from_"


def slice_name(name: str, first: int) -> str:
    """Under which the rows of a table from one on are stored."""
    return f"{name}{_FROM}{first}"


def table_of(name: str) -> str | None:
    """The table whose slice is stored under a name; None where it is none's."""
    table, _, first = name.rpartition(_FROM)
    return table if table and first.isdecimal() else None


def slices_in(names: Iterable[str]) -> dict[str, list[int]]:
    """Of tables whose slices are among the names, the first row of each, in order."""
    found: dict[str, list[int]] = {}
    for name in names:
        if table := table_of(name):
            found.setdefault(table, []).append(int(name.rpartition(_FROM)[2]))
    return {table: sorted(firsts) for table, firsts in found.items()}


def slices_of(name: str, firsts: Sequence[int], rows: int) -> list[tuple[str, slice]]:
    """Each slice's name and rows, of a table with so many."""
    ends = pairwise([*firsts, rows])
    return [(slice_name(name, first), slice(first, last)) for first, last in ends]
