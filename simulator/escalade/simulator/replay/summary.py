"""The numbers of a simulation as JSON-able records; knows no computation and no page.

Shares are in [0, 1], times in seconds, prices in the trace's currency. `msgspec.json.encode`
turns a `Summary` into what `escalade simulate --json` prints.
"""

from __future__ import annotations

import msgspec

from escalade.edge.trace import Place
from escalade.simulator.replay.latency import Latency


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a table."""


class TierRow(_Row, frozen=True):
    """One tier of a trace."""

    name: str
    place: Place
    members: list[str]
    #: Of all members together.
    parameters: int
    #: Its gate, as recorded; None after the last tier.
    rule: str | None
    threshold: float | None
    #: Share of its answers that are right, were it given every query; None where some were not
    #: judged.
    accuracy: float | None


class TraceRow(_Row, frozen=True):
    """One trace, as it was recorded."""

    name: str
    queries: int
    tiers: list[TierRow]
    created: str
    currency: str


class TierShare(_Row, frozen=True):
    """What one tier has to do."""

    name: str
    #: Share of all queries that come to it, and that it answers.
    asked: float
    answered: float
    #: How many of its members answer a query that comes to it, on average; None of no query.
    members: float | None
    #: Over the link to it, gRPC framing included.
    bytes_up: int
    bytes_down: int


class Spent(_Row, frozen=True):
    """What a query costs on average."""

    cascade: float
    #: Were every query put to the last tier alone.
    last_only: float


class PointRow(_Row, frozen=True):
    """One trace at one choice of thresholds, on any network."""

    trace: str
    #: One for each gate.
    thresholds: list[float]
    tiers: list[TierShare]
    #: Share of the queries that were due elsewhere and that a policy keeps here; None without one.
    kept: float | None
    #: Share of answers that are right; None where some were not judged.
    accuracy: float | None
    #: How many queries come to the last tier, and the share that does not.
    calls: int
    calls_saved: float
    #: Share of the bytes that the last tier alone would move; those over all links count. None
    #: where it is behind no link.
    bytes_saved: float | None
    #: Share of what models on the device write that early deferral spares; None without it.
    tokens_saved: float | None
    last_only_bytes_up: int
    last_only_bytes_down: int
    #: 2 x parameters x tokens of every member that ran; None where a member has no parameters.
    flops: Spent | None
    #: None where no member has a price.
    money: Spent | None


class LinkRow(_Row, frozen=True):
    """What the calls to one tier take of a query on average, whether or not it comes to them."""

    tier: str
    profile: str
    #: Of the device's battery; None where the profile says nothing of energy.
    joules: float | None
    #: Of all links that the calls cross; None where none of the network has a price.
    money: float | None


class DegradedRow(_Row, frozen=True):
    """What a deadline of links does: a tier that was due is silent, and a lower one's stands."""

    deadline_s: float
    #: Share of the queries.
    share: float
    #: Share of answers that are right, those included; None where some were not judged.
    accuracy: float | None
    #: The same once an outbox has had the degraded queries answered.
    late_accuracy: float | None
    #: Of the degraded: when that is at the earliest, from their beginning; None of no query.
    late: Latency | None
    #: Share of the queries that the last tier, asked alone, does not answer.
    last_only_lost: float


class NetworkRow(_Row, frozen=True):
    """One trace at one choice of thresholds on one network."""

    trace: str
    thresholds: list[float]
    network: str
    cascade: Latency
    last_only: Latency
    #: What the device spends on a query; None where its power, or the energy of a link, is unknown.
    joules: Spent | None
    #: What links take of a query; None where none has a price.
    link_money: Spent | None
    links: list[LinkRow]
    #: None without a deadline.
    degraded: DegradedRow | None
    #: Share of the calls to tiers elsewhere that are made a second time; None without hedging.
    asked_again: float | None


class Summary(_Row, frozen=True):
    """Everything a simulation says, in tables."""

    seed: int
    traces: list[TraceRow]
    points: list[PointRow]
    networks: list[NetworkRow]
    #: Capacity of the battery of the device that is replayed; None where that is not known.
    battery_wh: float | None
    #: What was left out or changed, and why.
    notes: list[str]
