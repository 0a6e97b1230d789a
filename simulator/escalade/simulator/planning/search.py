"""Finds thresholds that keep a goal's bounds, or come nearest; measures nothing itself."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Sequence

from escalade.edge.trace import Trace
from escalade.simulator.errors import PlanError
from escalade.simulator.network import Network
from escalade.simulator.planning.choices import CHOICES, choices_of, halves_of
from escalade.simulator.planning.goals import Goal, Limit, Objective
from escalade.simulator.planning.measuring import Measured
from escalade.simulator.planning.planned import Bound, Figure, Plan
from escalade.simulator.recorded import answered, check_answered, is_priced, tiers_of
from escalade.simulator.replay import AS_RECORDED, Course, Setting

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
    check_asked(choices, seed)
    notes = [*notes, *setting.words]
    whole = answered("trace", trace, notes)
    check_answered(whole)
    first, second = (
        Measured(
            half,
            Course.of(tiers_of(half), networks, seed=seed, setting=setting),
            days=[goal.day] * len(networks),
        )
        for half in halves_of(whole, seed)
    )
    for half in (first, second):
        check_known(goal, half)
    cheapest: Objective = "money" if is_priced(trace.header) else "calls"
    minimised = goal.minimise or aim_of(goal, second, cheapest, notes)
    candidates = choices_of(first.tiers, choices)
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
    return Plan(
        goal=goal,
        minimised=minimised,
        met=best_rank[0] == 0.0,
        tiers=[tier.info.name for tier in second.tiers],
        thresholds=list(best),
        answered=second.answered(best),
        tried=len(candidates),
        chosen_by=first.queries,
        confirmed_by=second.queries,
        figures=figures,
        bounds=[
            bound_of(limit, getattr(one, limit.quantity), network=one.network)
            for one, limit in itertools.product(figures, goal.limits)
        ],
        alone=second.figures(second.alone()),
        deployment=None,
        notes=notes,
    )


def check_asked(choices: int, seed: int) -> None:
    """Refuse a search of nothing.

    Raises:
        PlanError: names the value.
    """
    if choices < 2:  # noqa: PLR2004 - all or none
        raise PlanError(f"choices must be >= 2; got {choices}")
    if seed < 0:
        raise PlanError(f"seed must be >= 0; got {seed}")


def aim_of(goal: Goal, measured: Measured, cheapest: Objective, notes: list[str]) -> Objective:
    """What is to be least where the goal leaves that open; see `Goal`.

    Args:
        goal: which does.
        measured: queries.
        cheapest: of what is spent.
        notes: where nothing is known of right answers, this is added.
    """
    (one, *_) = measured.alone()
    if goal.quality is not None or goal.accuracy is not None:
        return cheapest
    if math.isnan(one.of("errors")):
        notes.append(
            "not every answer was judged (references), so that nothing is known of right ones: what"
            f" has the least of {cheapest} was looked for"
        )
        return cheapest
    return "errors"


def check_known(goal: Goal, measured: Measured, but: Collection[str] = ()) -> None:
    """Refuse a bound, or an aim, that the trace says nothing of.

    Args:
        goal: of these.
        measured: queries.
        but: what is told by others.

    Raises:
        PlanError: names it, and what it needs.
    """
    _check_energy(goal, measured)
    priced = "the price of at least 1 member (--price) or link"
    needs = {
        "quality": "judged answers (references) of every query, and in each half of them one of the"
        " last tier's that is right",
        "accuracy": "judged answers (references) of every query",
        "errors": "judged answers (references) of every query",
        "degraded": "a deadline (--deadline-s)",
        "money": priced,
        "money_a_day": priced,
        "flops": "the parameters of every member",
        "replicas": "a fleet (--fleet)",
    }
    asked = [
        *(limit.quantity for limit in goal.limits),
        *([goal.minimise] if goal.minimise else []),
    ]
    wanted = [name for name in asked if name not in but]
    for course, one in zip(measured.courses, measured.alone(), strict=True):
        for name in wanted:
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
                "battery_share needs the power of the device: --device RECORDED=DEVICE, or device"
                " of a fleet's group, of one that has watts (--devices FILE)"
            )
        if course.spending.called_j is None:
            raise PlanError(
                f"battery_share needs the energy of every link, and network {course.network.name!r}"
                " says none: joules_per_call or joules_per_mb (--profiles FILE)"
            )


def bound_of(
    limit: Limit, found: Figure, *, network: str | None, group: str | None = None
) -> Bound:
    """A bound, and whether what was found keeps it."""
    worst = found.low if limit.at_least else found.high
    return Bound(
        network=network,
        group=group,
        quantity=limit.quantity,
        limit=limit.value,
        at_least=limit.at_least,
        found=found,
        kept=limit.missed_by(found.value) == 0.0,
        surely=limit.missed_by(worst) == 0.0,
    )
