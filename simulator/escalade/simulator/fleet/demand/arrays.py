"""The groups of a fleet as the arrays that the engine reads; knows no file and no event."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from escalade.simulator.devices import Device
from escalade.simulator.fleet.demand.arrivals import Rate
from escalade.simulator.fleet.demand.delays import sampled_delays, sampled_dialling, samples_for
from escalade.simulator.fleet.demand.queries import Queries
from escalade.simulator.fleet.description import (
    Dialling,
    Group,
    Outage,
    Recorded,
    Spec,
)
from escalade.simulator.fleet.engine import (
    Floats,
    Gateways,
    Ints,
    Model,
    Past,
    no_gateways,
)
from escalade.simulator.network import Profile

#: Where a queue has no bound.
_NO_BOUND = 1 << 62
# Of the random numbers of links beside those to the cloud over open connections, which are the same
# whether or not there are others.
_DIALLED, _TO_GATEWAY, _GATEWAY_DIALLED, _PAST, _PAST_DIALLED = range(1, 6)


@dataclass(frozen=True)
class Built:
    """One group as arrays; `beyond` is the network of its gateways, `past` that past them.

    Of its `device` the arrays know nothing: its seconds are those of `queries`.
    """

    group: Group
    device: Device | None
    profile: Profile
    beyond: Profile | None
    past: Profile | None
    queries: Queries
    rate: Rate
    times: Floats
    #: Of calls that leave its devices, and its gateways, and its devices past those.
    outages: list[Outage]
    outages_beyond: list[Outage]
    outages_past: list[Outage]
    expected: float

    @property
    def device_load(self) -> float:
        """Share of its time that one of its devices is at work."""
        return self.expected * float(self.queries.device_s.mean())

    @property
    def cloud_s(self) -> float:
        """Seconds of the cloud, of queries alone, that all its devices ask for."""
        asked = float(np.where(self.queries.called, self.queries.cloud_s, 0.0).mean())
        return self.group.count * self.expected * asked

    @property
    def gateways_s(self) -> float:
        """Seconds of its gateways, of queries alone, that all its devices ask for."""
        asked = float(np.where(self.queries.defers, self.queries.gateway_s, 0.0).mean())
        return self.group.count * self.expected * asked

    @property
    def gateway_calls(self) -> float:
        """How many its gateways make to the cloud."""
        return self.group.count * self.expected * float(self.queries.called.mean())


def model_of(spec: Spec, built: Sequence[Built], seed: int) -> Model:
    """All groups of a fleet, one after the other; the seed is of networks too."""
    samples = samples_for(sum(len(one.queries.device_s) for one in built))
    delays = [_to_cloud(one, samples, seed) for one in built]
    # Of links to the cloud, then to gateways, then past them.
    outages = [one.outages_beyond if one.beyond else one.outages for one in built]
    outages += [one.outages if one.beyond else [] for one in built]
    outages += [one.outages_past if one.past else [] for one in built]
    dialling = [one.group.dialling for one in built]
    first = [
        _dialled(one, one.profile, one.group.dialling, samples, [seed, _DIALLED]) for one in built
    ]
    cloud, retries = spec.cloud, spec.retries
    scaling = cloud.scaling
    return Model(
        seed=seed,
        first_device=_firsts([one.group.count for one in built]),
        first_record=_firsts([len(one.queries.device_s) for one in built]),
        first_piece=_firsts([len(one.rate.from_s) for one in built]),
        first_time=_firsts([len(one.times) for one in built]),
        first_outage=_firsts([len(of) for of in outages]),
        priority=np.array([one.group.priority for one in built]),
        piece_from_s=np.concatenate([one.rate.from_s for one in built]),
        piece_rate=np.concatenate([one.rate.per_s for one in built]),
        piece_sum=np.concatenate([one.rate.expected for one in built]),
        arrival_s=np.concatenate([one.times for one in built]),
        period_s=np.array([_period_s(one.group) for one in built]),
        device_s=np.concatenate([one.queries.device_s for one in built]),
        defers=np.concatenate([one.queries.defers for one in built]),
        gateways=_gateways_of(spec, built, samples, seed),
        cloud_s=np.concatenate([one.queries.cloud_s for one in built]),
        up_s=np.concatenate([up for up, _ in delays]),
        down_s=np.concatenate([down for _, down in delays]) + cloud.beside_s,
        dials=np.array([one is not None for one in dialling]),
        idle_s=np.array([0.0 if one is None else one.idle_s for one in dialling]),
        open_s=np.concatenate([open_s for open_s, _ in first]),
        first_up_s=np.concatenate([up_s for _, up_s in first]),
        outage_from_s=np.array([one.from_s for of in outages for one in of], np.float64),
        outage_to_s=np.array([one.to_s for of in outages for one in of], np.float64),
        backoff_first_s=retries.first_s,
        backoff_most_s=retries.most_s,
        deadline_s=retries.deadline_s,
        slots=cloud.slots,
        slowdown=cloud.slowdown,
        queue=_NO_BOUND if cloud.queue is None else cloud.queue,
        replicas=cloud.replicas,
        least_replicas=cloud.replicas if scaling is None else scaling.least,
        most_replicas=cloud.replicas if scaling is None else scaling.most,
        target=1.0 if scaling is None else scaling.target,
        scale_every_s=math.inf if scaling is None else scaling.every_s,
        startup_s=0.0 if scaling is None else scaling.startup_s,
        settle_s=0.0 if scaling is None else scaling.settle_s,
        warm_up_s=spec.warm_up_s,
        seconds=spec.seconds,
    )


def _gateways_of(spec: Spec, built: Sequence[Built], samples: int, seed: int) -> Gateways:
    if not spec.gateways:
        return no_gateways(len(built))
    names = [one.name for one in spec.gateways]
    near = [_to_gateway(one, samples, seed) for one in built]
    kinds = {one.name: one for one in spec.gateways}
    first = [
        _dialled(
            one,
            one.beyond,
            None if (of := one.group.gateway) is None else kinds[of].dialling,
            samples,
            [seed, _GATEWAY_DIALLED],
        )
        for one in built
    ]
    dialling = [one.dialling for one in spec.gateways]
    return Gateways(
        kind=np.array(
            [-1 if (of := one.group.gateway) is None else names.index(of) for one in built]
        ),
        first=_firsts([one.count for one in spec.gateways]),
        slots=np.array([one.slots for one in spec.gateways]),
        slowdown=np.array([one.slowdown for one in spec.gateways]),
        places=np.array(
            [_NO_BOUND if one.queue is None else one.slots + one.queue for one in spec.gateways]
        ),
        is_bounded=any(one.queue is not None for one in spec.gateways),
        answer_s=np.concatenate([one.queries.gateway_s for one in built]),
        defers=np.concatenate([one.queries.goes_on for one in built]),
        up_s=np.concatenate([up_s for up_s, _ in near]),
        down_s=np.concatenate([down_s for _, down_s in near]),
        dials=np.array([one is not None for one in dialling]),
        idle_s=np.array([0.0 if one is None else one.idle_s for one in dialling]),
        open_s=np.concatenate([open_s for open_s, _ in first]),
        first_up_s=np.concatenate([up_s for _, up_s in first]),
        past=_past_of(spec, built, samples, seed),
    )


def _past_of(spec: Spec, built: Sequence[Built], samples: int, seed: int) -> Past:
    ways = [
        _none(one, samples)
        if one.past is None
        else sampled_delays(one.queries, one.past, samples, [seed, _PAST])
        for one in built
    ]
    first = [
        _dialled(one, one.past, one.group.dialling, samples, [seed, _PAST_DIALLED]) for one in built
    ]
    return Past(
        allowed=np.array([one.past is not None for one in built]),
        up_s=np.concatenate([up_s for up_s, _ in ways]),
        down_s=np.concatenate([down_s for _, down_s in ways]) + spec.cloud.beside_s,
        open_s=np.concatenate([open_s for open_s, _ in first]),
        first_up_s=np.concatenate([up_s for _, up_s in first]),
    )


def _to_cloud(built: Built, samples: int, seed: int) -> tuple[Floats, Floats]:
    """Delays over the link to the cloud."""
    if built.beyond is None:
        return sampled_delays(built.queries, built.profile, samples, seed)
    # What a call takes beside is in the way to the gateway.
    alone = replace(built.queries, beside_s=np.zeros_like(built.queries.beside_s))
    return sampled_delays(alone, built.beyond, samples, seed)


def _to_gateway(built: Built, samples: int, seed: int) -> tuple[Floats, Floats]:
    """Delays over the link to the gateway; none where there is none."""
    queries = built.queries
    if built.beyond is None:
        return _none(built, samples)
    behind_s = queries.gateway_s + np.where(queries.goes_on, queries.cloud_s, 0.0)
    return sampled_delays(
        replace(queries, cloud_s=behind_s), built.profile, samples, [seed, _TO_GATEWAY]
    )


def _dialled(
    built: Built,
    profile: Profile | None,
    dialling: Dialling | None,
    samples: int,
    seed: Sequence[int],
) -> tuple[Floats, Floats]:
    """Of a link's connections; none where there is no link, or none of them is dialled."""
    if profile is None or dialling is None:
        return _none(built, samples)
    return sampled_dialling(built.queries, profile, samples, seed, tls=dialling.tls)


def _none(built: Built, samples: int) -> tuple[Floats, Floats]:
    none = np.zeros((len(built.queries.device_s), samples))
    return none, none


def _firsts(sizes: Sequence[int]) -> Ints:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _period_s(group: Group) -> float:
    return group.arrivals.period_s if isinstance(group.arrivals, Recorded) else 1.0
