"""Reads what is said of a fleet, and refuses what contradicts itself; knows no engine, no trace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from escalade.edge.base import explain, nearest
from escalade.simulator.errors import FleetError
from escalade.simulator.fleet.description.spec import (
    MOST_DEVICES,
    MOST_SLOTS,
    CloudTable,
    Daily,
    Group,
    Retries,
    Spec,
)
from escalade.simulator.tables import read_tables

#: Waits of one call, at their longest: each is drawn, and each of millions of calls may have them.
_MOST_WAITS = 1000


def read_spec(path: Path, trace: str | None = None) -> Spec:
    """Read a fleet.

    Args:
        path: its file, TOML.
        trace: of the groups that say neither `trace` nor `answers`; None allows none.

    Raises:
        FleetError: it cannot be read, a key is unknown (the nearest is named), a value is out of
            range, or two contradict each other.
    """
    raw = read_tables(path, FleetError)
    try:
        spec = msgspec.convert(raw, Spec)
    except msgspec.ValidationError as error:
        raise FleetError(f"{path}: {explain(error, raw, Spec)}") from error
    if trace is not None:
        groups = [
            msgspec.structs.replace(one, trace=trace)
            if one.trace is None and one.answers is None
            else one
            for one in spec.groups
        ]
        spec = msgspec.structs.replace(spec, groups=groups)
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
    _check_cloud(spec.cloud)
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
        _check_answers(group)
        _check_tokens(group, spec.cloud)
    total = sum(group.count for group in spec.groups)
    if total > MOST_DEVICES:
        raise FleetError(f"devices must be at most {MOST_DEVICES:,} together; got {total:,}")
    gateways = _check_gateways(spec)
    _check_retries(spec.retries)
    for outage in spec.outages:
        _check_known("an outage's group", outage.group, names)
        _check_known("an outage's gateway", outage.gateway, gateways)
        if outage.group is not None and outage.gateway is not None:
            raise FleetError(
                "an outage is of a group's devices or of gateways; got both"
                f" {outage.group!r} and {outage.gateway!r}"
            )
        if outage.from_s >= spec.seconds:
            raise FleetError(
                f"an outage's from_s must be below seconds, {spec.seconds:g}, or nothing meets it;"
                f" got {outage.from_s:g}"
            )
        if outage.to_s <= outage.from_s:
            raise FleetError(
                f"an outage's to_s must be above its from_s, {outage.from_s:g}; got {outage.to_s:g}"
            )


def _check_answers(group: Group) -> None:
    """Refuse answers that say too little of a gateway, or something of none."""
    if group.answers is None:
        return
    told = group.answers
    for name in ("gateway_s", "gateway_deferral_rate"):
        if (getattr(told, name) is None) != (group.gateway is None):
            raise FleetError(
                f"group {group.name!r}: answers need {name}, as the group has gateways"
                if group.gateway is not None
                else f"group {group.name!r}: {name} is of a gateway, and the group has none"
            )
    if group.gateway is not None and not told.fallback:
        raise FleetError(
            f"group {group.name!r}: fallback must be true where there is a gateway, whose answer"
            " stands when the cloud gives none; got false"
        )


def _check_tokens(group: Group, cloud: CloudTable) -> None:
    """Refuse answers whose seconds in the cloud are said twice, or not at all."""
    if group.answers is None:
        return
    wanted, other = ("cloud_s", "tokens") if cloud.token_s is None else ("tokens", "cloud_s")
    has = "no token_s" if cloud.token_s is None else "token_s"
    if getattr(group.answers, wanted) is None or getattr(group.answers, other) is not None:
        raise FleetError(
            f"group {group.name!r}: answers need {wanted} and no {other}, as the cloud has {has}"
        )


def _check_gateways(spec: Spec) -> list[str]:
    """Refuse gateways that contradict each other or a group; returns their names."""
    names = [one.name for one in spec.gateways]
    for group in spec.groups:
        _check_known(f"group {group.name!r}: gateway", group.gateway, names)
        if group.past_gateway is not None and group.gateway is None:
            raise FleetError(
                f"group {group.name!r}: past_gateway leads past a gateway, and the group has none"
            )
    for place, name in enumerate(names):
        if name in names[:place]:
            raise FleetError(f"two kinds of gateways are called {name!r}")
        if all(group.gateway != name for group in spec.groups):
            raise FleetError(f"gateways {name!r}: no group has them as its gateway")
    slots = sum(one.count * one.slots for one in spec.gateways)
    if slots > MOST_SLOTS:
        raise FleetError(f"gateways times slots must be at most {MOST_SLOTS:,}; got {slots:,}")
    return names


def _check_known(what: str, name: str | None, names: Sequence[str]) -> None:
    if name is not None and name not in names:
        one_of = f"one of {', '.join(names)}" if names else "left out, for there are none"
        raise FleetError(f"{what} must be {one_of}; got {name!r}{nearest(name, names)}")


def _check_cloud(cloud: CloudTable) -> None:
    if (cloud.start_s is None) != (cloud.token_s is None):
        alone = "start_s" if cloud.token_s is None else "token_s"
        raise FleetError(f"cloud: give both start_s and token_s or neither; got {alone} alone")
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
