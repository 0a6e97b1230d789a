"""What is said of a fleet in TOML, with every range; knows no engine and no trace."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from escalade.edge.base import Share, explain, nearest
from escalade.simulator.errors import FleetError
from escalade.simulator.tables import read_tables

#: A hundred years; what is longer is no plan.
MOST_S = 3.2e9
#: Devices of all groups together: each takes 32 bytes.
MOST_DEVICES = 20_000_000

#: Slots of all replicas together: each takes 20 bytes.
MOST_SLOTS = 4_000_000

Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=MOST_S)]
Span = Annotated[float, msgspec.Meta(gt=0.0, le=MOST_S)]
#: A query each millisecond.
PerHour = Annotated[float, msgspec.Meta(gt=0.0, le=3.6e6)]
_Count = Annotated[int, msgspec.Meta(ge=1, le=MOST_DEVICES)]
MOST_REPLICAS = 16_384
Replicas = Annotated[int, msgspec.Meta(ge=1, le=MOST_REPLICAS)]
#: Less than any round trip that a call which fails takes: without a wait it would fail for ever.
_LEAST_WAIT_S = 1e-3
_Wait = Annotated[float, msgspec.Meta(ge=_LEAST_WAIT_S, le=MOST_S)]
#: Waits of one call, at their longest: each is drawn, and each of millions of calls may have them.
_MOST_WAITS = 1000


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A TOML table whose keys are all known."""


class Poisson(_Table, frozen=True, tag="poisson", tag_field="kind"):
    """People who know nothing of each other."""

    per_hour: PerHour


class Daily(_Table, frozen=True, tag="daily", tag_field="kind"):
    """The same, more at some hours than at others; a run begins at midnight.

    Attributes:
        per_hour: mean of a day.
        hours: 24 weights.
    """

    per_hour: PerHour
    hours: Annotated[
        list[Annotated[float, msgspec.Meta(ge=0.0, le=1e9)]],
        msgspec.Meta(min_length=24, max_length=24),
    ]


class Bursts(_Table, frozen=True, tag="bursts", tag_field="kind"):
    """A Poisson process of two rates, between which a Markov chain switches for all of a group.

    Attributes:
        per_hour: mean in the long run.
        times: how many times the quiet rate that of a burst is.
        quiet_s: mean length of a quiet time,
        burst_s: and of a burst.
    """

    per_hour: PerHour
    times: Annotated[float, msgspec.Meta(ge=1.0, le=1e6)]
    quiet_s: Span
    burst_s: Span


class Recorded(_Table, frozen=True, tag="recorded", tag_field="kind"):
    """The times of one device, which every device has again, from a place of its own.

    Attributes:
        file: seconds, one a line, rising.
        period_s: after which they come again; longer than the last.
    """

    file: str
    period_s: Span


class Answers(_Table, frozen=True):
    """Queries, where there is no trace of them.

    Attributes:
        device_s: mean seconds that a device takes.
        cloud_s: that the cloud takes for one alone.
        deferral_rate: share that goes up.
        spread: of seconds around their mean.
        bytes_up: of a call's messages,
        bytes_down: and back.
        fallback: whether a device's answer stands where the cloud gives none; else the query is
            dropped.
    """

    device_s: Seconds
    cloud_s: Seconds
    deferral_rate: Share
    spread: Literal["exponential", "constant"] = "exponential"
    bytes_up: Annotated[int, msgspec.Meta(ge=0, le=1 << 30)] = 500
    bytes_down: Annotated[int, msgspec.Meta(ge=0, le=1 << 30)] = 500
    fallback: bool = True


class Dialling(_Table, frozen=True):
    """Connections of a device that are not always open: it dials for its first call.

    Attributes:
        idle_s: and for one that leaves so long after the last. The default is gRPC's: from
            `GRPC_ARG_CLIENT_IDLE_TIMEOUT_MS` on, 30 minutes, a channel without a call hangs up.
        tls: whether over TLS.
    """

    idle_s: Span = 1800.0
    tls: bool = True


class Group(_Table, frozen=True):
    """Devices that are alike.

    Attributes:
        name: what tables call them.
        count: how many.
        arrivals: when queries come to one of them.
        profile: their network.
        trace: of `escalade record`; each query is one of its records, drawn anew.
        thresholds: of the trace's gates; None means as recorded.
        answers: in place of a trace.
        scale: a device takes so many times as long as that of the trace.
        priority: where some wait in the cloud, those of 0 go first.
        dialling: when a device has to dial; None: its connection is always open.
    """

    name: str
    count: _Count
    arrivals: Poisson | Daily | Bursts | Recorded
    profile: str
    trace: str | None = None
    thresholds: list[float] | None = None
    answers: Answers | None = None
    scale: Annotated[float, msgspec.Meta(gt=0.0, le=1e6)] = 1.0
    priority: Annotated[int, msgspec.Meta(ge=0, le=7)] = 0
    dialling: Dialling | None = None


class Scaling(_Table, frozen=True):
    """How many replicas there are; defaults are those of Kubernetes' HorizontalPodAutoscaler.

    Attributes:
        least: replicas.
        most: replicas.
        target: share of slots wanted in use.
        every_s: how often it looks.
        startup_s: from when a replica is paid until it takes queries.
        settle_s: how long fewer must do before some are let go.
    """

    least: Replicas
    most: Replicas
    target: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.7
    every_s: Annotated[float, msgspec.Meta(ge=0.1, le=MOST_S)] = 15.0
    startup_s: Seconds = 60.0
    settle_s: Seconds = 300.0


class CloudTable(_Table, frozen=True):
    """Replicas of the large model.

    Attributes:
        replicas: at the start.
        slots: queries that one computes at once.
        slowdown: each query beside it makes one take so many times longer.
        beside_s: what a call takes at this load beside, with the network and the cloud.
        queue: queries that may wait; None sets no bound.
        price_per_hour: of a replica.
        scaling: None leaves `replicas`.
    """

    replicas: Replicas
    slots: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 1
    slowdown: Share = 0.0
    beside_s: Seconds = 0.0
    queue: Annotated[int, msgspec.Meta(ge=0, le=100_000_000)] | None = None
    price_per_hour: Annotated[float, msgspec.Meta(ge=0.0, le=1e9)] = 0.0
    scaling: Scaling | None = None


class Retries(_Table, frozen=True):
    """What a device does when a call fails; defaults are those of our client.

    Attributes:
        first_s: most that it waits before the second attempt; each time twice as much,
        most_s: up to this.
        deadline_s: after which there is no further attempt; 0 makes none at all.
    """

    first_s: _Wait = 0.1
    most_s: _Wait = 1.0
    deadline_s: Seconds = 10.0


class Outage(_Table, frozen=True):
    """A time in which no call leaves its device.

    Attributes:
        from_s: when it begins.
        to_s: when it ends.
        group: of these devices; None is of all.
    """

    from_s: Seconds
    to_s: Span
    group: str | None = None


class Spec(_Table, frozen=True):
    """A fleet.

    Attributes:
        seconds: in which queries come.
        groups: of devices.
        cloud: what they share.
        warm_up_s: queries before are not measured.
        retries: of calls.
        outages: of links.
    """

    seconds: Span
    groups: Annotated[list[Group], msgspec.Meta(min_length=1, max_length=64)]
    cloud: CloudTable
    warm_up_s: Seconds = 0.0
    retries: Retries = Retries()
    outages: Annotated[list[Outage], msgspec.Meta(max_length=10_000)] = []


def read_spec(path: Path) -> Spec:
    """Read a fleet.

    Raises:
        FleetError: it cannot be read, a key is unknown (the nearest is named), a value is out of
            range, or two contradict each other.
    """
    raw = read_tables(path, FleetError)
    try:
        spec = msgspec.convert(raw, Spec)
    except msgspec.ValidationError as error:
        raise FleetError(f"{path}: {explain(error, raw, Spec)}") from error
    try:
        check_spec(spec)
    except FleetError as error:
        raise FleetError(f"{path}: {error}") from error
    return spec


def check_spec(spec: Spec) -> None:
    """Refuse values that contradict each other.

    Raises:
        FleetError: names them.
    """
    if spec.warm_up_s >= spec.seconds:
        raise FleetError(
            f"warm_up_s must be below seconds, {spec.seconds:g}; got {spec.warm_up_s:g}"
        )
    names = [group.name for group in spec.groups]
    for place, group in enumerate(spec.groups):
        if group.name in names[:place]:
            raise FleetError(f"two groups are called {group.name!r}")
        if (group.trace is None) == (group.answers is None):
            raise FleetError(f"group {group.name!r}: give either trace or answers")
        if group.trace is None and group.thresholds is not None:
            raise FleetError(f"group {group.name!r}: thresholds are of a trace, and there is none")
        if isinstance(group.arrivals, Daily) and not any(group.arrivals.hours):
            raise FleetError(f"group {group.name!r}: hours must have one above 0")
    total = sum(group.count for group in spec.groups)
    if total > MOST_DEVICES:
        raise FleetError(f"devices must be at most {MOST_DEVICES:,} together; got {total:,}")
    _check_cloud(spec.cloud)
    _check_retries(spec.retries)
    for outage in spec.outages:
        if outage.group is not None and outage.group not in names:
            hint = nearest(outage.group, names)
            raise FleetError(
                f"an outage's group must be one of {', '.join(names)}; got {outage.group!r}{hint}"
            )
        if outage.to_s <= outage.from_s:
            raise FleetError(
                f"an outage's to_s must be above its from_s, {outage.from_s:g}; got {outage.to_s:g}"
            )


def _check_cloud(cloud: CloudTable) -> None:
    most = cloud.replicas if cloud.scaling is None else cloud.scaling.most
    if most * cloud.slots > MOST_SLOTS:
        raise FleetError(
            f"replicas times slots must be at most {MOST_SLOTS:,}; got {most * cloud.slots:,}"
        )
    scaling = cloud.scaling
    if scaling is not None and scaling.least > scaling.most:
        raise FleetError(
            f"scaling's least must be at most its most, {scaling.most}; got {scaling.least}"
        )
    if scaling is not None and not scaling.least <= cloud.replicas <= scaling.most:
        raise FleetError(
            f"replicas must be in {scaling.least}..{scaling.most}, as scaling has it;"
            f" got {cloud.replicas}"
        )


def _check_retries(retries: Retries) -> None:
    if retries.deadline_s > _MOST_WAITS * retries.most_s:
        raise FleetError(
            f"retries.deadline_s must be at most {_MOST_WAITS:,} times most_s,"
            f" {retries.most_s:g}; got {retries.deadline_s:g}"
        )
