"""From what is said of a fleet to the arrays that the engine reads; knows no event."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from escalade.simulator.errors import FleetError, ProfileError
from escalade.simulator.fleet.arrivals import Rate, rate_of, recorded_times
from escalade.simulator.fleet.engine import Floats, Ints, Model
from escalade.simulator.fleet.queries import (
    Queries,
    queries_of,
    sampled_delays,
    sampled_dialling,
    samples_for,
)
from escalade.simulator.fleet.spec import Group, Outage, Recorded, Spec
from escalade.simulator.formats import nominal_seconds
from escalade.simulator.network import Profile, Profiles, get_profile, held_share

_MAX_SEED = 2**32 - 1
#: Where a queue has no bound.
_NO_BOUND = 1 << 62
#: Share of calls that a stall of another's holds up, from which p99.9 is another one.
_HELD = 1e-3
#: Queries of a run: at the 10 million a second that one machine does, three hours.
MOST_QUERIES = 10**11


class Fleet(NamedTuple):
    """A fleet that can be run.

    Attributes:
        model: its arrays.
        load: replicas that its queries would keep at work without a pause.
        notes: what a reader of its report should know.
    """

    model: Model
    load: float
    notes: list[str]


@dataclass(frozen=True)
class _Built:
    """One group as arrays."""

    group: Group
    profile: Profile
    queries: Queries
    rate: Rate
    times: Floats
    outages: list[Outage]
    expected: float

    @property
    def device_load(self) -> float:
        """Share of its time that one of its devices is at work."""
        return self.expected * float(self.queries.device_s.mean())

    @property
    def cloud_s(self) -> float:
        """Seconds of the cloud, of queries alone, that all its devices ask for."""
        asked = float(np.where(self.queries.defers, self.queries.cloud_s, 0.0).mean())
        return self.group.count * self.expected * asked


def build(spec: Spec, folder: Path, *, seed: int, known: Profiles | None = None) -> Fleet:
    """The arrays of a fleet.

    Args:
        spec: as checked by `read_spec`.
        folder: that its paths are relative to.
        seed: of everything drawn.
        known: networks by name; None is those that come with the package.

    Raises:
        DataError: a trace cannot be read.
        SimulatorError: a network is unknown, a file does not hold what it must, or the fleet cannot
            be served at all.
    """
    if not 0 <= seed <= _MAX_SEED:
        raise FleetError(f"seed must be in [0, {_MAX_SEED}]; got {seed}")
    # Before traces are read, which may take a while.
    profiles = [_profile_of(group, known) for group in spec.groups]
    built = [
        _build_group(spec, group, profile, folder, seed)
        for group, profile in zip(spec.groups, profiles, strict=True)
    ]
    cloud = spec.cloud
    full = cloud.slots / (1 + cloud.slowdown * (cloud.slots - 1))
    load = sum(one.cloud_s for one in built) / spec.seconds / full
    _check_devices(spec, built)
    _check_cloud(spec, load)
    notes = [f"{one.group.name}: {note}" for one in built for note in _notes(one, spec.seconds)]
    return Fleet(_model_of(spec, built, seed), load, notes)


def _notes(built: _Built, seconds: float) -> Iterator[str]:
    yield from built.queries.notes
    calls = built.expected / seconds * float(built.queries.defers.mean())
    held = held_share(built.profile, calls)
    if held > _HELD:
        yield (
            f"a device makes {calls:.3g} calls a second: over one connection another's lost packet"
            f" holds up {100 * held:.2g}% of them, which is left out"
        )
    if (dialling := built.group.dialling) is not None:
        idle = nominal_seconds(dialling.idle_s)
        yield f"a device dials for its first call, and for one after {idle} without"


def _profile_of(group: Group, known: Profiles | None) -> Profile:
    try:
        return get_profile(group.profile, known)
    except ProfileError as error:
        raise ProfileError(f"group {group.name!r}: {error}") from error


def _build_group(spec: Spec, group: Group, profile: Profile, folder: Path, seed: int) -> _Built:
    queries = queries_of(group, folder, seed)
    rate = Rate.of(np.zeros(1), np.zeros(1))
    times = np.empty(0)
    try:
        if isinstance(group.arrivals, Recorded):
            times = recorded_times(group.arrivals, folder)
            expected = len(times) * spec.seconds / group.arrivals.period_s
        else:
            rate = rate_of(group.arrivals, spec.seconds, np.random.default_rng(seed))
            expected = rate.until(spec.seconds)
    except FleetError as error:
        raise FleetError(f"group {group.name!r}: {error}") from error
    outages = [one for one in spec.outages if one.group in {None, group.name}]
    return _Built(group, profile, queries, rate, times, outages, expected)


def _check_devices(spec: Spec, built: Sequence[_Built]) -> None:
    """Refuse runs without end, and devices whose queues grow for ever."""
    total = sum(one.group.count * one.expected for one in built)
    if total > MOST_QUERIES:
        raise FleetError(f"queries of a run must be at most {MOST_QUERIES:.0e}; got {total:.2e}")
    for one in built:
        load = one.device_load / spec.seconds
        if load >= 1:
            raise FleetError(
                f"group {one.group.name!r}: a device must be at work less than 100% of its time;"
                f" its queries want {100 * load:.4g}%"
            )


def _check_cloud(spec: Spec, load: float) -> None:
    """Refuse a queue without a bound that grows for ever."""
    scaling = spec.cloud.scaling
    most = spec.cloud.replicas if scaling is None else scaling.most
    if spec.cloud.queue is None and load >= most:
        raise FleetError(
            f"this fleet cannot be served: its queries keep {load:.4g} replicas at work and there"
            f" are at most {most}; give {math.floor(load) + 1} or more, or bound the queue"
        )


def _model_of(spec: Spec, built: Sequence[_Built], seed: int) -> Model:
    samples = samples_for(sum(len(one.queries.device_s) for one in built))
    delays = [sampled_delays(one.queries, one.profile, samples, seed) for one in built]
    dialling = [one.group.dialling for one in built]
    first = [_dialled(one, samples, seed) for one in built]
    cloud, retries = spec.cloud, spec.retries
    scaling = cloud.scaling
    return Model(
        seed=seed,
        first_device=_firsts([one.group.count for one in built]),
        first_record=_firsts([len(one.queries.device_s) for one in built]),
        first_piece=_firsts([len(one.rate.from_s) for one in built]),
        first_time=_firsts([len(one.times) for one in built]),
        first_outage=_firsts([len(one.outages) for one in built]),
        priority=np.array([one.group.priority for one in built]),
        piece_from_s=np.concatenate([one.rate.from_s for one in built]),
        piece_rate=np.concatenate([one.rate.per_s for one in built]),
        piece_sum=np.concatenate([one.rate.expected for one in built]),
        arrival_s=np.concatenate([one.times for one in built]),
        period_s=np.array([_period_s(one.group) for one in built]),
        device_s=np.concatenate([one.queries.device_s for one in built]),
        defers=np.concatenate([one.queries.defers for one in built]),
        cloud_s=np.concatenate([one.queries.cloud_s for one in built]),
        up_s=np.concatenate([up for up, _ in delays]),
        down_s=np.concatenate([down for _, down in delays]) + cloud.beside_s,
        dials=np.array([one is not None for one in dialling]),
        idle_s=np.array([0.0 if one is None else one.idle_s for one in dialling]),
        open_s=np.concatenate([open_s for open_s, _ in first]),
        first_up_s=np.concatenate([up_s for _, up_s in first]),
        outage_from_s=np.array([of.from_s for one in built for of in one.outages], np.float64),
        outage_to_s=np.array([of.to_s for one in built for of in one.outages], np.float64),
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


def _dialled(built: _Built, samples: int, seed: int) -> tuple[Floats, Floats]:
    dialling = built.group.dialling
    if dialling is None:
        none = np.zeros((len(built.queries.device_s), samples))
        return none, none
    return sampled_dialling(built.queries, built.profile, samples, seed, tls=dialling.tls)


def _firsts(sizes: Sequence[int]) -> Ints:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _period_s(group: Group) -> float:
    return group.arrivals.period_s if isinstance(group.arrivals, Recorded) else 1.0
