"""Columns of numbers, behind figures and for notebooks; knows no result."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

Value = str | int | float | None


class Frame(NamedTuple):
    """A table of raw numbers: shares in [0, 1], seconds, bytes.

    Attributes:
        name: of its files.
        columns: by their names, all of one length.
    """

    name: str
    columns: Mapping[str, Sequence[Value]]


def frame_of(name: str, head: Sequence[str], rows: Sequence[Sequence[Value]]) -> Frame:
    """A frame from its rows."""
    return Frame(name, {key: [row[k] for row in rows] for k, key in enumerate(head)})


def rows_of(frame: Frame) -> list[dict[str, Value]]:
    """Its rows, by the names of the columns."""
    names, columns = list(frame.columns), frame.columns.values()
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def rows_where(frame: Frame, **wanted: Value) -> Frame:
    """Those of its rows that have these values in these columns."""
    pairs = [(frame.columns[name], value) for name, value in wanted.items()]
    many = len(next(iter(frame.columns.values()), ()))
    kept = [k for k in range(many) if all(column[k] == value for column, value in pairs)]
    return Frame(
        frame.name, {key: [column[k] for k in kept] for key, column in frame.columns.items()}
    )


def csv_of(frame: Frame) -> str:
    """RFC 4180, but for its ends of lines; floats as they are, nothing for None."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(frame.columns)
    writer.writerows(zip(*frame.columns.values(), strict=True))
    return text.getvalue()
