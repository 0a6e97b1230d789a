"""How fast a stream is answered while the linear level learns: items a second, and one answer.

    .venv/bin/python -m benchmarks.online.throughput [--stream stream.toml DATA]

Without a stream of yours it makes one: texts of 25 words, of which 2 tell the class, and an expert
that has answered already. A cascade of one linear level and this expert answers and learns, audit
on, answers written to a file, as `escalade learn` does; the expert costs nothing, so that what is
seen is ours. An answer's time is until it is given, and what it teaches comes after.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from pathlib import Path
from unittest import mock

import numpy as np
from rich.table import Table

from escalade.cli.output import result_console
from escalade.training.online import Result, learn_stream, read_configuration
from escalade.training.online.learner import Learner
from escalade.training.online.record import Answer
from escalade.training.online.streams import Item

#: What the issue of online cascades asks for.
LEAST_PER_S, MOST_MS = 2000.0, 5.0

_LABELS = ("red", "green", "blue", "grey")
_CONFIGURATION = f"""\
labels = {json.dumps(_LABELS)}
[stream]
label = "gold"
[expert]
kind = "column"
column = "said"
[[level]]
kind = "linear"
name = "linear"
[method]
kind = "cascade"
mu = 0.001
audit = 0.02
"""
_WORDS, _VOCABULARY = 25, 20_000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--stream", nargs=2, type=Path, metavar=("TOML", "DATA"))
    parser.add_argument("--items", type=int, default=20_000, help="of a stream that is made")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path, data = arguments.stream or _made(folder, arguments.items)
        result, took, studied, kept = _timed(path, data, folder / "out")
    kept_ms = 1e3 * took[kept]
    figures = {
        "items": len(took),
        "kept": int(kept.sum()),
        "items_per_s": len(took) / result.seconds,
        "items_per_s_while_the_level_answers": float(1.0 / (took + studied)[kept].mean()),
        "answer_p50_ms": float(np.percentile(kept_ms, 50)),
        "answer_p99_ms": float(np.percentile(kept_ms, 99)),
        "any_item_p99_ms": float(np.percentile(1e3 * took, 99)),
        "study_p99_ms": float(np.percentile(1e3 * studied, 99)),
        "accuracy": None if result.measured is None else result.measured.accuracy,
    }
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return
    table = Table("figure", "value", "wanted")
    wanted = {
        "items_per_s_while_the_level_answers": f"at least {LEAST_PER_S:,.0f}",
        "answer_p99_ms": f"at most {MOST_MS}",
    }
    for name, value in figures.items():
        shown = "" if value is None else f"{value:,.2f}" if isinstance(value, float) else str(value)
        table.add_row(name.replace("_", " "), shown, wanted.get(name, ""))
    result_console().print(table)


def _made(folder: Path, items: int) -> tuple[Path, Path]:
    draw = random.Random(1)  # noqa: S311 - no secret
    path, data = folder / "stream.toml", folder / "items.jsonl"
    path.write_text(_CONFIGURATION)
    with data.open("w") as file:
        for _ in range(items):
            label = draw.randrange(len(_LABELS))
            # Zipf's law, about: ranks that are spread evenly in their logarithm.
            words = [f"w{int(_VOCABULARY ** draw.random())}" for _ in range(_WORDS)]
            words[:2] = [f"{_LABELS[label]}{draw.randrange(5)}" for _ in range(2)]
            draw.shuffle(words)
            row = {"text": " ".join(words), "gold": label, "said": _LABELS[label]}
            file.write(json.dumps(row) + "\n")
    return path, data


def _timed(path: Path, data: Path, out: Path) -> tuple[Result, np.ndarray, np.ndarray, np.ndarray]:
    """The run; of each item `(n,)`: seconds to answer, to study, and whether a level answered."""
    took: list[float] = []
    studied: list[float] = []
    kept: list[bool] = []
    real, real_study = Learner.answer, Learner.study

    def answer(learner: Learner, item: Item) -> Answer:
        began_s = time.perf_counter()
        given = real(learner, item)
        took.append(time.perf_counter() - began_s)
        kept.append(given.by not in {None, "expert"})
        return given

    def study(learner: Learner, upcoming: int) -> None:
        began_s = time.perf_counter()
        real_study(learner, upcoming)
        studied.append(time.perf_counter() - began_s)

    with mock.patch.multiple(Learner, answer=answer, study=study):
        result = learn_stream(read_configuration(path), data, out)
    return result, np.array(took), np.array(studied), np.array(kept)


if __name__ == "__main__":
    main()
