"""Chooses on the validation split: the learning rate, by the baseline alone, and what w does."""

from __future__ import annotations

import dataclasses
import json

from benchmarks.study import train
from benchmarks.study.arms import ARMS, Settings
from benchmarks.study.data import training_examples

from escalade.edge.trace import read_trace
from escalade.simulator.curves import area_under_curve, deferral_curve
from escalade.training.examples import Examples

LEARNING_RATES = (1e-3, 2e-3, 4e-3)
#: Shares of the one-hot term in CAT-Dist; the study keeps the paper's 0.5 whatever they say.
WEIGHTS = (0.2, 0.5, 0.8)


def run(settings: Settings) -> None:
    """Train `xent` with each rate and `cat-dist` with each w; print what the split says.

    The baseline chooses the rate, so that none is chosen for the sake of CAT.
    """
    settings.out.mkdir(parents=True, exist_ok=True)
    train.write_large_answers(settings, "valid")
    examples = training_examples(settings, "bundled")
    for rate in LEARNING_RATES:
        tried = dataclasses.replace(settings, learning_rate=rate)
        _try(tried, "xent", f"learning rate {rate:g}", f"pilot-{rate:g}", examples)
    train.write_predictions(settings, "bundled")
    for w in WEIGHTS:
        tried = dataclasses.replace(settings, w=w)
        _try(tried, "cat-dist", f"w {w:g}", f"pilot-w-{w:g}", examples)


def _try(settings: Settings, arm: str, label: str, folder: str, examples: Examples) -> None:
    """One seed of an arm, with what it shares linked from the study's folder."""
    tried = dataclasses.replace(settings, out=settings.out / folder)
    tried.out.mkdir(exist_ok=True)
    shared = {
        train.large_path(settings, "valid"): train.large_path(tried, "valid"),
        train.cache_path(settings, "bundled"): train.cache_path(tried, "bundled"),
    }
    for source, link in shared.items():
        if source.exists() and not link.exists():
            link.symlink_to(source.resolve())
    train.run(tried, ARMS[arm], 1, examples, splits=["valid"])
    done = tried.folder(arm, 1)
    match = json.loads((done / "metrics.json").read_text())["exact_match"]["valid"]
    area = area_under_curve(deferral_curve(read_trace(done / "valid.jsonl")))
    print(f"{arm}, {label}: {match:.4f} alone, {area:.4f} over all deferral rates", flush=True)
