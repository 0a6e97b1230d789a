"""Runs a whole simulation: traces x thresholds x networks; knows no page and no command line.

Entry point of `escalade simulate`. It says what networks do at chosen thresholds; how good
thresholds are is for `escalade evaluate`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from escalade.edge.base import text_of
from escalade.edge.trace import Trace, TraceHeader, links_of, read_trace
from escalade.simulator.devices import Devices, scale_named
from escalade.simulator.errors import SimulatorError
from escalade.simulator.formats import percent
from escalade.simulator.network import (
    PAPERS_DELAYS,
    Network,
    Profiles,
    get_profile,
    networks_named,
)
from escalade.simulator.recorded import (
    CostModel,
    Floats,
    RecordedTier,
    answered,
    flops,
    has_parameters,
    is_priced,
    money,
    recorded_thresholds,
    tiers_of,
    with_prices,
)
from escalade.simulator.replay.replay import Course, Replay, latency_of
from escalade.simulator.replay.summary import (
    NetworkRow,
    PointRow,
    Spent,
    Summary,
    TierRow,
    TierShare,
    TraceRow,
)
from escalade.simulator.replay.trips import links_behind

#: Called with how many replays are done, and of how many.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Simulation:
    """A finished simulation.

    Attributes:
        replays: `(trace name, replay)`, by trace, then thresholds, then network.
        networks: in the order asked for.
        summary: every table.
    """

    replays: list[tuple[str, Replay]]
    networks: list[Network]
    summary: Summary


def simulate(
    trace_paths: Sequence[Path],
    profiles: Sequence[str],
    thresholds: Sequence[Sequence[float]],
    *,
    known: Profiles | None = None,
    device: str | None = None,
    devices: Devices | None = None,
    prices: Mapping[str, tuple[float, float]] | None = None,
    dialled: float = 0.0,
    seed: int,
    progress: Progress | None = None,
) -> Simulation:
    """Replay traces over named networks.

    Args:
        trace_paths: shadow-mode traces; each is called by its file's stem.
        profiles: names of networks, and `TIER=NAME` for the link to one tier, see
            `networks_named`; none means the papers' four delays.
        thresholds: choices of one for each gate, tried on every trace; none means each trace's
            own.
        known: the profiles; None is those that come with the package.
        device: `RECORDED=DEVICE`: replay what one device has recorded as if on another.
        devices: those that there are; None is those that come with the package.
        prices: of members, in place of those recorded; see `with_prices`.
        dialled: share of the calls that find no connection open, see `seconds_of_tiers`.
        seed: same seed, same numbers.
        progress: called after each replay.

    Raises:
        DataError: a trace cannot be read.
        ProfileError: no such network or device, or a link without one.
        SimulatorError: a trace lacks answers, or a threshold, a price or the seed is out of
            range.
    """
    for one in profiles:
        get_profile(one.rpartition("=")[2], known)  # before traces are read, which may take a while
    scale = 1.0 if device is None else scale_named(device, devices)
    read = [with_prices(read_trace(path), prices or {}) for path in trace_paths]
    return run_simulation(
        dict(zip(_names(trace_paths), read, strict=True)),
        networks_of(read, profiles, known),
        thresholds,
        device_scale=scale,
        dialled=dialled,
        seed=seed,
        progress=progress,
    )


def networks_of(
    traces: Sequence[Trace], profiles: Sequence[str], known: Profiles | None = None
) -> list[Network]:
    """The networks that a user means by names, for the links of some traces.

    Arguments and errors are those of `simulate`.
    """
    linked = dict.fromkeys(name for trace in traces for name in _linked(trace))
    return networks_named(profiles, list(linked), PAPERS_DELAYS, known=known)


def run_simulation(
    traces: Mapping[str, Trace],
    networks: Iterable[Network],
    thresholds: Iterable[Sequence[float]],
    *,
    device_scale: float = 1.0,
    dialled: float = 0.0,
    seed: int,
    progress: Progress | None = None,
) -> Simulation:
    """Replay every trace under every choice of thresholds on every network.

    Arguments and errors are those of `simulate`; `device_scale` is that of `seconds_of_tiers`.
    """
    over = list(dict.fromkeys(networks))
    if not traces or not over:
        raise SimulatorError("a simulation needs at least 1 trace and 1 network")
    chosen = list(dict.fromkeys(map(tuple, thresholds)))
    for tau in (tau for choice in chosen for tau in choice):
        if not math.isfinite(tau):
            raise SimulatorError(f"a threshold must be a finite number; got {tau}")
    total = len(traces) * max(1, len(chosen)) * len(over)
    replays: list[tuple[str, Replay]] = []
    rows: list[TraceRow] = []
    points: list[PointRow] = []
    notes: list[str] = []
    if device_scale != 1:
        notes.append(f"seconds on the device are those recorded times {device_scale:.4g}")
    if dialled:
        notes.append(f"{percent(dialled)} of the calls find no connection open and dial, over TLS")
    for name, whole in traces.items():
        try:
            trace = answered(name, whole, notes)
            tiers = tiers_of(trace)
            courses = Course.of(tiers, over, seed=seed, device_scale=device_scale, dialled=dialled)
            costs = _cost_tables(trace.header, tiers)
            rows.append(_trace_row(name, trace, courses[0]))
            for choice in chosen or [recorded_thresholds(trace.header.tiers)]:
                for course in courses:
                    replays.append((name, course.at(choice)))
                    if progress is not None:
                        progress(len(replays), total)
                points.append(_point_row(name, replays[-1][1], costs))
        except SimulatorError as error:
            raise type(error)(f"{name}: {error}") from error
    summary = Summary(
        seed=seed,
        traces=rows,
        points=points,
        networks=[_network_row(name, replay) for name, replay in replays],
        notes=notes,
    )
    return Simulation(replays=replays, networks=over, summary=summary)


def _cost_tables(header: TraceHeader, tiers: Sequence[RecordedTier]) -> dict[str, list[Floats]]:
    """What each tier's answers cost, by the cost models that the header knows enough for."""
    known: list[CostModel] = []
    if has_parameters(header):
        known.append(flops)
    if is_priced(header):
        known.append(money)
    return {model.name: [tier.at_levels(model) for tier in tiers] for model in known}


def _trace_row(name: str, trace: Trace, course: Course) -> TraceRow:
    tiers = [
        TierRow(
            name=tier.name,
            place=tier.place,
            members=[member.name for member in tier.members],
            parameters=sum(member.parameters for member in tier.members),
            rule=tier.rule,
            threshold=tier.threshold,
            accuracy=None if course.correct is None else float(course.correct[k].mean()),
        )
        for k, tier in enumerate(trace.header.tiers)
    ]
    return TraceRow(
        name=name,
        queries=len(trace.records),
        tiers=tiers,
        created=trace.header.created,
        currency=trace.header.currency,
    )


def _point_row(name: str, replay: Replay, costs: Mapping[str, list[Floats]]) -> PointRow:
    spent = {
        model: Spent(
            cascade=float(replay.climb.spent(tables).mean()),
            last_only=float(tables[-1][-1].mean()),
        )
        for model, tables in costs.items()
    }
    return PointRow(
        trace=name,
        thresholds=list(replay.thresholds),
        tiers=_tier_shares(replay),
        accuracy=replay.accuracy,
        calls=replay.calls,
        calls_saved=replay.calls_saved,
        bytes_saved=replay.bytes_saved,
        last_only_bytes_up=replay.last_only_bytes_up,
        last_only_bytes_down=replay.last_only_bytes_down,
        flops=spent.get(flops.name),
        money=spent.get(money.name),
    )


def _tier_shares(replay: Replay) -> list[TierShare]:
    reached, members = replay.climb.reached, replay.members
    return [
        TierShare(
            name=tier.info.name,
            asked=float(reached[k].mean()),
            answered=float((replay.answered_by == k).mean()),
            members=float(members[k][reached[k]].mean()) if reached[k].any() else None,
            bytes_up=int(replay.bytes_up[k]),
            bytes_down=int(replay.bytes_down[k]),
        )
        for k, tier in enumerate(replay.course.tiers)
    ]


def _network_row(name: str, replay: Replay) -> NetworkRow:
    return NetworkRow(
        trace=name,
        thresholds=list(replay.thresholds),
        network=replay.course.network.name,
        cascade=latency_of(replay.cascade_s),
        last_only=latency_of(replay.course.last_only_s),
    )


def _linked(trace: Trace) -> list[str]:
    """The tiers that a link leads to, those behind a gateway too."""
    found: dict[str, None] = {}
    for k, tier in enumerate(trace.header.tiers):
        for record in trace.records:
            answer = record.tiers[k]
            if answer is None or not links_of(answer):
                continue
            calls = [one.call.hops for one in answer.members if one.call is not msgspec.UNSET]
            behind = (hop.tier for hops in (answer.hops, *calls) for hop in links_behind(hops))
            found |= dict.fromkeys((tier.name, *behind))
    return list(found)


def _names(paths: Sequence[Path]) -> list[str]:
    """Each path's stem, or the whole path where stems are not all different."""
    stems = [text_of(path.stem) for path in paths]
    return stems if len(set(stems)) == len(stems) else [text_of(path) for path in paths]
