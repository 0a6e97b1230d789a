"""Chooses what the linear level reads, and its alpha, on halves that the study does not measure.

    .venv/bin/python -m benchmarks.study_online.pilot --data FOLDER [--seeds 3]

As many items as the smallest budget, and then two thirds of the half, teach a distilled linear
level, and on the rest it is held against the expert: no label of a person is read, and no item that
the study measures.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
from pathlib import Path

import msgspec
from benchmarks.study_online.settings import Settings
from benchmarks.study_online.streams import EXPERTS, STREAMS, items_of, labels_of

from escalade.training.online import Configuration, learn_stream

ALPHAS = (1e-5, 2e-5, 5e-5, 1e-4)
CHARACTERS = (None, (3, 5))


def agreement(
    settings: Settings, stream: str, expert: str, level: dict[str, object], taught: int, seed: int
) -> float:
    """Share of what is not taught on which the level says what the expert says."""
    file = settings.file(stream)
    half = items_of(file) // 2
    plain = {
        "labels": labels_of(file),
        "seed": seed,
        "stream": {"label": expert, "shuffle": seed, "limit": half},
        "expert": {"kind": "column", "column": expert},
        "level": [{"kind": "linear", "name": "linear", **level}],
        "method": {"kind": "distilled", "level": "linear", "train": taught},
    }
    configuration = msgspec.convert(plain, Configuration)
    with tempfile.TemporaryDirectory() as folder:
        found = learn_stream(configuration, file, Path(folder) / "out")
    assert found.measured.accuracy is not None  # noqa: S101 - each item has the expert's label
    return found.measured.accuracy


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--streams", nargs="*", default=["hatespeech", "isear"], choices=STREAMS)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    settings = Settings(data=options.data, out=Path())
    seeds = range(1, options.seeds + 1)
    for stream, expert in itertools.product(options.streams, EXPERTS):
        half = items_of(settings.file(stream)) // 2
        for taught in (STREAMS[stream].budgets[0], 2 * half // 3):
            for characters, alpha in itertools.product(CHARACTERS, ALPHAS):
                level: dict[str, object] = {"characters": characters, "alpha": alpha}
                each = [
                    100 * agreement(settings, stream, expert, level, taught, one) for one in seeds
                ]
                spread = statistics.stdev(each) if len(each) > 1 else 0.0
                read = "words" if characters is None else "words and characters"
                print(
                    f"{stream}, {EXPERTS[expert][0]}, {taught} taught, {read}, alpha {alpha:g}:"
                    f" {statistics.mean(each):.2f} ± {spread:.2f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
