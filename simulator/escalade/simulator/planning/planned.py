"""A plan as JSON-able records; knows no search."""

from __future__ import annotations

import msgspec

from escalade.simulator.devices import EnergyRow
from escalade.simulator.planning.goals import Goal, Limit, Objective, Quantity


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A number on the queries that nothing was chosen by, with its 95 % interval over queries."""

    value: float
    low: float
    high: float


class NetworkFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What a choice of thresholds does on one network, in seconds, shares, and by the query."""

    network: str
    #: Of a fleet; None where there is none.
    group: str | None
    p50_s: Figure
    p95_s: Figure
    p99_s: Figure
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
    #: Of as many queries as the goal is for; None without a bound of it, and of a fleet, whose
    #: deployment says it.
    money_a_day: Figure | None
    #: Of the device's battery; None where its power, or the energy of a link, is not known.
    joules: Figure | None
    #: Share of it that these are, of as many queries in a day as the goal is for; may be above 1.
    #: None without a bound of it.
    battery_share: Figure | None


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """One bound of the goal on one network.

    Of a fleet what queries take, and how many are degraded, is of its runs: the median of six, and
    the least and the most.
    """

    #: None: of a day of all the fleet.
    network: str | None
    #: Of a fleet; None where there is none, too.
    group: str | None
    quantity: Quantity
    limit: float
    at_least: bool
    found: Figure
    #: Whether the figure keeps it, and whether its whole interval does.
    kept: bool
    surely: bool

    @property
    def missed_by(self) -> float:
        """By which share of the limit the figure misses it; 0 where it keeps it."""
        return Limit(self.quantity, self.limit, self.at_least).missed_by(self.found.value)


class DeployedGroup(msgspec.Struct, frozen=True, kw_only=True):
    """What the queries of one group take in a run of the deployment; seconds, None of nothing."""

    group: str
    #: None: of all groups together.
    network: str | None
    devices: int
    mean_s: float | None
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    #: Share that is degraded or dropped.
    degraded: float


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """Replicas for the thresholds of a plan, and what a fleet with them does.

    Attributes:
        fleet: its file.
        replicas: that are enough in each of the runs.
        runs: the fewest that are enough in each, on the queries that the plan was chosen by;
        least: in one of them,
        median: in half,
        most: and in all.
        slots: of a replica.
        tried: choices of thresholds that replicas were looked for.
        seed: of the run that the rest is of: as `escalade fleet` has it, on all queries.
        queries_per_s: of all groups.
        calls_per_s: that come to the cloud.
        utilisation: share of the slots in use.
        groups: of the trace; and all together, where there are several.
        energy: what that run takes of batteries, of groups whose devices are named.
        queries_a_day: of all groups, as they arrive.
        price_per_hour: of the replicas.
        replicas_a_day: what they cost in a day.
        queries_cost_a_day: what members and links do, of groups of the trace; None where none of
            them has a price.
        money_a_day: both.
    """

    fleet: str
    replicas: int
    runs: list[int]
    least: int
    median: int
    most: int
    slots: int
    tried: int
    seed: int
    queries_per_s: float
    calls_per_s: float
    utilisation: float
    groups: list[DeployedGroup]
    energy: list[EnergyRow]
    queries_a_day: float
    price_per_hour: float
    replicas_a_day: float
    queries_cost_a_day: Figure | None
    money_a_day: float


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
        deployment: of a fleet; None where there is none. Then `figures` and `alone` are of its
            groups' networks, where nobody waits for another.
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
    figures: list[NetworkFigures]
    bounds: list[Bound]
    alone: list[NetworkFigures]
    deployment: Deployment | None
    notes: list[str]

    @property
    def confirmed(self) -> bool:
        """Whether the other queries keep every bound, too."""
        return all(bound.kept for bound in self.bounds)
