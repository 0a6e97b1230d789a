"""Which worker of the study does which runs; knows no loss and no statistics."""

from __future__ import annotations

import time
from collections.abc import Sequence

from benchmarks.study import train
from benchmarks.study.arms import Arm, Data, Settings
from benchmarks.study.data import training_examples


def prepare(settings: Settings, arms: Sequence[Arm]) -> None:
    """What all runs share: the large model's predictions and answers."""
    settings.out.mkdir(parents=True, exist_ok=True)
    for split in train.SPLITS:
        _say(f"large model: answers to the {split} split")
        train.write_large_answers(settings, split)
    for data in sorted({arm.data for arm in arms if arm.loss != "xent"}):
        _say(f"large model: predictions on the {data} training queries")
        train.write_predictions(settings, data)


def train_share(settings: Settings, arms: Sequence[Arm], worker: int, workers: int) -> None:
    """Every `workers`-th run, beginning with number `worker`; first seeds first."""
    runs = [(seed, arm) for seed in settings.seeds for arm in arms]
    mine = runs[worker::workers]
    examples: dict[Data, object] = {}
    for number, (seed, arm) in enumerate(mine, start=1):
        if arm.data not in examples:
            examples[arm.data] = training_examples(settings, arm.data)
        started = time.time()
        train.run(settings, arm, seed, examples[arm.data])  # type: ignore[arg-type]
        _say(
            f"worker {worker}: {number}/{len(mine)} {arm.name}, seed {seed}:"
            f" {time.time() - started:.0f} s"
        )


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)
