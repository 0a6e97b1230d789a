"""The tiers of a cascade or a fleet, and what crosses the links between; knows no HTML."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from escalade.simulator.formats import count, percent, three_digits, with_unit
from escalade.simulator.frames import Frame, Value, rows_of
from escalade.simulator.replay import Simulation, TraceRow

_MILLION = 1e6


class Stop(NamedTuple):
    """A tier.

    Attributes:
        name: its own.
        detail: where it is and what runs there.
        answered: share of the queries, as text.
        asked: what comes to it.
        moved: over the link to it; empty where none leads there.
        money: what it costs for a million queries of all; empty where nothing has a price.
        currency: of this.
    """

    name: str
    detail: str
    answered: str
    asked: str
    moved: str = ""
    money: str = ""
    currency: str = ""


def cascade_map(simulation: Simulation, trace: TraceRow) -> list[Stop]:
    """The tiers of a trace, at the first thresholds that it was replayed at."""
    point = next(one for one in simulation.summary.points if one.trace == trace.name)
    replay = next(replay for name, replay in simulation.replays if name == trace.name)
    prices = simulation.costs[trace.name].get("money")
    stops = []
    for k, (tier, share) in enumerate(zip(trace.tiers, point.tiers, strict=True)):
        moved = money = ""
        if replay.course.bytes_up[k].any():
            up, down = (with_unit(count(one), "B") for one in (share.bytes_up, share.bytes_down))
            moved = f"{up} up, {down} down"
        if prices is not None:
            money = count(_MILLION * float(replay.climb.spent_at(k, prices[k]).mean()))
        stops.append(
            Stop(
                name=tier.name,
                detail=f"{tier.place}: {', '.join(tier.members)}",
                answered=percent(share.answered),
                asked=f"{round(share.asked * trace.queries):,} queries ({percent(share.asked)})",
                moved=moved,
                money=money,
                currency=trace.currency,
            )
        )
    return stops


def fleet_map(groups: Frame, gateways: Frame, cloud: Frame) -> list[Stop]:
    """The groups of a fleet, their gateways, and the cloud that they share.

    Args:
        groups: of a run, all of them together last.
        gateways: of the run.
        cloud: of the run, one row.
    """
    *own, together = rows_of(groups)
    (above,) = rows_of(cloud)
    stops = [
        Stop(
            name=str(row["name"]),
            detail=f"{row['devices']:,} devices on {row['profile']}",
            answered=_share(row, "answered"),
            asked=f"{_count(row, 'queries')} queries",
        )
        for row in own
    ]
    everything = max(1.0, float(together["queries"] or 0))
    stops += [
        Stop(
            name=str(row["name"]),
            detail=f"{row['gateways']:,} gateways on {row['profile']}",
            answered=percent(float(row["answered"] or 0) / everything),
            asked=f"{percent(float(row['utilisation'] or 0))} of their slots in use"
            + (f", {_count(row, 'refused')} calls refused" if row["refused"] else ""),
        )
        for row in rows_of(gateways)
    ]
    calls, refused = (_count(above, name) for name in ("attempts", "refused"))
    stops.append(
        Stop(
            name="cloud",
            detail=f"{three_digits(float(above['replica_hours'] or 0))} replica hours",
            answered=_share(together, "deferred"),
            asked=f"{calls} calls over the network, {refused} refused",
            money=_count(above, "cost_per_million") if above["cost"] else "",
        )
    )
    return stops


def _count(row: Mapping[str, Value], name: str) -> str:
    return count(float(row[name] or 0))


def _share(row: Mapping[str, Value], name: str) -> str:
    return percent(float(row[name] or 0) / max(1.0, float(row["queries"] or 0)))
