"""Evaluates groups of traces as the CAT paper does its models; knows no page and no file.

Entry point of `escalade evaluate`. Quality against cost (figures 2, 3 and 5), its parts A1
and A2 (figure 4), deferral rules beside each other (figure 6) and tasks one by one (figures
8 to 12) of arXiv 2406.00060, with what the paper reads off them: cost saved at equal quality
and quality gained at equal cost. A group is one model: a trace for each seed it was trained
with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from escalade.edge.trace import Trace
from escalade.simulator.curves import (
    Columns,
    Metric,
    Split,
    columns_of,
    metric_named,
    paired_places,
    split_at,
)
from escalade.simulator.errors import SimulatorError, naming, unknown
from escalade.simulator.evaluation.bootstrap import check_resamples, generator
from escalade.simulator.evaluation.replicates import batches
from escalade.simulator.evaluation.results import CostInfo, Evaluation, MetricInfo, Slice
from escalade.simulator.evaluation.slices import Asked, GroupColumns, evaluate_slice
from escalade.simulator.recorded import (
    RECORDED,
    CostModel,
    Floats,
    Rule,
    answered,
    cost_named,
    rule_name,
    scores_of,
)

#: The ends of a 95 % interval then move by some 2 % of its width from one seed to another
#: (normal: sqrt(0.025 x 0.975 / 1000) / phi(1.96) / 3.92). On one slow core 6,000 queries x 40
#: traces took 8 s with recorded correctness, 12 s with per, 60 s with BLEU and 77 s with chrF.
RESAMPLES = 1000

#: Called with how many batches of resamples are done, and of how many.
Progress = Callable[[int, int], None]


def evaluate(
    groups: Mapping[str, Sequence[Trace]],
    *,
    rules: Sequence[Rule] = (RECORDED,),
    metric: str | Metric = "recorded",
    cost: str | CostModel = "flops_per_token",
    gate: str | None = None,
    baseline: str | None = None,
    quality: float | None = None,
    budget: float | None = None,
    by_task: bool = False,
    resamples: int = RESAMPLES,
    notes: Sequence[str] = (),
    seed: int = 0,
    progress: Progress | None = None,
) -> Evaluation:
    """Deferral curves of every group and rule, the numbers read off them, and their intervals.

    Args:
        groups: shadow-mode traces by the name of their model, one for each training seed. Only
            queries that are in all of them count.
        rules: deferral rules, recomputed from the recorded log-probabilities; `recorded` takes
            the recorded score. Further ones are held against the first.
        metric: what quality is; see `METRICS`.
        cost: what the curves' x axis is; see `COSTS`.
        gate: the tier before the gate whose threshold is swept; None is the first of each trace.
            Other gates stay at their recorded thresholds, see `curves.split`.
        baseline: the group that others are held against; None is the first.
        quality: where costs are compared, in the metric's unit; None is midway between the
            baseline's small and large model alone. A task is always read at its own midway.
        budget: where qualities are compared, in the cost's unit; None is what the baseline
            needs for `quality` under the first rule.
        by_task: evaluate each task by itself too (appendix D).
        resamples: of the bootstrap, >= 1.
        notes: what was noted before.
        seed: same seed, same numbers.
        progress: called after each batch of resamples.

    Raises:
        SimulatorError: an unknown name, a value out of range, or traces that lack what the
            rules, the metric or the cost model need.
    """
    metric, cost = metric_named(metric), cost_named(cost)
    asked = Asked(
        metric=metric,
        rules=[rule_name(rule) for rule in rules],
        baseline=_baseline(groups, baseline),
        quality=quality,
        budget=budget,
        resamples=resamples,
    )
    _check(asked)
    notes = list(notes)
    splits = [
        (group, label, _split(label, trace, gate, notes))
        for group, members in groups.items()
        for label, trace in _labelled(group, members)
    ]
    unit = _unit(cost, [split for _, _, split in splits])
    places = paired_places(
        [split for _, _, split in splits], labels=[label for _, label, _ in splits]
    )
    _note_unpaired(splits, len(places[0]), notes)
    recorded_by = sorted({split.tier.info.rule or "none" for _, _, split in splits})
    if RECORDED in rules and len(recorded_by) > 1:
        notes.append(f"recorded: scores are of different rules: {', '.join(recorded_by)}")
    columns: GroupColumns = {group: [] for group in groups}
    for (group, label, split), place in zip(splits, places, strict=True):
        columns[group].append(_taken(_columns(label, split, rules, metric, cost), place))

    first = splits[0][2]
    tasks = np.array([record.task for record in first.records])[places[0]]
    names: list[str | None] = [None, *(sorted(set(tasks.tolist())) if by_task else [])]
    total = len(names) * len(splits) * batches(resamples)
    done = 0

    def tick() -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total)

    slices: list[Slice] = []
    for k, task in enumerate(names):
        members = np.arange(len(tasks)) if task is None else np.flatnonzero(tasks == task)
        taken = {
            group: [_taken(answers, members) for answers in seeds]
            for group, seeds in columns.items()
        }
        slices.append(evaluate_slice(taken, asked, task, generator(seed, k), tick))
        if metric.name == "bleu" and not any(row.area.value for row in slices[-1].headlines):
            which = "all queries" if task is None else task
            notes.append(f"{which}: BLEU is 0, as it is without answers of 4 words")
    return Evaluation(
        metric=MetricInfo(
            name=metric.name,
            label=metric.label,
            higher_is_better=metric.higher_is_better,
            is_share=metric.is_share,
            signature=metric.signature(first.records) if metric.signature else None,
        ),
        cost=CostInfo(name=cost.name, label=cost.label, unit=unit),
        groups={group: len(members) for group, members in groups.items()},
        baseline=asked.baseline,
        gate=first.tier.info.name,
        gates=len(first.header.tiers) - 1,
        rules=asked.rules,
        resamples=resamples,
        seed=seed,
        slices=slices,
        notes=notes,
    )


def _baseline(groups: Mapping[str, Sequence[Trace]], baseline: str | None) -> str:
    if not groups:
        raise SimulatorError("an evaluation needs at least 1 trace")
    for group, members in groups.items():
        if not members:
            raise SimulatorError(f"group {group!r} has no trace; at least 1 is needed")
    if baseline is not None and baseline not in groups:
        raise SimulatorError(unknown("baseline", baseline, groups))
    return next(iter(groups)) if baseline is None else baseline


def _check(asked: Asked) -> None:
    check_resamples(asked.resamples)
    if not asked.rules:
        raise SimulatorError("an evaluation needs at least 1 rule")
    if twice := {rule for rule in asked.rules if asked.rules.count(rule) > 1}:
        raise SimulatorError(f"rule {min(twice)!r} is given twice")
    most = 1.0 if asked.metric.is_share else 100.0
    if not asked.metric.higher_is_better:
        most = float("inf")  # an answer may hold more errors than its reference has symbols
    if asked.quality is not None and not 0 <= asked.quality <= most:
        raise SimulatorError(
            f"quality must be in [0, {most:g}], the range of {asked.metric.name!r}; got"
            f" {asked.quality:g}"
        )
    if asked.budget is not None and not 0 <= asked.budget < float("inf"):
        raise SimulatorError(f"budget must be finite and >= 0; got {asked.budget:g}")


def _labelled(group: str, members: Sequence[Trace]) -> list[tuple[str, Trace]]:
    """Each trace under the name that notes and errors call it."""
    if len(members) == 1:
        return [(group, members[0])]
    return [(f"{group}, trace {k}", trace) for k, trace in enumerate(members, start=1)]


def _split(label: str, trace: Trace, gate: str | None, notes: list[str]) -> Split:
    """A trace at the gate; notes the queries that do not come to it."""
    with naming(label):
        whole = answered(label, trace, notes)
        split = split_at(whole, gate)
    if lacking := len(whole.records) - len(split.records):
        notes.append(
            f"{label}: {lacking} of {len(whole.records)} queries are answered below the gate after"
            f" {split.tier.info.name!r} and are left out"
        )
    return split


def _unit(cost: CostModel, splits: Sequence[Split]) -> str:
    units = {cost.unit_in(split.header) for split in splits}
    if len(units) > 1:
        raise SimulatorError(
            f"cost {cost.name!r} must be in one currency; traces have {', '.join(sorted(units))}"
        )
    return units.pop()


def _note_unpaired(splits: Sequence[tuple[str, str, Split]], shared: int, notes: list[str]) -> None:
    notes.extend(
        f"{label}: {len(split.records) - shared} of {len(split.records)} queries are not in every"
        " trace and are left out"
        for _, label, split in splits
        if len(split.records) > shared
    )


def _columns(
    label: str, split: Split, rules: Sequence[Rule], metric: Metric, cost: CostModel
) -> tuple[Columns, list[Floats]]:
    """The answers once, and their scores under each rule."""
    with naming(label):
        columns = columns_of(split, rule=rules[0], metric=metric, cost=cost)
        return columns, [columns.score, *(scores_of(split.tier, rule) for rule in rules[1:])]


def _taken(
    answers: tuple[Columns, list[Floats]], places: NDArray[np.intp]
) -> tuple[Columns, list[Floats]]:
    columns, scores = answers
    return columns.take(places), [score[places] for score in scores]
