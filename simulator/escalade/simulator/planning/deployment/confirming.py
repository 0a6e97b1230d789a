"""What a deployment does, on queries that it was not chosen by and on all; chooses nothing."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from escalade.simulator.fleet import RUNS, FleetReport, Took, Trials, run_spec
from escalade.simulator.planning.deployment.fleet_file import PlannedFleet
from escalade.simulator.planning.deployment.serving import HOURS, SERVED, Served
from escalade.simulator.planning.goals import Limit
from escalade.simulator.planning.planned import (
    Bound,
    DeployedGroup,
    Deployment,
    Figure,
    NetworkFigures,
)
from escalade.simulator.planning.search import bound_of


def bounds_of(
    limits: Sequence[Limit],
    served: Served,
    trials: Trials,
    figures: Sequence[NetworkFigures],
    last_right: float,
    deployment: Deployment,
) -> list[Bound]:
    """Whether each bound is kept, by group, and of money by all.

    Args:
        limits: of the goal.
        served: thresholds and replicas.
        trials: a fleet of the queries that it is confirmed by.
        figures: of these, where nobody waits for another, by group.
        last_right: share that the last tier has right of them.
        deployment: what it costs.
    """
    thresholds = served.choice.thresholds
    runs = [trials.run(thresholds, served.replicas, run) for run in range(RUNS)]
    bounds = []
    for one in figures:
        took = [run[one.group or ""] for run in runs]
        for limit in limits:
            if limit.quantity != "money_a_day":
                found = _found(limit, one, took, last_right)
                bounds.append(bound_of(limit, found, network=one.network, group=one.group))
    spent = deployment.queries_cost_a_day
    whole = deployment.replicas_a_day
    return bounds + [
        bound_of(
            limit,
            Figure(value=whole, low=whole, high=whole)
            if spent is None
            else Figure(value=whole + spent.value, low=whole + spent.low, high=whole + spent.high),
            network=None,
        )
        for limit in limits
        if limit.quantity == "money_a_day"
    ]


def _found(
    limit: Limit, figures: NetworkFigures, took: Sequence[Took], last_right: float
) -> Figure:
    alone: Figure | None = getattr(figures, limit.quantity)
    if limit.quantity not in SERVED:
        assert alone is not None  # noqa: S101 - `check_known` refuses what is not known
        return alone
    lost = sorted(one.degraded for one in took)
    if limit.quantity not in {"quality", "accuracy"}:
        values = sorted(getattr(one, limit.quantity) for one in took)
        return Figure(value=statistics.median(values), low=values[0], high=values[-1])
    assert alone is not None  # noqa: S101 - see above
    of_all = last_right if limit.quantity == "quality" else 1.0
    return Figure(
        value=alone.value - statistics.median(lost) / of_all,
        low=alone.low - lost[-1] / of_all,
        high=alone.high - lost[0] / of_all,
    )


def deployment_of(
    fleet: PlannedFleet, served: Served, figures: Sequence[NetworkFigures], *, tried: int, seed: int
) -> tuple[Deployment, list[str]]:
    """A deployment, and what is to be said of its run.

    Args:
        fleet: that it is for.
        served: thresholds and replicas.
        figures: of a query of each group, for what members and links cost.
        tried: choices of thresholds that replicas were looked for.
        seed: of the run.

    Raises:
        SimulatorError: the run's, see `run_spec`.
    """
    spec = fleet.with_plan(served.choice.thresholds, served.replicas)
    report = run_spec(
        spec, fleet.folder, seed=seed, known=fleet.known, devices=fleet.devices
    ).report
    ordered = sorted(served.runs)
    hourly = served.replicas * spec.cloud.price_per_hour
    spent = _spent(fleet, figures)
    return Deployment(
        fleet=str(fleet.path),
        replicas=served.replicas,
        runs=served.runs,
        least=ordered[0],
        median=ordered[len(ordered) // 2],
        most=ordered[-1],
        slots=spec.cloud.slots,
        tried=tried,
        seed=seed,
        queries_per_s=statistics.mean(one.queries_per_s for one in report.timeline),
        calls_per_s=report.cloud.attempts / report.seconds,
        utilisation=report.cloud.utilisation,
        groups=_rows(fleet, report),
        energy=report.energy,
        queries_a_day=fleet.queries_a_day,
        price_per_hour=hourly,
        replicas_a_day=HOURS * hourly,
        queries_cost_a_day=spent,
        money_a_day=HOURS * hourly + (0.0 if spent is None else spent.value),
    ), report.notes


def _spent(fleet: PlannedFleet, figures: Sequence[NetworkFigures]) -> Figure | None:
    """On members and links of the groups of the trace, a day."""
    known = [one.money for one in figures if one.money is not None]
    if not known:
        return None
    value, low, high = (
        fleet.spent_a_day(
            [None if one.money is None else getattr(one.money, name) for one in figures]
        )
        for name in ("value", "low", "high")
    )
    return Figure(value=value, low=low, high=high)


def _rows(fleet: PlannedFleet, report: FleetReport) -> list[DeployedGroup]:
    """Of each group of the trace, and of all together where there are more."""
    of = {group.name: group.profile for group in fleet.groups}
    rows = [*(one for one in report.groups if one.name in of)]
    if len(report.groups) > 1:
        rows.append(report.together)
    return [
        DeployedGroup(
            group=one.name,
            network=of.get(one.name),
            devices=one.devices,
            mean_s=None if one.latency is None else one.latency.mean,
            p50_s=None if one.latency is None else one.latency.p50,
            p95_s=None if one.latency is None else one.latency.p95,
            p99_s=None if one.latency is None else one.latency.p99,
            degraded=(one.degraded + one.dropped) / one.queries if one.queries else 0.0,
        )
        for one in rows
    ]
