"""Thresholds and replicas that keep a goal in a fleet, or come nearest; runs no fleet itself.

Chosen is on one half of the queries; what a plan says of its goal is of the other half, and what it
says of the deployment of all, as `escalade fleet` has them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from escalade.edge.trace import Trace
from escalade.simulator.errors import PlanError
from escalade.simulator.fleet import RUNS, Trials
from escalade.simulator.planning.choices import CHOICES, choices_of, halves_of
from escalade.simulator.planning.deployment.confirming import bounds_of, deployment_of
from escalade.simulator.planning.deployment.fleet_file import PlannedFleet
from escalade.simulator.planning.deployment.serving import TIMES, Choice, Served, Serving
from escalade.simulator.planning.deployment.walking import walk
from escalade.simulator.planning.goals import Day, Goal, Limit, Objective
from escalade.simulator.planning.measuring import Measured, Outcome
from escalade.simulator.planning.planned import Plan
from escalade.simulator.planning.search import aim_of, check_asked, check_known
from escalade.simulator.recorded import Floats, answered, check_answered

Progress = Callable[[int, int], None]

#: What a trace need not say: a fleet does.
_TOLD = ("money", "money_a_day", "degraded", "replicas")


def plan_deployment(
    trace: Trace,
    fleet: PlannedFleet,
    goal: Goal,
    *,
    notes: Sequence[str] = (),
    choices: int = CHOICES,
    seed: int = 1,
    progress: Progress = lambda done, total: None,
) -> Plan:
    """Choose thresholds, and the fewest replicas with which they keep a goal in a fleet.

    Bounds of a query hold in every group of the trace; of money for all the fleet.

    Args:
        trace: every tier's answer to every query, of at least 2 tiers.
        fleet: whose groups ask them.
        goal: what is asked.
        notes: what was noted before.
        choices: of thresholds that are compared, at most; >= 2.
        seed: of the halves, the networks, and the first of the runs.
        progress: called with (done, all), of choices and then of those that replicas are looked
            for.

    Raises:
        SimulatorError: the trace lacks answers or scores, or does not fit a fleet; or the fleet
            cannot be served, whatever the thresholds.
        PlanError: it has too few queries, or lacks what a bound needs.
    """
    check_asked(choices, seed)
    notes = [*notes, *fleet.notes]
    whole = answered("trace", trace, notes, shortens=False)
    check_answered(whole)
    halves = halves_of(whole, seed)
    names = [one.name for one in fleet.groups]
    days = _days(goal, fleet)
    first, second = (Measured(half, fleet.courses(half, seed), names, days=days) for half in halves)
    by_first, by_second = (
        Trials(
            fleet.spec,
            fleet.folder,
            half,
            names,
            seed=seed,
            known=fleet.known,
            devices=fleet.devices,
        )
        for half in halves
    )
    limits = goal.limits
    check_known(goal, first, but=_TOLD)
    minimised = _aim(goal, fleet, second, notes)
    if not any(limit.quantity in TIMES for limit in limits):
        notes.append("no bound is of time: as many replicas as keep up, before which queries wait")
    serving = Serving(
        by_first,
        by_second,
        limits,
        fleet.spec.cloud.price_per_hour,
        may_lose=fleet.may_lose and (goal.quality or goal.accuracy) is not None,
    )
    grid = choices_of(first.tiers, choices)
    compared = list[Choice]()
    for thresholds in grid:
        load, least = serving.load(thresholds)
        outcomes = first.at(thresholds)
        compared.append(
            Choice(
                thresholds=thresholds,
                aim=sum(one.of(minimised) for one in outcomes),
                accuracy=outcomes[0].of("accuracy"),
                last_right=_last_right(outcomes[0]),
                missed=_missed(limits, outcomes),
                time=_time(limits, outcomes),
                load=load,
                least=least,
                spent_a_day=fleet.spent_a_day([one.of("money") for one in outcomes]),
            )
        )
        progress(len(compared), len(grid))
    can_be = [one for one in compared if one.load < math.inf]
    if not can_be:
        for one in (by_first, by_second):
            one.checked_load(grid[-1])  # says why, of the fewest calls
    served = _best(can_be, serving, minimised, progress)
    thresholds = served.choice.thresholds
    outcomes = second.at(thresholds)
    figures = second.figures(outcomes)
    deployment, told = deployment_of(fleet, served, figures, tried=serving.tried, seed=seed)
    notes += [one for one in told if one.partition(": ")[2] not in notes]
    return Plan(
        goal=goal,
        minimised=minimised,
        met=served.missed == 0.0,
        tiers=[tier.info.name for tier in second.tiers],
        thresholds=list(thresholds),
        answered=second.answered(thresholds),
        tried=len(compared),
        chosen_by=first.queries,
        confirmed_by=second.queries,
        figures=figures,
        bounds=bounds_of(limits, served, by_second, figures, _last_right(outcomes[0]), deployment),
        alone=second.figures(second.alone()),
        deployment=deployment,
        notes=notes,
    )


def _best(
    choices: Sequence[Choice], serving: Serving, minimised: Objective, progress: Progress
) -> Served:
    """With the least of what is to be least among those that keep the goal; or the nearest."""
    found = dict[int, Served]()

    def aim(choice: Choice, replicas: int) -> float:
        if minimised == "money":
            return serving.money_a_day(choice, replicas)
        return replicas if minimised == "replicas" else choice.aim

    def value(place: int) -> float:
        one = found[place] = serving.fewest(choices[place])
        return aim(one.choice, one.replicas) if one.missed == 0 else math.inf

    def missed(place: int) -> float:
        known = [one.missed for one in found.values() if len(one.runs) == RUNS]
        one = found[place] = serving.fewest(choices[place], min(known, default=math.inf))
        return one.missed

    # What is so where nobody waits: a fleet makes it no better.
    alone = np.array(
        [max(one.missed, one.time - 1, serving.money_missed(one, one.least)) for one in choices]
    )
    # Who has more answers right has more to lose, where some are lost.
    rights = [-one.accuracy if serving.may_lose else 0.0 for one in choices]
    asked = np.array(
        [
            [one.load, one.time, one.spent_a_day, right]
            for one, right in zip(choices, rights, strict=True)
        ]
    )
    may = np.flatnonzero(alone <= 0)
    aims = np.array([aim(one, one.least) for one in choices])
    best = walk(aims[may], asked[may], lambda at: value(int(may[at])), progress)
    if best is not None:
        return found[int(may[best])]
    found.clear()
    nearest: Floats = np.maximum(alone, 0.0)
    best = walk(nearest, asked, missed, progress)
    assert best is not None  # noqa: S101 - there is a choice, and what it misses is finite
    return found[best]


def _days(goal: Goal, fleet: PlannedFleet) -> list[Day]:
    """Of each group, for its own battery and its own queries; money is of all the fleet."""
    if goal.battery_share is None:
        return [Day()] * len(fleet.groups)
    return [
        msgspec.structs.replace(
            goal,
            battery_wh=fleet.battery_wh_of(group),
            queries_a_device=fleet.a_day[group.name],
        ).day._replace(queries=None)
        for group in fleet.groups
    ]


def _aim(goal: Goal, fleet: PlannedFleet, measured: Measured, notes: list[str]) -> Objective:
    """What is to be least; checks that bounds and aim are known."""
    check_known(goal, measured, but=_TOLD)
    priced = any(not math.isnan(one.of("money")) for one in measured.alone())
    priced = priced or fleet.spec.cloud.price_per_hour > 0
    if not priced and (goal.money_a_day is not None or goal.minimise == "money"):
        raise PlanError(
            "money needs the price of replicas (price_per_hour of the fleet's cloud), or that of at"
            " least 1 member (--price) or link; none has one"
        )
    found = goal.minimise or aim_of(goal, measured, "money" if priced else "replicas", notes)
    others = len(fleet.spec.groups) - len(fleet.groups)
    if others and (found == "money" or goal.money_a_day is not None):
        names = ", ".join(one.name for one in fleet.groups)
        notes.append(f"money is of all replicas, and of members and links of {names} alone")
    return found


def _missed(limits: Sequence[Limit], outcomes: Sequence[Outcome]) -> float:
    """By which share the worst bound is missed that replicas do nothing for."""
    served = {*TIMES, "degraded", "money_a_day"}
    return max(
        (
            limit.missed_by(one.of(limit.quantity))
            for one in outcomes
            for limit in limits
            if limit.quantity not in served
        ),
        default=0.0,
    )


def _time(limits: Sequence[Limit], outcomes: Sequence[Outcome]) -> float:
    asked = [limit for limit in limits if limit.quantity in TIMES]
    return max(
        (one.of(limit.quantity) / limit.value for limit in asked for one in outcomes), default=0.0
    )


def _last_right(outcome: Outcome) -> float:
    return math.nan if outcome.last_correct is None else float(outcome.last_correct.mean())
