"""What a page replays a simulation from, query by query; knows no HTML.

A script in the page does again, at any thresholds, what `replay` does: which step of its gate a
query's score reaches says where it stops, and its seconds, bytes and costs are added up. Columns
that are the same, such as those of a tier on the device on any network, are written once.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from escalade.simulator.palette import coloured
from escalade.simulator.recorded import Floats
from escalade.simulator.replay import Course, Simulation, curves_of, step_of

#: Queries of a trace in a page: a few megabytes, and replayed between two frames of a screen.
MOST_QUERIES = 20_000

Column = int
Kind = Literal["f4", "i4", "u2", "u1"]


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the page's data."""


class Numbers(_Row, frozen=True):
    """A column: little-endian numbers, base64."""

    kind: Kind
    data: str


class Gate(_Row, frozen=True):
    """S places of a slider."""

    tier: str
    #: S; None is infinity, where no query of a finite score goes on.
    thresholds: list[float | None]
    labels: list[str]
    #: S, the level of the tier's members at each.
    levels: list[int]
    #: Where it stands first.
    start: int
    #: How many of the thresholds each query's score reaches.
    step: Column


class Tier(_Row, frozen=True):
    """What a query takes that comes to a tier."""

    name: str
    members: int
    linked: bool
    correct: Column | None
    bytes_up: Column
    bytes_down: Column
    #: By network, then level.
    seconds: list[list[Column]]
    #: By cost model, then level.
    costs: dict[str, list[Column]]
    #: By level, how many members answer; None of a tier that has one.
    asked: list[Column] | None


class Traced(_Row, frozen=True):
    """One trace."""

    name: str
    colour: str
    queries: int
    #: How many queries there are, where these are some of them.
    of: int | None
    gates: list[Gate]
    tiers: list[Tier]
    #: In all, were every query put to the last tier.
    last_only_bytes: int


class Explorer(_Row, frozen=True):
    """What a page replays from."""

    networks: list[str]
    traces: list[Traced]
    columns: list[Numbers]


def explorer_of(simulation: Simulation) -> Explorer:
    """Every query's columns, or a sample's drawn with the simulation's seed."""
    pool = _Pool()
    curves = curves_of(simulation)
    traces = []
    names = [row.name for row in simulation.summary.traces]
    for row, (_, colour) in zip(simulation.summary.traces, coloured(names), strict=True):
        own = [replay for name, replay in simulation.replays if name == row.name]
        first = own[0]
        taken = np.arange(first.queries)
        if first.queries > MOST_QUERIES:
            rng = np.random.default_rng(simulation.summary.seed)
            taken = np.sort(rng.choice(first.queries, MOST_QUERIES, replace=False))
        courses = [replay.course for replay in own[: len(simulation.networks)]]
        course, costs = first.course, simulation.costs[row.name]
        gates = [
            _gate(pool, course, gate, curve.thresholds, first.thresholds[gate], taken)
            for gate, curve in enumerate(curves[row.name])
        ]
        last_bytes = course.bytes_up[-1] - course.draft_bytes + course.bytes_down[-1]
        traces.append(
            Traced(
                name=row.name,
                colour=colour,
                queries=len(taken),
                of=first.queries if len(taken) < first.queries else None,
                gates=gates,
                tiers=[_tier(pool, courses, costs, k, taken) for k in range(len(row.tiers))],
                last_only_bytes=int(last_bytes[taken].sum()),
            )
        )
    networks = [network.name for network in simulation.networks]
    return Explorer(networks=networks, traces=traces, columns=pool.columns)


def _gate(
    pool: _Pool,
    course: Course,
    gate: int,
    thresholds: Floats,
    start: float,
    taken: NDArray[np.intp],
) -> Gate:
    tier = course.tiers[gate]
    return Gate(
        tier=tier.info.name,
        thresholds=[None if np.isinf(tau) else tau for tau in thresholds.tolist()],
        labels=["none goes on" if np.isinf(tau) else f"{tau:.4g}" for tau in thresholds.tolist()],
        levels=[tier.level(tau) for tau in thresholds.tolist()],
        start=int(np.searchsorted(thresholds, start)),
        step=pool.add("u2", step_of(tier, thresholds)[taken]),
    )


def _tier(
    pool: _Pool,
    courses: Sequence[Course],
    costs: dict[str, list[Floats]],
    k: int,
    taken: NDArray[np.intp],
) -> Tier:
    course = courses[0]
    tier = course.tiers[k]
    several = len(tier.info.members) > 1
    correct = None if course.correct is None else pool.add("u1", course.correct[k][taken])
    return Tier(
        name=tier.info.name,
        members=len(tier.info.members),
        linked=bool(course.bytes_up[k].any()),
        correct=correct,
        bytes_up=pool.add("i4", course.bytes_up[k][taken]),
        bytes_down=pool.add("i4", course.bytes_down[k][taken]),
        seconds=[[pool.add("f4", one[taken]) for one in of.seconds[k]] for of in courses],
        costs={
            model: [pool.add("f4", one[taken]) for one in tables[k]]
            for model, tables in costs.items()
        },
        asked=[pool.add("u1", one[taken]) for one in tier.asked] if several else None,
    )


class _Pool:
    """Columns, each once."""

    def __init__(self) -> None:
        self.columns: list[Numbers] = []
        self._places: dict[tuple[Kind, bytes], Column] = {}

    def add(self, kind: Kind, values: NDArray[np.generic]) -> Column:
        """The place of a column."""
        packed = values.astype(f"<{kind}").tobytes()
        if (kind, packed) not in self._places:
            self._places[kind, packed] = len(self.columns)
            self.columns.append(Numbers(kind=kind, data=base64.b64encode(packed).decode()))
        return self._places[kind, packed]
