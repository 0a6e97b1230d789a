"""Evaluates all groups over one set of queries; knows no trace, no file and no page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from escalade.simulator.curves import Columns, Metric, cost_at_quality
from escalade.simulator.evaluation.bootstrap import (
    draw_seeds,
    estimate,
    mean_over_seeds,
    p_value,
)
from escalade.simulator.evaluation.lines import curve_points
from escalade.simulator.evaluation.replicates import NUMBERS, SortedTrace, Target, replicate
from escalade.simulator.evaluation.results import Contrast, Headline, Slice, Spread
from escalade.simulator.recorded import Floats

#: Group name -> for each seed, its answers and their scores `(N,)` under each rule.
GroupColumns = dict[str, list[tuple[Columns, list[Floats]]]]


@dataclass(frozen=True)
class Asked:
    """What holds for every slice; see `evaluate`."""

    metric: Metric
    rules: list[str]
    baseline: str
    quality: float | None
    budget: float | None
    resamples: int


@dataclass(frozen=True)
class _Group:
    """The numbers of one group, H to a trace.

    Attributes:
        values: `(T, R, H)` over all queries: seeds, rules, `NUMBERS`.
        replicates: `(B, R, H)` means over resampled seeds and queries.
    """

    name: str
    traces: list[SortedTrace]
    values: Floats
    replicates: Floats

    @property
    def seeds(self) -> int:
        return len(self.values)

    def mean(self, number: str, rule: int) -> float:
        return float(self.values[:, rule, NUMBERS.index(number)].mean())

    def resampled(self, number: str, rule: int) -> Floats:
        return self.replicates[:, rule, NUMBERS.index(number)]


def evaluate_slice(
    columns: GroupColumns,
    asked: Asked,
    task: str | None,
    rng: np.random.Generator,
    tick: Callable[[], None],
) -> Slice:
    """Everything about one set of queries, paired over all groups.

    Args:
        columns: all over the same queries, in the same order.
        asked: see `evaluate`; its quality holds for the slice of all queries only.
        task: None for all queries.
        rng: draws queries and seeds.
        tick: see `replicate`.
    """
    traces = {
        group: [SortedTrace.of(*answers) for answers in seeds] for group, seeds in columns.items()
    }
    target = _target(traces[asked.baseline], asked, task)
    groups = _groups(traces, target, asked.resamples, rng, tick)
    return Slice(
        task=task,
        queries=len(columns[asked.baseline][0][0].ids),
        quality=target.quality,
        budget=target.budget,
        headlines=[
            _headline(group, rule, k)
            for group in groups.values()
            for k, rule in enumerate(asked.rules)
        ],
        contrasts=_contrasts(groups, asked),
        curves=[
            curve_points(group.name, rule, group.traces, k)
            for group in groups.values()
            for k, rule in enumerate(asked.rules)
        ],
    )


def _target(baseline: Sequence[SortedTrace], asked: Asked, task: str | None) -> Target:
    """The quality and the budget asked for, or where the baseline is midway."""
    quality = asked.quality if task is None else None
    if quality is None:
        ends = [trace.oracle.ends().quality(np.array([0.0, 1.0])) for trace in baseline]
        quality = float(np.mean(ends))
    if asked.budget is not None:
        return Target(quality, asked.budget)
    costs = [cost_at_quality(trace.sweeps[0].curve(), quality) for trace in baseline]
    reached = [cost for cost in costs if cost is not None]
    return Target(quality, float(np.mean(reached)) if len(reached) == len(costs) else None)


def _groups(
    traces: dict[str, list[SortedTrace]],
    target: Target,
    resamples: int,
    rng: np.random.Generator,
    tick: Callable[[], None],
) -> dict[str, _Group]:
    """The numbers of every group, over the same resamples of queries.

    Groups with as many seeds draw the same ones: the k-th of one is paired with the k-th of
    the other.
    """
    everyone = [trace for members in traces.values() for trace in members]
    replicates = replicate(everyone, target, resamples, rng, tick)
    drawn: dict[int, NDArray[np.intp]] = {}
    groups, start = {}, 0
    for name, members in traces.items():
        seeds = len(members)
        if seeds not in drawn:
            drawn[seeds] = draw_seeds(rng, seeds, resamples)
        own = replicates[start : start + seeds]
        groups[name] = _Group(
            name=name,
            traces=members,
            values=np.stack([trace.numbers(target) for trace in members]),
            replicates=mean_over_seeds(own, drawn[seeds]),
        )
        start += seeds
    return groups


def _headline(group: _Group, rule: str, k: int) -> Headline:
    numbers = {
        number: estimate(group.mean(number, k), group.resampled(number, k)) for number in NUMBERS
    }
    spreads = {
        number: _spread(group.values[:, k, NUMBERS.index(number)])
        for number in (NUMBERS if group.seeds > 1 else ())
    }
    return Headline(group=group.name, rule=rule, seeds=group.seeds, over_seeds=spreads, **numbers)


def _spread(by_seed: Floats) -> Spread:
    whole = np.isfinite(by_seed).all()
    return Spread(
        by_seed=[float(value) if np.isfinite(value) else None for value in by_seed],
        deviation=float(by_seed.std(ddof=1)) if whole else None,
    )


def _contrasts(groups: dict[str, _Group], asked: Asked) -> list[Contrast]:
    """Each group against the baseline under each rule; each further rule against the first."""
    baseline = groups[asked.baseline]
    pairs = [
        (group, k, baseline, k)
        for k in range(len(asked.rules))
        for group in groups.values()
        if group is not baseline
    ]
    pairs += [(group, k, group, 0) for group in groups.values() for k in range(1, len(asked.rules))]
    return [_contrast(*pair, asked) for pair in pairs]


def _contrast(a: _Group, rule_a: int, b: _Group, rule_b: int, asked: Asked) -> Contrast:
    sign = asked.metric.sign

    def gain(number: str) -> tuple[float, Floats]:
        value = sign * (a.mean(number, rule_a) - b.mean(number, rule_b))
        return value, sign * (a.resampled(number, rule_a) - b.resampled(number, rule_b))

    area = NUMBERS.index("area")
    paired = a.seeds == b.seeds > 1
    number = "cost_at_quality"
    saved = _saved(np.float64(a.mean(number, rule_a)), np.float64(b.mean(number, rule_b)))
    all_saved = _saved(a.resampled(number, rule_a), b.resampled(number, rule_b))
    area_gain, area_gains = gain("area")
    return Contrast(
        group=a.name,
        rule=asked.rules[rule_a],
        baseline=b.name,
        baseline_rule=asked.rules[rule_b],
        paired_seeds=paired,
        area_gain=estimate(area_gain, area_gains),
        p_value=p_value(area_gains),
        cost_saved=estimate(float(saved), all_saved),
        quality_gained=estimate(*gain("quality_at_budget")),
        area_gain_by_seed=(
            (sign * (a.values[:, rule_a, area] - b.values[:, rule_b, area])).tolist()
            if paired
            else []
        ),
    )


def _saved(cost: Floats | np.float64, baseline: Floats | np.float64) -> Floats:
    """1 - cost / baseline, an infinite cost being a quality that is never reached.

    More than any share is saved where only the baseline fails to reach it. What neither
    reaches has no ratio, and a baseline that is free none either.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.isinf(baseline) & np.isfinite(cost), np.inf, 1 - cost / baseline)
