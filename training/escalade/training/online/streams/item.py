"""One item of a stream, and how a row becomes one; knows no file.

Whatever a row holds, it becomes an item: one that cannot be answered says why, so that it is
counted and the stream goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import NamedTuple

from escalade.edge.errors import DataError

# Rows after which a column that none of them has is taken for a name that was mistyped.
_ROWS_WITHOUT = 100
# Of an id that was seen: among a billion ids two share 64 bits with probability 0.03.
_ID_BYTES = 8


class Columns(NamedTuple):
    """What the parts of an item are called in a row."""

    text: str = "text"
    id: str | None = None
    #: Of the class that is right; for measuring alone.
    label: str | None = None
    #: Of what an expert answered when it was asked.
    expert: str | None = None
    #: Characters that a text may have.
    longest_text: int = 100_000


class Item(NamedTuple):
    """What is to be classified."""

    #: Its place in the stream, from 0.
    number: int
    #: Its own, or its number.
    id: str
    text: str
    #: The right class's name, as the stream has it; no level sees it.
    label: str | None = None
    #: What an expert answered.
    expert: str | None = None
    #: Why it cannot be answered; empty where it can.
    refused: str = ""


class Itemizer:
    """Makes items of rows, in their order."""

    def __init__(self, columns: Columns, labels: Sequence[str]) -> None:
        self._columns, self._labels = columns, labels
        self._seen: set[bytes] = set()
        self._count = 0
        # A class that is right is seldom known.
        self._missing = {one for one in (columns.text, columns.id, columns.expert) if one}
        self._last: Mapping[str, object] | None = None

    @property
    def looking(self) -> bool:
        """Whether a column was in none of the rows, and may still come."""
        return bool(self._missing) and self._count < _ROWS_WITHOUT

    def finish(self) -> None:
        """There are no more rows.

        Raises:
            DataError: none has a column.
        """
        if self._missing and self._last is not None:
            raise self._missed(f"none of the {self._count} rows")

    def refuse(self, why: str) -> Item:
        """An item of what is no row."""
        number = self._count
        self._count += 1
        return Item(number, str(number), "", refused=why)

    def item(self, row: Mapping[str, object]) -> Item:
        """The item of a row.

        A class may be told by its name, or by its number among the labels, from 0; where labels are
        numbers themselves, by its name alone.

        Raises:
            DataError: none of the first rows has a column.
        """
        columns, number = self._columns, self._count
        self._count += 1
        self._look_for_columns(row)
        own = None if columns.id is None else row.get(columns.id)
        name = str(number) if own is None else str(own)
        text = row.get(columns.text)
        return Item(
            number,
            name,
            text if isinstance(text, str) else "",
            label=self._class(columns.label, row),
            # A number that is no class is what a parser left of an answer: it names no label.
            expert=self._class(columns.expert, row, otherwise=""),
            refused=self._fault(text) or ("" if own is None else self._repeated(name)),
        )

    def _look_for_columns(self, row: Mapping[str, object]) -> None:
        if not self._missing:
            return
        self._missing -= row.keys()
        self._last = row
        if self._missing and self._count >= _ROWS_WITHOUT:
            raise self._missed(f"none of the first {self._count} rows")

    def _missed(self, none: str) -> DataError:
        has = ", ".join(map(repr, self._last or ()))[:200] or "nothing"
        return DataError(f"{none} has {min(self._missing)!r}; the last has {has}")

    def _fault(self, text: object) -> str:
        """What is wrong with a text; empty if nothing is."""
        if text is None:
            return f"no {self._columns.text!r}"
        if not isinstance(text, str):
            return f"{self._columns.text!r} is no text"
        if len(text) > self._columns.longest_text:
            return f"text longer than {self._columns.longest_text} characters"
        return "" if text.strip() else "empty text"

    def _repeated(self, name: str) -> str:
        digest = blake2b(name.encode(), digest_size=_ID_BYTES).digest()
        if digest in self._seen:
            return "id was there before"
        self._seen.add(digest)
        return ""

    def _class(
        self, column: str | None, row: Mapping[str, object], *, otherwise: str | None = None
    ) -> str | None:
        value = None if column is None else row.get(column)
        if isinstance(value, bool):  # a name, as JSON writes it, and no number
            return str(value).lower()
        if value is None or not isinstance(value, int) or str(value) in self._labels:
            return None if value is None else str(value)
        if 0 <= value < len(self._labels):
            return self._labels[value]
        return str(value) if otherwise is None else otherwise
