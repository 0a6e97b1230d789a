"""A fleet's run as columns for notebooks, and behind each figure; knows no page."""

from __future__ import annotations

import msgspec
import numpy as np

from escalade.simulator.devices import EnergyRow
from escalade.simulator.fleet.engine import AT_GATEWAY, DEFERRED, quantile
from escalade.simulator.fleet.report import (
    CloudRow,
    FleetRun,
    GatewayRow,
    GroupRow,
    LatencyPercentiles,
    WindowRow,
)
from escalade.simulator.frames import Frame, Value, frame_of

#: Shares of the queries whose latency a distribution says.
_SHARES = [*np.linspace(0, 0.99, 100).tolist(), 0.995, 0.999, 0.9999, 1.0]

_TIMES = LatencyPercentiles.__struct_fields__


def frames_of(run: FleetRun) -> list[Frame]:
    """`timeline`, `loads`, `groups`, `gateways`, `cloud`, `distribution` and `outages`.

    And `energy` where devices are named.
    """
    energy = [msgspec.structs.astuple(row) for row in run.report.energy]
    return [
        _timeline(run),
        _loads(run),
        _groups(run),
        frame_of(
            "gateways",
            GatewayRow.__struct_fields__,
            [msgspec.structs.astuple(row) for row in run.report.gateways],
        ),
        _cloud(run),
        _distribution(run),
        _outages(run),
        *([frame_of("energy", EnergyRow.__struct_fields__, energy)] if energy else []),
    ]


def _timeline(run: FleetRun) -> Frame:
    head = WindowRow.__struct_fields__
    return frame_of("timeline", head, [msgspec.structs.astuple(row) for row in run.course])


def _loads(run: FleetRun) -> Frame:
    """What the timeline's counts are of each group."""
    rows: list[list[Value]] = [
        [group, row.from_s, *counts.tolist()]
        for group, load in run.loads.items()
        for row, counts in zip(run.course, load.T, strict=True)
    ]
    head = ["group", "from_s", "queries", "attempts", "refused", "degraded", "refused_near"]
    return frame_of("loads", head, rows)


def _groups(run: FleetRun) -> Frame:
    plain = [name for name in GroupRow.__struct_fields__ if not name.startswith("latency")]
    kinds = ("latency", "deferred", "at_gateway")
    head = [*plain, *(f"{of}_{name}" for of in kinds for name in _TIMES)]
    profiles = [*(group.profile for group in run.spec.groups), None]
    rows: list[list[Value]] = []
    for row in [*run.report.groups, run.report.together]:
        cells: list[Value] = [getattr(row, name) for name in plain]
        for took in (row.latency, row.latency_deferred, row.latency_at_gateway):
            cells += [None] * len(_TIMES) if took is None else msgspec.structs.astuple(took)
        rows.append(cells)
    told = frame_of("groups", head, rows)
    return Frame(told.name, {**told.columns, "profile": profiles})


def _cloud(run: FleetRun) -> Frame:
    cells = msgspec.structs.astuple(run.report.cloud)
    return frame_of("cloud", CloudRow.__struct_fields__, [cells])


def _distribution(run: FleetRun) -> Frame:
    """Of all answers of each group, and of those of its gateways and of the cloud."""
    rows: list[list[Value]] = []
    for group, histogram in run.histograms.items():
        for answers, counts in (
            ("all", histogram.sum(axis=0)),
            ("gateway", histogram[AT_GATEWAY]),
            ("cloud", histogram[DEFERRED]),
        ):
            if counts.any():
                rows += [[group, answers, share, quantile(counts, share)] for share in _SHARES]
    return frame_of("distribution", ["group", "answers", "share", "seconds"], rows)


def _outages(run: FleetRun) -> Frame:
    rows = [[one.group, one.from_s, one.to_s, one.gateway] for one in run.spec.outages]
    return frame_of("outages", ["group", "from_s", "to_s", "gateway"], rows)
