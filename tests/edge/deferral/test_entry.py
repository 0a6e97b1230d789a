"""What a manifest may say of deferral."""

from __future__ import annotations

import math

import msgspec
import pytest

from escalade.edge.base import explain
from escalade.edge.deferral.entry import (
    CalibrationEntry,
    DeferralEntry,
    EarlyEntry,
    Measured,
    RateGoal,
    RouterTraining,
    WithinGoal,
    check_deferral,
)

replace = msgspec.structs.replace

MEASURED = Measured(
    n=10, deferral_rate=0.5, deferral_interval=(0.2, 0.8), tokens_saved=0.1, quality=0.5
)
CALIBRATION = CalibrationEntry(
    data="valid.jsonl",
    data_sha256="0" * 64,
    goal=RateGoal(target=0.5),
    fit=MEASURED,
    held_out=MEASURED,
    seed=1,
    date="2026",
)
EARLY = EarlyEntry(
    statistic="mean",
    level=0.1,
    min_tokens=1,
    miss_rate=0.1,
    delta=0.1,
    n=10,
    misses=0,
    stopped=0.0,
    tokens_saved=0.0,
)
TRAINING = RouterTraining(data_sha256="0" * 64, seed=1, asked=10, n=10)
GOOD = DeferralEntry(threshold=0.5, calibration=CALIBRATION, early=EARLY)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (replace(GOOD, threshold=math.nan), "threshold must be finite, got nan"),
        (replace(GOOD, threshold=None), "early: there is no threshold"),
        (replace(GOOD, rule="quantile:2"), r"rule 'quantile:2': .* in \[0, 1\], got '2'"),
        (replace(GOOD, rule="router"), "router must name a file where the rule is 'router'"),
        (replace(GOOD, router="router.json"), "router must name a file"),
        (replace(GOOD, rule="router", router="r.json"), "router: files does not list 'r.json'"),
        (replace(GOOD, router_training=TRAINING), "router_training: there is no router"),
        (
            replace(
                GOOD,
                rule="router",
                router="router.json",
                router_training=replace(TRAINING, prompts="p" * 99),
            ),
            "router_training.prompts: files does not list '" + "p" * 80 + "'",
        ),
        (
            replace(
                GOOD,
                rule="router",
                router="router.json",
                router_training=replace(TRAINING, n=-1),
            ),
            "router_training.n must be at least 0, got -1",
        ),
        (
            replace(GOOD, calibration=replace(CALIBRATION, goal=WithinGoal(epsilon=0, delta=0.1))),
            r"calibration.goal.epsilon must be in \(0, 1\), got 0",
        ),
        (replace(GOOD, calibration=replace(CALIBRATION, seed=-1)), "calibration.seed must be"),
        (
            replace(GOOD, calibration=replace(CALIBRATION, held_out=replace(MEASURED, n=0))),
            "calibration.held_out.n must be at least 1, got 0",
        ),
        (
            replace(GOOD, calibration=replace(CALIBRATION, fit=replace(MEASURED, quality=1.5))),
            r"calibration.fit.quality must be in \[0, 1\], got 1.5",
        ),
        (
            replace(
                GOOD,
                calibration=replace(
                    CALIBRATION, fit=replace(MEASURED, deferral_interval=(0.8, 0.2))
                ),
            ),
            r"calibration.fit: an interval must rise within \[0, 1\], got 0.8, 0.2",
        ),
        (replace(GOOD, early=replace(EARLY, level=math.inf)), "early.level must be finite"),
        (replace(GOOD, early=replace(EARLY, min_tokens=0)), "early.min_tokens must be at least 1"),
        (replace(GOOD, early=replace(EARLY, miss_rate=0.0)), "early.miss_rate must be in"),
    ],
)
def test_a_deferral_entry_out_of_range(bad: DeferralEntry, says: str) -> None:
    check(GOOD)
    with pytest.raises(ValueError, match=says):
        check(bad)


def check(entry: DeferralEntry) -> None:
    """As reading a manifest does: what the fields say, then what they do not."""
    raw = msgspec.to_builtins(entry)
    try:
        msgspec.convert(raw, DeferralEntry)
    except msgspec.ValidationError as error:
        raise ValueError(explain(error, raw, DeferralEntry)) from error
    check_deferral(entry, {"router.json"})
