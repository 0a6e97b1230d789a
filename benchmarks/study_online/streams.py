"""The study's streams: their files, what the paper says of them, other orders; knows no method."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from pyarrow import parquet

#: What is done to the measured half beyond its drawn order.
Shift = Literal["", "classes", "length", "comedy"]

#: Texts that speak of comedy, a third of IMDB. The paper takes comedies, 8,140 of 25,000 reviews,
#: and does not say how it knows them.
_COMEDY = re.compile(r"comed|comic|funn|humou?r|hilar|laugh", re.IGNORECASE)


class Tuning(NamedTuple):
    """A level's row of tables 3 and 4 of the paper; experts have the same."""

    decay: float
    calibration: float
    calibrator_rate: float


class Stream(NamedTuple):
    """A file of the data folder, and what the paper says of it."""

    name: str
    title: str
    #: Calls of the expert at which table 1 compares.
    budgets: tuple[int, ...]
    #: Levels of the small cascade, and of the large one, the linear one first. The large one has
    #: the small one's decays: by the paper's, 0.95 to 0.99, exploring alone takes more than the
    #: smallest budget. Who explores goes to the expert here, in the authors' code a level up.
    small: tuple[Tuning, ...]
    large: tuple[Tuning, ...]
    #: Of the linear level: n-grams within words, and scikit-learn's alpha; see `pilot`.
    characters: tuple[int, int] | None
    alpha: float
    #: A class whose recall counts too.
    recall: str | None = None
    #: Orders of section 5.4.
    orders: tuple[Shift, ...] = ()

    def tunings(self, levels: int) -> tuple[Tuning, ...]:
        """Those of a cascade with so many levels below the expert."""
        return (self.small if levels <= len(self.small) else self.large)[:levels]


STREAMS = {
    one.name: one
    for one in (
        Stream(
            "hatespeech", "HateSpeech", (600, 2700, 4900),
            # The paper's decay of the linear level is 0.97, by which 800 calls go to exploring.
            (Tuning(0.9, 0.4, 1e-3), Tuning(0.9, 0.4, 7e-4)),
            (Tuning(0.9, 0.45, 1e-3), Tuning(0.9, 0.45, 7e-4), Tuning(0.9, 0.45, 7e-4)),
            (3, 5), 5e-5, recall="hate",
        ),
        Stream(
            "isear", "ISEAR", (1200, 1500, 2700),
            (Tuning(0.8, 0.15, 7e-4), Tuning(0.9, 0.45, 7e-4)),
            (Tuning(0.8, 0.4, 7e-4), Tuning(0.9, 0.35, 7e-4), Tuning(0.9, 0.3, 7e-4)),
            (3, 5), 5e-5,
        ),
        Stream(
            "imdb", "IMDB", (1300, 3800, 5200),
            (Tuning(0.97, 0.4, 7e-4), Tuning(0.95, 0.3, 7e-4)),
            (Tuning(0.97, 0.45, 7e-4), Tuning(0.95, 0.4, 7e-4), Tuning(0.95, 0.4, 7e-4)),
            None, 2e-5, orders=("length", "comedy"),
        ),
    )
}  # fmt: skip
#: Columns of the files, with their names, and what a call costs beside BERT-base (tables 3 and 4).
EXPERTS = {"gpt35_turbo": ("GPT-3.5 Turbo", 1182.0), "llama2_70b_chat": ("Llama 2 70B", 636.0)}


def labels_of(file: Path) -> list[str]:
    """The classes of a stream, as its file says."""
    metadata = parquet.read_schema(file).metadata or {}
    return metadata[b"labels"].decode().split(",")


def items_of(file: Path) -> int:
    """How many items a stream has."""
    return parquet.read_metadata(file).num_rows


def comedies_of(file: Path) -> int:
    """How many of its texts speak of comedy."""
    texts = parquet.read_table(file, columns=["text"])["text"].to_pylist()
    return sum(_COMEDY.search(text) is not None for text in texts)


def shifted(file: Path, shift: Shift, seed: int) -> bytes:
    """A stream's measured half as JSON Lines, shifted: the items that every method has.

    Args:
        file: the stream.
        shift: `classes`: halfway through, every class becomes the next one, for the experts too.
            `length`: short texts first. `comedy`: texts that speak of it last.
        seed: of the order that is shifted.
    """
    rows = parquet.read_table(file).to_pylist()
    order = np.random.default_rng(seed).permutation(len(rows))[len(rows) // 2 :]
    half: list[dict[str, Any]] = [rows[k] for k in order.tolist()]
    if shift == "length":
        half.sort(key=lambda row: len(row["text"]))
    elif shift == "comedy":
        half.sort(key=lambda row: _COMEDY.search(row["text"]) is not None)
    elif shift == "classes":
        classes, middle = len(labels_of(file)), len(half) // 2
        half[middle:] = [_next_class(row, classes) for row in half[middle:]]
    return b"".join(msgspec.json.encode(row) + b"\n" for row in half)


def _next_class(row: Mapping[str, Any], classes: int) -> dict[str, Any]:
    named = {column: row[column] for column in ("gold", *EXPERTS) if row[column] >= 0}
    return {**row, **{column: (value + 1) % classes for column, value in named.items()}}
