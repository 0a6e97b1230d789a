"""Streams whose classes are told apart by words, with an expert that is right for most items."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Iterable, Mapping
from itertools import count
from pathlib import Path
from signal import SIGKILL
from types import FrameType

LABELS = ["red", "green", "blue"]
_OF_CLASS = [["rose", "cherry", "brick"], ["grass", "leaf", "moss"], ["sky", "sea", "ink"]]
_ANY = [f"word{k}" for k in range(40)]


def rows(count: int, *, seed: int = 1, wrong: float = 0.05) -> list[dict[str, object]]:
    """Items with `text`, `gold` (a number) and `said` (what an expert answered)."""
    draw = random.Random(seed)
    made: list[dict[str, object]] = []
    for k in range(count):
        label = draw.randrange(3)
        words = [*draw.choices(_ANY, k=6), *draw.choices(_OF_CLASS[label], k=2)]
        draw.shuffle(words)
        said = draw.randrange(3) if draw.random() < wrong else label
        made.append(
            {"id": f"item-{k}", "text": " ".join(words), "gold": label, "said": LABELS[said]}
        )
    return made


def write(path: Path, made: Iterable[Mapping[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    return path


_SMALL = """\
[[level]]
kind = "linear"
name = "small"
buckets = 4096
decay = 0.8
"""
_LARGE = """\
[[level]]
kind = "linear"
name = "large"
buckets = 8192
cache = 16
decay = 0.8
"""


def encoder_above(encoder: Path) -> str:
    """A small linear level below an encoder of transformers, half of whose layers learn."""
    return f"""\
{_SMALL}
[[level]]
kind = "encoder"
name = "large"
path = {json.dumps(str(encoder))}
max_tokens = 16
frozen_layers = 1
learning_rate = 3e-3
epochs = 1
cache = 8
memory = 60
decay = 0.8
"""


def configuration(
    folder: Path,
    *,
    method: str = 'kind = "cascade"\nmu = 0.001',
    levels: str = _SMALL + _LARGE,
    more: str = "",
) -> Path:
    """A file for two levels: linear ones with caches of 8 and 16, unless others are given."""
    path = folder / "stream.toml"
    path.write_text(
        f"""\
labels = {json.dumps(LABELS)}
[stream]
label = "gold"
[expert]
kind = "column"
column = "said"
{levels}
[method]
{method}
{more}
"""
    )
    return path


class LookedAtClock:
    """A millisecond goes by whenever somebody looks at it."""

    def __init__(self) -> None:
        self._looks = 0

    def now_s(self) -> float:
        self._looks += 1
        return self._looks * 1e-3

    def sleep_s(self, seconds: float) -> None:
        raise AssertionError(f"nobody waits here, {seconds} s were asked for")


def learn_until_killed(path: Path, data: Path, out: Path, most_calls: int) -> None:
    """Run over a stream in a process of its own, which dies at a call of any function in it.

    Args:
        path: of the configuration.
        data: what to read.
        out: the run's folder; beside it stand `asked.txt`, of what the expert was asked, and once a
            run has come to its end `calls.txt`, of how many calls there were.
        most_calls: so many are survived.
    """
    from escalade.training.online import learn_stream, read_configuration
    from escalade.training.online.experts import CallableExpert
    from escalade.training.online.opening import open_rungs

    open_rungs(read_configuration(path))  # importing is not what is to be interrupted
    with data.open() as lines:
        said = {str(row["text"]): str(row["said"]) for row in map(json.loads, lines)}
    calls = count(1)

    def die(frame: FrameType, event: str, argument: object) -> None:
        if event in {"call", "c_call"} and next(calls) > most_calls:
            os.kill(os.getpid(), SIGKILL)

    with (out.parent / "asked.txt").open("a", buffering=1) as asked:

        def expert(text: str) -> str:
            asked.write(text + "\n")
            return said[text]

        configuration = read_configuration(path)
        sys.setprofile(die)
        try:
            learn_stream(
                configuration, data, out, expert=CallableExpert(expert), clock=LookedAtClock()
            )
        finally:
            sys.setprofile(None)
    (out.parent / "calls.txt").write_text(str(next(calls)))
