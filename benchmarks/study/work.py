"""Which worker of the study does which runs; knows no loss and no statistics."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

from benchmarks.study import train
from benchmarks.study.arms import Arm, Data, Settings
from benchmarks.study.data import training_examples
from benchmarks.study.jobs import Share, keep_settings

from escalade.training.examples import Examples
from escalade.v1.identity import weights_revision


def prepare(settings: Settings, arms: Sequence[Arm]) -> None:
    """What all runs share: the large model's predictions and answers."""
    settings.out.mkdir(parents=True, exist_ok=True)
    check_same(settings)
    for split in train.SPLITS:
        _say(f"large model: answers to the {split} split")
        train.write_large_answers(settings, split)
    for data in sorted({arm.data for arm in arms if arm.loss != "xent"}):
        _say(f"large model: predictions on the {data} training queries")
        train.write_predictions(settings, data)


def check_same(settings: Settings) -> None:
    """Refuse a folder that holds runs under other settings, or beside other models."""
    kept = {
        name: str(value)
        for name, value in dataclasses.asdict(settings).items()
        if name not in ("out", "seeds", "base", "large")
    }
    kept |= {name: weights_revision(getattr(settings, name)) for name in ("base", "large")}
    keep_settings(settings.out, kept)


def train_share(settings: Settings, arms: Sequence[Arm], share: Share) -> None:
    """One process's runs; first seeds first."""
    runs = [(seed, arm) for seed in settings.seeds for arm in arms]
    mine = runs[share.number :: share.of]
    examples: dict[Data, Examples] = {}
    for number, (seed, arm) in enumerate(mine, start=1):
        if arm.data not in examples:
            examples[arm.data] = training_examples(settings, arm.data)
        started = time.time()
        train.run(settings, arm, seed, examples[arm.data])
        _say(
            f"worker {share.number}: {number}/{len(mine)} {arm.name}, seed {seed}:"
            f" {time.time() - started:.0f} s"
        )


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", flush=True)
