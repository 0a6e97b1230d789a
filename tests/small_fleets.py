"""Fleets built in code, as the engines take them: every number under control."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from escalade.simulator.fleet.engine import Tally
from escalade.simulator.fleet.engine.model import Gateways, Model, Past, no_gateways


@dataclass(frozen=True)
class Group:
    """Devices that are alike; lists are of their recorded queries."""

    devices: int = 1
    rate: float = 1.0
    device_s: Sequence[float] = (0.0,)
    defers: Sequence[bool] = (True,)
    cloud_s: Sequence[float] = (0.1,)
    up_s: Sequence[float] = (0.0,)
    down_s: Sequence[float] = (0.0,)
    #: `(from, rate)`, in place of one rate.
    pieces: Sequence[tuple[float, float]] = ()
    #: Recorded arrivals, in place of a rate, and their period.
    arrivals: Sequence[float] = ()
    period_s: float = 1.0
    outages: Sequence[tuple[float, float]] = ()
    priority: int = 0
    #: After how long a device dials again; None: its connection is always open.
    idle_s: float | None = None
    open_s: Sequence[float] = (0.0,)
    first_up_s: Sequence[float] = (0.0,)
    #: Which kind of gateways it has; then outages are of the link to them.
    gateway: int = -1
    gateway_s: Sequence[float] = (0.0,)
    goes_on: Sequence[bool] = (True,)
    near_up_s: Sequence[float] = (0.0,)
    near_down_s: Sequence[float] = (0.0,)
    outages_beyond: Sequence[tuple[float, float]] = ()
    #: Of its gateway's connections to the cloud, where those are dialled.
    beyond_open_s: Sequence[float] = (0.0,)
    beyond_first_up_s: Sequence[float] = (0.0,)
    #: Whether its devices ask the cloud themselves where their gateway gives no answer.
    goes_past: bool = False
    past_up_s: Sequence[float] = (0.0,)
    past_down_s: Sequence[float] = (0.0,)
    past_open_s: Sequence[float] = (0.0,)
    past_first_up_s: Sequence[float] = (0.0,)
    outages_past: Sequence[tuple[float, float]] = ()


def gateways_of(
    groups: Sequence[Group],
    counts: Sequence[int],
    slots: int = 1,
    slowdown: float = 0.0,
    queues: Sequence[int] = (),
    idle_s: float | None = None,
) -> Gateways:
    """So many gateways of each kind, alike but for their queues; without those, of no bound."""
    if not counts:
        return no_gateways(len(groups))
    return Gateways(
        kind=np.array([one.gateway for one in groups]),
        first=_firsts(counts),
        slots=np.full(len(counts), slots),
        slowdown=np.full(len(counts), slowdown),
        places=slots + np.array(queues or [2**62] * len(counts)),
        is_bounded=bool(queues),
        answer_s=np.array([one for group in groups for one in group.gateway_s]),
        defers=np.array([one for group in groups for one in group.goes_on]),
        up_s=_each(groups, "near_up_s"),
        down_s=_each(groups, "near_down_s"),
        dials=np.full(len(counts), idle_s is not None),
        idle_s=np.full(len(counts), idle_s or 0.0),
        open_s=_each(groups, "beyond_open_s"),
        first_up_s=_each(groups, "beyond_first_up_s"),
        past=Past(
            allowed=np.array([one.goes_past and one.gateway >= 0 for one in groups]),
            up_s=_each(groups, "past_up_s"),
            down_s=_each(groups, "past_down_s"),
            open_s=_each(groups, "past_open_s"),
            first_up_s=_each(groups, "past_first_up_s"),
        ),
    )


def model_of(groups: Sequence[Group], **changes: Any) -> Model:
    """A model of these groups: one replica of one slot, no bound, ten seconds."""
    pieces = [one.pieces or ((0.0, one.rate),) for one in groups]
    sums = [
        np.concatenate([[0.0], np.cumsum(np.diff([at for at, _ in of]) * [r for _, r in of][:-1])])
        for of in pieces
    ]
    beyond = [one.outages if one.gateway < 0 else one.outages_beyond for one in groups]
    near = [() if one.gateway < 0 else one.outages for one in groups]
    outages = [*beyond, *near, *(one.outages_past for one in groups)]
    values: dict[str, Any] = {
        "seed": 1,
        "first_device": _firsts([one.devices for one in groups]),
        "first_record": _firsts([len(one.device_s) for one in groups]),
        "first_piece": _firsts([len(of) for of in pieces]),
        "first_time": _firsts([len(one.arrivals) for one in groups]),
        "first_outage": _firsts([len(of) for of in outages]),
        "priority": np.array([one.priority for one in groups]),
        "piece_from_s": np.array([at for of in pieces for at, _ in of], dtype=np.float64),
        "piece_rate": np.array([rate for of in pieces for _, rate in of], dtype=np.float64),
        "piece_sum": np.concatenate(sums),
        "arrival_s": np.array([at for one in groups for at in one.arrivals], dtype=np.float64),
        "period_s": np.array([one.period_s for one in groups]),
        "device_s": np.array([one for group in groups for one in group.device_s]),
        "defers": np.array([one for group in groups for one in group.defers]),
        "gateways": no_gateways(len(groups)),
        "cloud_s": np.array([one for group in groups for one in group.cloud_s]),
        "up_s": _each(groups, "up_s"),
        "down_s": _each(groups, "down_s"),
        "dials": np.array([group.idle_s is not None for group in groups]),
        "idle_s": np.array([group.idle_s or 0.0 for group in groups]),
        "open_s": _each(groups, "open_s"),
        "first_up_s": _each(groups, "first_up_s"),
        "outage_from_s": np.array([at for of in outages for at, _ in of], np.float64),
        "outage_to_s": np.array([to for of in outages for _, to in of], np.float64),
        "backoff_first_s": 0.1,
        "backoff_most_s": 1.0,
        "deadline_s": 10.0,
        "slots": 1,
        "slowdown": 0.0,
        "queue": 2**62,
        "replicas": 1,
        "target": 0.7,
        "scale_every_s": 1.0,
        "startup_s": 1.0,
        "settle_s": 2.0,
        "warm_up_s": 0.0,
        "seconds": 10.0,
        **changes,
    }
    values.setdefault("least_replicas", values["replicas"])
    values.setdefault("most_replicas", values["replicas"])
    return Model(**values)


def _each(groups: Sequence[Group], name: str) -> np.ndarray:
    """What a group has of its links, once for each of its records."""
    return np.array([getattr(group, name) for group in groups for _ in group.device_s])


def _firsts(sizes: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def at_gateways(tally: Tally) -> list[int]:
    """Attempts there, refused, queries that go past, and those turned away."""
    counts = (tally.near_sent, tally.near_refused, tally.past, tally.turned_away)
    return [int(one.sum()) for one in counts]
