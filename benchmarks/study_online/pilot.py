"""Chooses the linear level's alpha, on the halves of the streams that the study does not measure.

    .venv/bin/python -m benchmarks.study_online.pilot --data FOLDER [--seeds 3]

Two thirds of the half teach a distilled linear level, and on the rest it is held against the
expert: no label of a person is read, and no item that the study measures.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import msgspec
from benchmarks.study_online.settings import Settings
from benchmarks.study_online.streams import EXPERTS, STREAMS, items_of, labels_of

from escalade.training.online import Configuration, learn_stream

ALPHAS = (1e-5, 2e-5, 5e-5, 1e-4)


def agreement(settings: Settings, stream: str, expert: str, alpha: float, seed: int) -> float:
    """Share of the last third on which the level says what the expert says."""
    file = settings.file(stream)
    half = items_of(file) // 2
    plain = {
        "labels": labels_of(file),
        "seed": seed,
        "stream": {"label": expert, "shuffle": seed, "limit": half},
        "expert": {"kind": "column", "column": expert},
        "level": [{"kind": "linear", "name": "linear", "alpha": alpha}],
        "method": {"kind": "distilled", "level": "linear", "train": 2 * half // 3},
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
    for stream in options.streams:
        for expert, (title, _) in EXPERTS.items():
            for alpha in ALPHAS:
                seeds = range(1, options.seeds + 1)
                each = [100 * agreement(settings, stream, expert, alpha, one) for one in seeds]
                spread = statistics.stdev(each) if len(each) > 1 else 0.0
                shown = f"{statistics.mean(each):.2f} ± {spread:.2f}"
                print(f"{stream}, {title}, alpha {alpha:g}: {shown}", flush=True)


if __name__ == "__main__":
    main()
