"""A fleet some of whose groups ask the queries of a trace, as a plan needs it; knows no goal."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from escalade.edge.trace import Trace, TraceRecord
from escalade.simulator.devices import Device, Devices, Replayed, devices_with, get_device
from escalade.simulator.errors import PlanError
from escalade.simulator.fleet import (
    Daily,
    Group,
    Recorded,
    Spec,
    named_of,
    profile_of,
    read_spec,
    recorded_of,
    recorded_times,
)
from escalade.simulator.network import Network, Profiles
from escalade.simulator.recorded import tiers_of
from escalade.simulator.replay import Course, Setting

_DAY_S, _HOURS = 86_400.0, 24.0
#: What two may differ by that mean one number: 999,936 queries are a million to who rounds.
_ROUNDED = 0.01


@dataclass(frozen=True)
class PlannedFleet:
    """A fleet, and which of its groups thresholds are for.

    Attributes:
        path: of its file.
        spec: what it says; groups that say neither `trace` nor `answers` are of the trace.
        groups: of the trace, at least 1.
        devices: by name, that of each group among them.
        a_day: queries of one device in a day, by group, all of them.
        known: networks by name; None is those that come with the package.
    """

    path: Path
    spec: Spec
    groups: list[Group]
    devices: Devices
    a_day: Mapping[str, float]
    known: Profiles | None

    @property
    def folder(self) -> Path:
        """What its paths are relative to."""
        return self.path.parent

    @property
    def queries_a_day(self) -> float:
        """Of all groups."""
        return sum(one.count * self.a_day[one.name] for one in self.spec.groups)

    @property
    def queries_a_device(self) -> float:
        """In a day, of a device of the trace's busiest group."""
        return max(self.a_day[one.name] for one in self.groups)

    @property
    def battery_wh(self) -> float | None:
        """The smallest battery of a device of the trace's groups; None where one has none."""
        each = [self.battery_wh_of(one) for one in self.groups]
        return None if None in each else min(one or 0.0 for one in each)

    def battery_wh_of(self, group: Group) -> float | None:
        """That of its device; None where it has none, or none is named."""
        if group.device is None:
            return None
        return get_device(group.device, self.devices).battery_wh

    @property
    def may_lose(self) -> bool:
        """Whether a call may fail."""
        return self.spec.cloud.queue is not None or bool(self.spec.outages)

    def spent_a_day(self, each: Sequence[float | None]) -> float:
        """Of all devices of the trace's groups, by what a query of each takes; NaN and None: 0."""
        return sum(
            one.count * self.a_day[one.name] * (money if money and money > 0 else 0.0)
            for one, money in zip(self.groups, each, strict=True)
        )

    @property
    def notes(self) -> list[str]:
        """What a reader of a plan should know of it."""
        found = []
        if self.spec.cloud.scaling is not None:
            found.append("scaling is left aside: replicas are there all the time")
        if any(isinstance(one.arrivals, Daily) for one in self.spec.groups) and (
            self.spec.seconds < _DAY_S
        ):
            found.append(
                f"the run is of {self.spec.seconds / _DAY_S * _HOURS:.3g} hours from midnight on:"
                " what other hours of a day ask for is not met in it"
            )
        return found

    def courses(self, trace: Trace, seed: int) -> list[Course]:
        """Of the trace, or a part of it, on the network of each of its groups."""
        return [
            Course.of(
                tiers_of(self._served(group, trace, seed)),
                [self._network(group, trace)],
                seed=seed,
                setting=self._setting(group),
            )[0]
            for group in self.groups
        ]

    def with_plan(self, thresholds: Sequence[float], replicas: int) -> Spec:
        """The fleet with thresholds in the groups of the trace, and replicas that stay."""
        names = [one.name for one in self.groups]
        groups = [
            msgspec.structs.replace(one, thresholds=list(thresholds)) if one.name in names else one
            for one in self.spec.groups
        ]
        cloud = msgspec.structs.replace(self.spec.cloud, replicas=replicas, scaling=None)
        return msgspec.structs.replace(self.spec, groups=groups, cloud=cloud)

    def _served(self, group: Group, trace: Trace, seed: int) -> Trace:
        """The trace with calls that take what a fit of the cloud says, where the fleet has one."""
        if self.spec.cloud.token_s is None:
            return trace
        told = recorded_of(Path(group.trace or ""), trace, group, self.spec.cloud, seed)
        server_s = told.gateway_s + told.cloud_s
        both = zip(server_s.tolist(), (server_s + told.beside_s).tolist(), strict=True)
        records = [
            _taking(record, *times) for record, times in zip(trace.records, both, strict=True)
        ]
        return trace._replace(records=records)

    def _network(self, group: Group, trace: Trace) -> Network:
        own = profile_of(f"group {group.name!r}", group.profile, self.known)
        last = trace.header.tiers[-1].name
        hops = (one.tiers[-1].hops for one in trace.records if one.tiers[-1] is not None)
        if group.gateway is None and all(len(of) <= 1 for of in hops):
            return Network(own)
        # Behind a gateway; where the group has none, what is behind is the server's own time.
        name = {one.name: one.profile for one in self.spec.gateways}.get(group.gateway or "")
        beyond = profile_of(f"gateways {group.gateway!r}", name or "free", self.known)
        return Network(beyond, ((last, own),))

    def _setting(self, group: Group) -> Setting:
        if group.device is not None:
            device = get_device(group.device, self.devices)
            return Setting(device=Replayed(device, group.scale))
        if group.scale == 1:
            return Setting()
        slower = Device(name=group.name, resnet18_ms=1.0, source="scale of a fleet's group")
        return Setting(device=Replayed(slower, group.scale))


def read_fleet(
    path: Path,
    trace: Path,
    *,
    device: Replayed | None = None,
    known: Profiles | None = None,
    devices: Devices | None = None,
) -> PlannedFleet:
    """Read a fleet of which at least one group has a trace.

    Args:
        path: of its file.
        trace: that thresholds are for.
        device: in place of the one that recorded; it goes before a `scale` of 1.
        known: networks by name; None is those that come with the package.
        devices: by name; None is likewise.

    Raises:
        SimulatorError: it is not as `escalade fleet` needs it.
        PlanError: no group has the trace, or one says another `scale`, or `device`, than the device
            has.
    """
    spec = read_spec(path, trace=str(trace.absolute()))
    among = dict(devices_with(None) if devices is None else devices)
    if device is not None:
        among[device.device.name] = device.device
    named_of(spec, known, among)  # refuses what it does not know, before a trace is read
    names = [one.name for one in spec.groups if _is_of(one, path.parent, trace)]
    if not names:
        said = ", ".join(f"{one.name!r}: {one.trace or 'answers'}" for one in spec.groups)
        raise PlanError(
            f"{path}: at least 1 group must have {trace} as its trace, or say neither trace nor"
            f" answers; got {said}"
        )
    if device is not None:
        spec = msgspec.structs.replace(
            spec,
            groups=[_on(device, one) if one.name in names else one for one in spec.groups],
        )
    return PlannedFleet(
        path=path,
        spec=spec,
        groups=[one for one in spec.groups if one.name in names],
        devices=among,
        a_day={one.name: _a_day(one, path.parent) for one in spec.groups},
        known=known,
    )


def checked_a_day(what: str, given: float | None, found: float) -> float:
    """How many queries there are in a day, by what a fleet says.

    Args:
        what: the option that says it, too.
        given: by that option; None where it is left out.
        found: by the fleet.

    Raises:
        PlanError: the two contradict each other.
    """
    if given is not None and not abs(given - found) <= _ROUNDED * found:
        raise PlanError(
            f"{what} must be what the fleet's arrivals are, {found:,.6g} a day, or be left out;"
            f" got {given:g}"
        )
    return found


def _is_of(group: Group, folder: Path, trace: Path) -> bool:
    return group.trace is not None and (
        os.path.realpath(folder / group.trace) == os.path.realpath(trace)
    )


def _on(device: Replayed, group: Group) -> Group:
    """The group on that device, which it must not contradict."""
    name = device.device.name
    if group.device not in {None, name}:
        raise PlanError(
            f"group {group.name!r}: its device must be that of --device, {name!r}, or be left out;"
            f" got {group.device!r}"
        )
    if group.scale not in {1.0, device.scale}:
        raise PlanError(
            f"group {group.name!r}: its scale must be that of --device, {device.scale:.4g}, or be"
            f" left out; got {group.scale:g}"
        )
    return msgspec.structs.replace(group, device=name, scale=device.scale)


def _a_day(group: Group, folder: Path) -> float:
    arrivals = group.arrivals
    if isinstance(arrivals, Recorded):
        return len(recorded_times(arrivals, folder)) * _DAY_S / arrivals.period_s
    return _HOURS * arrivals.per_hour


def _taking(record: TraceRecord, server_s: float, round_trip_s: float) -> TraceRecord:
    """A query whose call to the last tier took other times; what was taken beside it stays."""
    *below, last = record.tiers
    assert last is not None  # noqa: S101 - every tier answered
    assert last.link is not None  # noqa: S101 - `recorded_of` refuses a trace without
    more_s = round_trip_s - max(last.link.round_trip_s, last.link.server_s)
    answer = msgspec.structs.replace(
        last,
        seconds=last.seconds + more_s,
        link=msgspec.structs.replace(last.link, server_s=server_s, round_trip_s=round_trip_s),
    )
    came = record.answered_by == len(below)
    return msgspec.structs.replace(
        record, tiers=[*below, answer], total_s=record.total_s + (more_s if came else 0.0)
    )
