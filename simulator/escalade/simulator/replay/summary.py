"""The numbers of a simulation as JSON-able records; knows no computation and no page.

Shares are in [0, 1], times in seconds. `msgspec.json.encode` turns a `Summary` into what
`escalade simulate --json` prints.
"""

from __future__ import annotations

import msgspec

from escalade.simulator.curves import Difference, OperatingPoint, TaskAccuracy
from escalade.simulator.replay.replay import Latency


class _Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a table."""


class TraceRow(_Row, frozen=True):
    """One trace: who answered, and what its deferral curve amounts to."""

    name: str
    queries: int
    small: str
    small_parameters: int
    large: str
    large_parameters: int
    rule: str
    #: The threshold the trace was recorded with.
    threshold: float
    created: str
    small_accuracy: float
    large_accuracy: float
    #: Under quality against deferral rate.
    area_under_curve: float


class PointRow(_Row, frozen=True):
    """One trace at one threshold, on any network."""

    trace: str
    point: OperatingPoint
    calls: int
    #: Share of the cloud-only calls not made; bytes are saved in another proportion.
    calls_saved: float
    bytes_up: int
    bytes_down: int
    cloud_only_bytes_up: int
    cloud_only_bytes_down: int
    bytes_saved: float


class ProfileRow(_Row, frozen=True):
    """One trace at one threshold on one network."""

    trace: str
    threshold: float
    profile: str
    rtt_ms: float
    cascade: Latency
    cloud_only: Latency


class TaskRow(_Row, frozen=True):
    """One task of one trace at one threshold."""

    trace: str
    threshold: float
    task: str
    accuracy: TaskAccuracy


class ComparisonRow(_Row, frozen=True):
    """One trace against the first at equal cost: that of the first at its first threshold."""

    trace: str
    baseline: str
    flops_per_token: float
    quality: Difference
    #: What `trace` needs for the baseline's quality there; None where it never reaches it.
    flops_per_token_at_equal_quality: float | None


class Summary(_Row, frozen=True):
    """Everything a simulation says, in tables."""

    seed: int
    traces: list[TraceRow]
    points: list[PointRow]
    profiles: list[ProfileRow]
    tasks: list[TaskRow]
    comparisons: list[ComparisonRow]
    #: What was left out, and why.
    notes: list[str]
