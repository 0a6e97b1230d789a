"""Finds thresholds that keep a goal's bounds, or come nearest; measures nothing itself.

Candidates are a grid over quantiles of each gate's scores. They are compared on one half of the
queries, drawn by the seed; what a plan says of itself is of the other half.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from escalade.edge.trace import Trace
from escalade.simulator.errors import PlanError
from escalade.simulator.network import Network
from escalade.simulator.planning.goals import Goal, Objective
from escalade.simulator.planning.measuring import Measured
from escalade.simulator.planning.planned import Bound, Figures, Plan
from escalade.simulator.recorded import (
    Floats,
    answered,
    check_answered,
    is_priced,
    scores_of,
    tiers_of,
)
from escalade.simulator.replay import AS_RECORDED, Setting

#: Choices of thresholds that are tried, at most.
CHOICES = 2000
#: Queries of a half, at least: below, a 95th percentile is one query's.
_LEAST = 20

Progress = Callable[[int, int], None]


def make_plan(
    trace: Trace,
    networks: Sequence[Network],
    goal: Goal,
    *,
    setting: Setting = AS_RECORDED,
    notes: Sequence[str] = (),
    choices: int = CHOICES,
    seed: int = 1,
    progress: Progress = lambda done, total: None,
) -> Plan:
    """Choose thresholds that keep the goal on every network.

    Args:
        trace: every tier's answer to every query, of at least 2 tiers.
        networks: at least 1.
        goal: what is asked.
        setting: what is other than it was recorded.
        notes: what was noted before.
        choices: that are tried, at most; >= 2.
        seed: of the halves, and of the networks.
        progress: called with (tried, all).

    Raises:
        SimulatorError: the trace lacks answers or scores.
        PlanError: it has too few queries, or lacks what a bound needs.
    """
    if choices < 2:  # noqa: PLR2004 - all or none
        raise PlanError(f"choices must be >= 2; got {choices}")
    if seed < 0:
        raise PlanError(f"seed must be >= 0; got {seed}")
    notes = [*notes, *setting.words]
    whole = answered("trace", trace, notes)
    check_answered(whole)
    first, second = (
        Measured(half, tiers_of(half), networks, seed, setting) for half in _halves(whole, seed)
    )
    _check(goal, second, trace)
    minimised = goal.minimise or _aim(goal, second, trace, notes)
    candidates = list(itertools.islice(_candidates(first, choices), choices))
    best, best_rank = candidates[0], (math.inf, math.inf, math.inf)
    for done, candidate in enumerate(candidates, 1):
        outcomes = first.at(candidate)
        missed = max(
            limit.missed_by(one.of(limit.quantity)) for limit in goal.limits for one in outcomes
        )
        least, calls = (sum(one.of(name) for one in outcomes) for name in (minimised, "calls"))
        rank = (missed, least, calls)
        if rank < best_rank:
            best, best_rank = candidate, rank
        progress(done, len(candidates))
    outcomes = second.at(best)
    figures = second.figures(outcomes)
    by = second.courses[0].at(best).answered_by
    tiers = [tier.info.name for tier in second.tiers]
    return Plan(
        goal=goal,
        minimised=minimised,
        met=best_rank[0] == 0.0,
        tiers=tiers,
        thresholds=list(best),
        answered=[float((by == place).mean()) for place in range(len(tiers))],
        tried=len(candidates),
        chosen_by=first.queries,
        confirmed_by=second.queries,
        figures=figures,
        bounds=_bounds(goal, figures),
        alone=second.figures(second.alone()),
        notes=notes,
    )


def _halves(trace: Trace, seed: int) -> tuple[Trace, Trace]:
    count = len(trace.records)
    if count < 2 * _LEAST:
        raise PlanError(
            f"a plan needs at least {2 * _LEAST} queries, half of them to confirm it; the trace has"
            f" {count} that every tier answered"
        )
    order = np.random.default_rng(seed).permutation(count)
    chosen, other = sorted(order[: count // 2]), sorted(order[count // 2 :])
    return (
        trace._replace(records=[trace.records[k] for k in chosen]),
        trace._replace(records=[trace.records[k] for k in other]),
    )


def _candidates(measured: Measured, choices: int) -> Iterator[tuple[float, ...]]:
    gates = measured.tiers[:-1]
    each = max(int(choices ** (1 / len(gates))), 2)
    return itertools.product(*(_levels(scores_of(tier), each).tolist() for tier in gates))


def _levels(scores: Floats, count: int) -> Floats:
    """Thresholds from that which defers all to one that defers none that can be kept."""
    finite = scores[np.isfinite(scores)]
    if not len(finite):
        return np.array([0.0])
    above = np.nextafter(finite.max(), np.inf)
    shares = np.linspace(0.0, 1.0, count - 1)
    return np.unique([*np.quantile(finite, shares, method="lower"), above])


def _aim(goal: Goal, measured: Measured, trace: Trace, notes: list[str]) -> Objective:
    """What is to be least where the goal leaves that open; see `Goal`."""
    (one, *_) = measured.alone()
    cheapest: Objective = "money" if is_priced(trace.header) else "calls"
    if goal.quality is not None or goal.accuracy is not None:
        return cheapest
    if math.isnan(one.of("errors")):
        notes.append(
            "not every answer was judged (references), so that nothing is known of right ones: what"
            f" has the least of {cheapest} was looked for"
        )
        return cheapest
    return "errors"


def _check(goal: Goal, measured: Measured, trace: Trace) -> None:
    """Refuse a bound, or an aim, that the trace says nothing of."""
    _check_energy(goal, measured)
    needs = {
        "quality": "judged answers (references) of every query, some of the last tier's right",
        "accuracy": "judged answers (references) of every query",
        "errors": "judged answers (references) of every query",
        "degraded": "a deadline (--deadline-s)",
        "money": "the price of at least 1 member (--price) or link",
        "flops": "the parameters of every member",
    }
    wanted = [limit.quantity for limit in goal.limits]
    for course, one in zip(measured.courses, measured.alone(), strict=True):
        for name in [*wanted, *([goal.minimise] if goal.minimise else [])]:
            if math.isnan(one.of(name)):
                raise PlanError(
                    f"{name} needs {needs[name]}; it is not known on network"
                    f" {course.network.name!r}"
                )


def _check_energy(goal: Goal, measured: Measured) -> None:
    if goal.battery_share is None:
        return
    for course in measured.courses:
        if course.spending.computed_j is None:
            raise PlanError(
                "battery_share needs the power of the device: --device RECORDED=DEVICE, of one that"
                " has watts (--devices FILE)"
            )
        if course.spending.called_j is None:
            raise PlanError(
                f"battery_share needs the energy of every link, and network {course.network.name!r}"
                " says none: joules_per_call or joules_per_mb (--profiles FILE)"
            )


def _bounds(goal: Goal, figures: Sequence[Figures]) -> list[Bound]:
    bounds = []
    for one, limit in itertools.product(figures, goal.limits):
        found = getattr(one, limit.quantity)
        worst = found.low if limit.at_least else found.high
        bounds.append(
            Bound(
                network=one.network,
                quantity=limit.quantity,
                limit=limit.value,
                at_least=limit.at_least,
                found=found,
                kept=limit.missed_by(found.value) == 0.0,
                surely=limit.missed_by(worst) == 0.0,
            )
        )
    return bounds
