"""Calibrates a cascade: the thresholds of all its gates, into its file; knows no network.

Queries are shuffled by a seed and halved, as for one artifact: one half sets the thresholds, the
other says what they do on queries it has not seen. A guarantee for several gates takes half of
the first half to put its tests in order.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from escalade.edge.base import counted, source_name, utc_now
from escalade.edge.calibration.gates.climb import Sample, climb, right_under
from escalade.edge.calibration.gates.goals import thresholds_for
from escalade.edge.calibration.gates.recorded import RecordedQueries, recorded_queries
from escalade.edge.calibration.gates.writing import (
    manifests_of,
    member_weights_of,
    samples_of,
    write_calibration,
)
from escalade.edge.calibration.halves import halves_of, learned_from
from escalade.edge.calibration.risk import share_of, wilson_interval
from escalade.edge.cascade import Cascade
from escalade.edge.cascade_file import read_cascade_file
from escalade.edge.deferral import (
    CascadeCalibration,
    CascadeGoal,
    CascadeMeasured,
    CostUnit,
    Gate,
    GateMeasured,
    RatesGoal,
    Router,
    WithinGoal,
)
from escalade.edge.errors import CalibrationError


def calibrate_cascade(
    path: Path,
    cascade: Cascade,
    trace: Path,
    goal: CascadeGoal,
    *,
    cost: CostUnit | None = None,
    limit: int | None = None,
    blocked: float = 0.0,
    seed: int = 1,
) -> CascadeCalibration:
    """Set the thresholds of a cascade's gates from a trace of it, and write them into its file.

    The file's comments and layout stay. Members are pinned: where another manifest lies there
    later, the cascade does not open. Artifacts keep their rules and are not written.

    Args:
        path: the cascade's file.
        cascade: opened from it, whatever its thresholds.
        trace: of `escalade record` through it.
        goal: what the thresholds are for.
        cost: what costs are counted in; None takes FLOPs, or calls where a model does not say
            how large it is.
        limit: use that many queries, evenly spread over the trace; all if None.
        blocked: the share that a policy keeps beside what its content does; see
            `recorded_queries`.
        seed: who is in which half, >= 0.

    Returns:
        What was written; see `find_thresholds`.

    Raises:
        DataError: the trace cannot be read, or the file not written.
        CascadeError: the file cannot be read.
        CalibrationError: see `find_thresholds`, `recorded_queries`. Nothing is written.
        ModuleNotFoundError: tomlkit is not there (the extra `calibration`); before any work.
    """
    importlib.import_module("tomlkit")
    if not path.is_file():
        raise CalibrationError(
            f"{path}: is no regular file, and what is found is written into it; give a file"
        )
    if len(cascade.tiers) < 2:  # noqa: PLR2004
        raise CalibrationError(f"{path}: a cascade of 1 tier has no gate to calibrate")
    content = read_cascade_file(path, calibrated=False)
    judged = not isinstance(goal, RatesGoal)
    queries = recorded_queries(
        cascade, content, trace, unit=cost, judged=judged, limit=limit, blocked=blocked
    )
    calibration = find_thresholds(cascade, queries, goal, seed=seed)
    write_calibration(path, content, cascade, calibration)
    return calibration


def find_thresholds(
    cascade: Cascade, queries: RecordedQueries, goal: CascadeGoal, *, seed: int = 1
) -> CascadeCalibration:
    """Find thresholds on one half of the queries, and say what they do on both.

    Args:
        cascade: whatever its thresholds.
        queries: recorded through it.
        goal: see `thresholds_for`, and for what is guaranteed `thresholds_within`.
        seed: who is in which half, >= 0.

    Returns:
        Where the goal is `WithinGoal` and nothing can be certified, the thresholds defer every
        query, and `certified` is False.

    Raises:
        CalibrationError: the goal is out of range or cannot be reached, answers are not judged,
            there are too few, or it is not known whether a router was trained on these queries
            or, where something is to be guaranteed, whose answers they are.
    """
    gates = [gate for gate in cascade.gates[:-1] if gate is not None]
    guaranteed = isinstance(goal, WithinGoal)
    if guaranteed and not queries.identified:
        raise CalibrationError(
            f"{queries.source}: does not say which programs it was recorded with, so that nothing"
            " can be guaranteed; record it again"
        )
    sample = queries.sample
    halves = halves_of(
        sample.n, seed=seed, but=_learned_from(cascade, queries, guaranteed=guaranteed)
    )
    ordered = len(halves.fit) // 2 if guaranteed and sample.gates > 1 else 0
    if not halves.fit or (guaranteed and sample.gates > 1 and not ordered):
        raise CalibrationError(f"too few to divide: {counted(sample.n, 'query')}")
    fit = sample.take(halves.fit[ordered:])
    lowest = [gate.rule.lowest for gate in gates]
    weights = member_weights_of(cascade)
    found = thresholds_for(
        goal,
        fit,
        ordering=sample.take(halves.fit[:ordered]) if ordered else None,
        unit=queries.unit,
        lowest=lowest,
    )
    thresholds = tuple(lowest) if found is None else found
    return CascadeCalibration(
        data=source_name(queries.source),
        data_sha256=queries.sha256,
        goal=goal,
        cost=queries.unit,
        rules=[gate.rule.name for gate in gates],
        thresholds=list(thresholds),
        members=manifests_of(cascade),
        weights=[] if set(weights) == {1.0} else weights,
        samples=samples_of(cascade),
        policy=queries.policy,
        certified=found is not None if guaranteed else None,
        fit=measured(fit, thresholds),
        held_out=measured(sample.take(halves.held_out), thresholds) if halves.held_out else None,
        trained=sample.n - len(halves.fit) - len(halves.held_out),
        ordered=ordered,
        left_out=queries.asked - sample.n,
        seed=seed,
        date=utc_now(),
    )


def measured(sample: Sample, thresholds: Sequence[float]) -> CascadeMeasured:
    """What thresholds do on n >= 1 queries."""
    ends = climb(sample, thresholds)
    gates = []
    for gate in range(sample.gates):
        reached = int(np.count_nonzero(ends.answered_by >= gate))
        deferred = int(np.count_nonzero(ends.answered_by > gate))
        rate = deferred / reached if reached else 0.0
        interval = wilson_interval(rate, reached) if reached else (0.0, 1.0)
        gates.append(GateMeasured(reached=reached, deferral_rate=rate, deferral_interval=interval))
    cost, last = float(ends.cost.mean()), float(sample.costs[-1][0].mean())
    if sample.right is None:
        return CascadeMeasured(n=sample.n, gates=gates, cost=cost, last_tier_cost=last)
    quality = float(right_under(sample, thresholds).mean())
    return CascadeMeasured(
        n=sample.n,
        gates=gates,
        cost=cost,
        last_tier_cost=last,
        quality=quality,
        quality_interval=wilson_interval(quality, sample.n),
        tier_qualities=[share_of(right) for right in sample.right.T],
    )


def _learned_from(cascade: Cascade, queries: RecordedQueries, *, guaranteed: bool) -> set[int]:
    """Those of the queries that a router of a gate has learned from.

    Raises:
        CalibrationError: see `learned_from`.
    """
    found = set()
    for tier, gate in zip(cascade.tiers, cascade.gates, strict=True):
        if isinstance(gate, Gate) and isinstance(gate.rule, Router):
            artifact = tier.opened[0].artifact
            found |= learned_from(artifact, queries.prompts, queries.sha256, guaranteed=guaranteed)
    return found
