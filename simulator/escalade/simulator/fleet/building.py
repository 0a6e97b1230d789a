"""From what is said of a fleet to one that can be run, and whether it can; knows no event."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from escalade.simulator.devices import Devices
from escalade.simulator.errors import FleetError
from escalade.simulator.fleet.demand import (
    Built,
    Queries,
    Rate,
    model_of,
    queries_of,
    rate_of,
    recorded_times,
)
from escalade.simulator.fleet.description import (
    CloudTable,
    Dialling,
    GatewayTable,
    Recorded,
    Spec,
)
from escalade.simulator.fleet.engine import Model
from escalade.simulator.fleet.naming import Named, named_of
from escalade.simulator.formats import nominal_seconds
from escalade.simulator.network import Profiles, held_share

_MAX_SEED = 2**32 - 1
#: Share of calls that a stall of another's holds up, from which p99.9 is another one.
_HELD = 1e-3
#: Queries of a run: at the 10 million a second that one machine does, three hours.
MOST_QUERIES = 10**11


class Fleet(NamedTuple):
    """A fleet that can be run.

    Attributes:
        model: its arrays.
        built: its groups.
        load: replicas that its queries would keep at work without a pause.
        notes: what a reader of its report should know.
    """

    model: Model
    built: list[Built]
    load: float
    notes: list[str]


def build(
    spec: Spec,
    folder: Path,
    *,
    seed: int,
    known: Profiles | None = None,
    devices: Devices | None = None,
) -> Fleet:
    """The arrays of a fleet that can be served; arguments and errors are those of `built_of`.

    Raises:
        SimulatorError: it cannot be served at all, too.
    """
    built = built_of(spec, folder, seed=seed, known=known, devices=devices)
    load = load_of(spec, built)
    check_cloud(spec, load)
    notes = [f"{one.group.name}: {note}" for one in built for note in _notes(one, spec.seconds)]
    notes += _gateway_notes(spec, built)
    return Fleet(model_of(spec, built, seed), built, load, notes)


def built_of(
    spec: Spec,
    folder: Path,
    *,
    seed: int,
    known: Profiles | None = None,
    devices: Devices | None = None,
    queries: Mapping[str, Queries] | None = None,
) -> list[Built]:
    """Each group of a fleet.

    Args:
        spec: as checked by `read_spec` (`checking`).
        folder: that its paths are relative to.
        seed: of everything drawn.
        known: networks by name; None is those that come with the package.
        devices: by name; None is likewise.
        queries: of groups, by name, in place of those that their traces hold.

    Raises:
        DataError: a trace cannot be read.
        SimulatorError: a network or a device is unknown, or a file does not hold what it must.
    """
    if not 0 <= seed <= _MAX_SEED:
        raise FleetError(f"seed must be in [0, {_MAX_SEED}]; got {seed}")
    named = named_of(spec, known, devices)  # before traces are read, which may take a while
    given = dict(queries or {})
    for group in spec.groups:
        if group.name not in given:
            given[group.name] = queries_of(group, spec.cloud, folder, seed)
    return [
        _build_group(spec, place, named, folder, seed, given[group.name])
        for place, group in enumerate(spec.groups)
    ]


def load_of(spec: Spec, built: Sequence[Built]) -> float:
    """Replicas that the queries of its groups would keep at work without a pause.

    Those behind gateways that refuse are left out: how many come is not known before.

    Raises:
        FleetError: a run would have no end, or its devices or gateways would never catch up.
    """
    _check_devices(spec, built)
    _check_gateways(spec, built)
    # Gateways with a bound send on no more than the cloud has answered.
    bounded = {one.name for one in spec.gateways if one.queue is not None}
    asked_s = sum(one.cloud_s for one in built if one.group.gateway not in bounded)
    return asked_s / spec.seconds / _full(spec.cloud)


def _full(server: CloudTable | GatewayTable) -> float:
    """Queries of a second alone that a server can do in one, all its slots in use."""
    return server.slots / (1 + server.slowdown * (server.slots - 1))


def _behind(gateway: GatewayTable, built: Sequence[Built]) -> list[Built]:
    return [one for one in built if one.group.gateway == gateway.name]


def _gateway_notes(spec: Spec, built: Sequence[Built]) -> Iterator[str]:
    for gateway in spec.gateways:
        own = _behind(gateway, built)
        calls = sum(one.gateway_calls for one in own) / spec.seconds / gateway.count
        beyond = own[0].beyond
        if beyond is not None and (held := held_share(beyond, calls)) > _HELD:
            yield f"{gateway.name}: a gateway makes {_held(calls, held)}"
        if gateway.dialling is not None:
            yield f"{gateway.name}: a gateway {_dials(gateway.dialling)}"


def _notes(built: Built, seconds: float) -> Iterator[str]:
    yield from built.queries.notes
    calls = built.expected / seconds * float(built.queries.defers.mean())
    held = held_share(built.profile, calls)
    if held > _HELD:
        yield f"a device makes {_held(calls, held)}"
    if (dialling := built.group.dialling) is not None:
        yield f"a device {_dials(dialling)}"


def _dials(dialling: Dialling) -> str:
    idle = nominal_seconds(dialling.idle_s)
    return f"dials for its first call, and for one after {idle} without"


def _held(calls: float, held: float) -> str:
    return (
        f"{calls:.3g} calls a second: over one connection another's lost packet holds up"
        f" {100 * held:.2g}% of them, which is left out"
    )


def _build_group(
    spec: Spec, place: int, named: Named, folder: Path, seed: int, queries: Queries
) -> Built:
    group = spec.groups[place]
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
    leaving = [
        one for one in spec.outages if one.gateway is None and one.group in {None, group.name}
    ]
    above = [
        one for one in spec.outages if one.gateway is not None and one.gateway == group.gateway
    ]
    return Built(
        group=group,
        device=named.devices[place],
        profile=named.profiles[place],
        beyond=None if group.gateway is None else named.beyond[group.gateway],
        past=named.past[place],
        queries=queries,
        rate=rate,
        times=times,
        outages=leaving,
        outages_beyond=above,
        outages_past=[one for one in leaving if one.group is None],
        expected=expected,
    )


def _check_devices(spec: Spec, built: Sequence[Built]) -> None:
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


def _check_gateways(spec: Spec, built: Sequence[Built]) -> None:
    """Refuse gateways whose queues grow for ever."""
    for gateway in spec.gateways:
        wanted = sum(one.gateways_s for one in _behind(gateway, built)) / spec.seconds
        load = wanted / _full(gateway) / gateway.count
        if gateway.queue is None and load >= 1:
            raise FleetError(
                f"gateways {gateway.name!r}: one must be at work less than 100% of its time; its"
                f" queries want {100 * load:.4g}%; give {math.floor(load * gateway.count) + 1:,}"
                " or more, or more slots, or bound their queue"
            )


def check_cloud(spec: Spec, load: float) -> None:
    """Refuse a queue without a bound that grows for ever.

    Raises:
        FleetError: says how many replicas would keep up.
    """
    scaling = spec.cloud.scaling
    most = spec.cloud.replicas if scaling is None else scaling.most
    if spec.cloud.queue is None and load >= most:
        raise FleetError(
            f"this fleet cannot be served: its queries keep {load:.4g} replicas at work and there"
            f" are at most {most}; give {math.floor(load) + 1} or more, or bound the queue"
        )
