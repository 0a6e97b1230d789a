"""What is said of a fleet in TOML, with the range of each value; knows no engine and no trace."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from escalade.edge.base import Share

#: A hundred years; what is longer is no plan.
MOST_S = 3.2e9
#: Devices of all groups together: each takes 32 bytes.
MOST_DEVICES = 20_000_000

#: Slots of all replicas together, and of all gateways: each takes 20 bytes.
MOST_SLOTS = 4_000_000

Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=MOST_S)]
Span = Annotated[float, msgspec.Meta(gt=0.0, le=MOST_S)]
#: A query each millisecond.
PerHour = Annotated[float, msgspec.Meta(gt=0.0, le=3.6e6)]
_Count = Annotated[int, msgspec.Meta(ge=1, le=MOST_DEVICES)]
MOST_REPLICAS = 16_384
Replicas = Annotated[int, msgspec.Meta(ge=1, le=MOST_REPLICAS)]
Queue = Annotated[int, msgspec.Meta(ge=0, le=100_000_000)]
#: Less than any round trip that a call which fails takes: without a wait it would fail for ever.
_LEAST_WAIT_S = 1e-3
_Wait = Annotated[float, msgspec.Meta(ge=_LEAST_WAIT_S, le=MOST_S)]


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
        deferral_rate: share that goes up.
        cloud_s: mean seconds that the cloud takes for one alone, or
        tokens: that it writes on average, where `CloudTable` says what one takes.
        spread: of seconds, and tokens, around their mean.
        bytes_up: of a call's messages,
        bytes_down: and back.
        fallback: whether a device's answer stands where the cloud gives none; else the query is
            dropped.
        gateway_s: mean seconds that a gateway takes for one alone; where the group has gateways.
        gateway_deferral_rate: share of what comes to a gateway that goes on to the cloud; likewise.
    """

    device_s: Seconds
    deferral_rate: Share
    cloud_s: Seconds | None = None
    tokens: Annotated[float, msgspec.Meta(gt=0.0, le=1e9)] | None = None
    spread: Literal["exponential", "constant"] = "exponential"
    bytes_up: Annotated[int, msgspec.Meta(ge=0, le=1 << 30)] = 500
    bytes_down: Annotated[int, msgspec.Meta(ge=0, le=1 << 30)] = 500
    fallback: bool = True
    gateway_s: Seconds | None = None
    gateway_deferral_rate: Share | None = None


class Dialling(_Table, frozen=True):
    """Connections of a device, or a gateway, that are not always open: it dials for its first call.

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
        gateway: whose queries go through these gateways; None: straight to the cloud.
        past_gateway: the network over which a device asks the cloud itself where its gateway gives
            no answer; None: its own answer stands.
        device: what they are (`escalade profiles`), whose power and battery the energy is told of;
            None tells none.
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
    gateway: str | None = None
    past_gateway: str | None = None
    device: str | None = None
    scale: Annotated[float, msgspec.Meta(gt=0.0, le=1e6)] = 1.0
    priority: Annotated[int, msgspec.Meta(ge=0, le=7)] = 0
    dialling: Dialling | None = None


class GatewayTable(_Table, frozen=True):
    """Gateways that are alike, between devices that share them and the cloud.

    Attributes:
        name: what groups call them.
        count: how many; devices of a group are spread over them evenly.
        profile: the network between them and the cloud.
        slots: queries that one computes at once; others wait.
        slowdown: each query beside it makes one take so many times longer.
        queue: queries that may be at one beside as many as it has slots, those among them whose
            answer it awaits from the cloud; it refuses what comes beyond. None sets no bound.
        dialling: when one has to dial the cloud; None: its connection is always open.
    """

    name: str
    count: _Count
    profile: str
    slots: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 1
    slowdown: Share = 0.0
    queue: Queue | None = None
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
        start_s: seconds of an answer before its tokens, alone, and
        token_s: of each that it writes; None of both leaves what the trace has.
        beside_s: what a call takes at this load beside, with the network and the cloud.
        queue: queries that may wait; None sets no bound.
        price_per_hour: of a replica.
        scaling: None leaves `replicas`.
    """

    replicas: Replicas
    slots: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 1
    slowdown: Share = 0.0
    start_s: Seconds | None = None
    token_s: Seconds | None = None
    beside_s: Seconds = 0.0
    queue: Queue | None = None
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
    """A time in which no call leaves its device, or its gateway.

    Attributes:
        from_s: when it begins.
        to_s: when it ends.
        group: of these devices, towards their gateways where they have any; None is of all links
            of all devices, where no gateway is named.
        gateway: of these gateways, towards the cloud.
    """

    from_s: Seconds
    to_s: Span
    group: str | None = None
    gateway: str | None = None


class Spec(_Table, frozen=True):
    """A fleet.

    Attributes:
        seconds: in which queries come.
        groups: of devices.
        gateways: between these and the cloud.
        cloud: what they share.
        warm_up_s: queries before are not measured.
        retries: of calls.
        outages: of links.
    """

    seconds: Span
    groups: Annotated[list[Group], msgspec.Meta(min_length=1, max_length=64)]
    cloud: CloudTable
    gateways: Annotated[list[GatewayTable], msgspec.Meta(max_length=64)] = []
    warm_up_s: Seconds = 0.0
    retries: Retries = Retries()
    outages: Annotated[list[Outage], msgspec.Meta(max_length=10_000)] = []
