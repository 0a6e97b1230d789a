"""A plan as JSON-able records; knows no search."""

from __future__ import annotations

import msgspec

from escalade.simulator.planning.goals import Goal, Objective, Quantity


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A number on the queries that nothing was chosen by, with its 95 % interval over queries."""

    value: float
    low: float
    high: float


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What a choice of thresholds does on one network, in seconds, shares, and by the query."""

    network: str
    p50_s: Figure
    p95_s: Figure
    mean_s: Figure
    calls: Figure
    #: None where some answers were not judged.
    accuracy: Figure | None
    #: Queries for which a lower answer stands, as none came in time; of the last tier alone those
    #: without an answer, which is wrong. None without a deadline.
    degraded: Figure | None
    #: Of the last tier's right answers, were all of them heard; None too where it has none.
    quality: Figure | None
    #: Of members and links; None where none of them has a price.
    money: Figure | None
    #: Of the device's battery; None where its power, or the energy of a link, is not known.
    joules: Figure | None


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """One bound of the goal on one network."""

    network: str
    quantity: Quantity
    limit: float
    at_least: bool
    found: Figure
    #: Whether the figure keeps it, and whether its whole interval does.
    kept: bool
    surely: bool


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Thresholds for a goal.

    Attributes:
        goal: what was asked.
        minimised: what was least among those that keep it.
        met: whether some choice keeps every bound on the queries that it was chosen by. Else the
            plan is the choice that comes nearest: whose worst miss, as a share of its bound, is
            least.
        tiers: names.
        thresholds: one for each gate.
        answered: share of queries that each tier answers, on the other queries.
        tried: choices.
        chosen_by: queries.
        confirmed_by: queries, none of them among those.
        figures: by network, on the latter.
        bounds: by network and bound.
        alone: the last tier alone, by network.
        notes: what was left out, and why.
    """

    goal: Goal
    minimised: Objective
    met: bool
    tiers: list[str]
    thresholds: list[float]
    answered: list[float]
    tried: int
    chosen_by: int
    confirmed_by: int
    figures: list[Figures]
    bounds: list[Bound]
    alone: list[Figures]
    notes: list[str]

    @property
    def confirmed(self) -> bool:
        """Whether the other queries keep every bound, too."""
        return all(bound.kept for bound in self.bounds)
