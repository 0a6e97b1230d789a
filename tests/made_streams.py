"""Streams whose classes are told apart by words, with an expert that is right for most items."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path

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


def configuration(
    folder: Path, *, method: str = 'kind = "cascade"\nmu = 0.001', more: str = ""
) -> Path:
    """A file for two linear levels with caches of 8 and 16."""
    path = folder / "stream.toml"
    path.write_text(
        f"""\
labels = {json.dumps(LABELS)}
[stream]
label = "gold"
[expert]
kind = "column"
column = "said"
[[level]]
kind = "linear"
name = "small"
buckets = 4096
decay = 0.8
[[level]]
kind = "linear"
name = "large"
buckets = 8192
cache = 16
decay = 0.8
[method]
{method}
{more}
"""
    )
    return path


def learn_until_killed(path: Path, data: Path, out: Path, after_s: float) -> None:
    """Run over a stream in a process that the kernel ends after a while, wherever it is."""
    import signal

    from escalade.training.online import learn_stream, read_configuration
    from escalade.training.online.experts import CallableExpert

    with data.open() as lines:
        said = {str(row["text"]): str(row["said"]) for row in map(json.loads, lines)}
    with (out.parent / "asked.txt").open("a", buffering=1) as asked:

        def expert(text: str) -> str:
            asked.write(text + "\n")
            return said[text]

        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, after_s)
        learn_stream(read_configuration(path), data, out, expert=CallableExpert(expert))
        signal.setitimer(signal.ITIMER_REAL, 0.0)
