"""Chooses the study's learning rate on the validation split, with plain cross-entropy alone."""

from __future__ import annotations

import dataclasses
import json

from benchmarks.study import train
from benchmarks.study.arms import ARMS, Settings
from benchmarks.study.data import training_examples

LEARNING_RATES = (1e-3, 2e-3, 4e-3)


def run(settings: Settings) -> None:
    """Train `xent` once with each rate; print exact match on the validation split.

    The baseline chooses, so that no rate is chosen for the sake of CAT.
    """
    settings.out.mkdir(parents=True, exist_ok=True)
    train.write_large_answers(settings, "valid")
    examples = training_examples(settings, "bundled")
    for rate in LEARNING_RATES:
        out = settings.out / f"pilot-{rate:g}"
        tried = dataclasses.replace(settings, learning_rate=rate, out=out)
        out.mkdir(exist_ok=True)
        answers = train.large_path(tried, "valid")
        if not answers.exists():
            answers.symlink_to(train.large_path(settings, "valid"))
        train.run(tried, ARMS["xent"], 1, examples, splits=["valid"])
        metrics = json.loads((tried.folder("xent", 1) / "metrics.json").read_text())
        print(f"learning rate {rate:g}: {metrics['exact_match']['valid']:.4f}", flush=True)
