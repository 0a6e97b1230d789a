"""Runs a whole simulation: traces x thresholds x networks; knows no page and no command line.

Entry point of `escalade simulate`. It says what networks do at chosen thresholds; how good
thresholds are is for `escalade evaluate`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from escalade.edge.base import text_of
from escalade.edge.trace import Trace, TraceHeader
from escalade.simulator.errors import SimulatorError, naming
from escalade.simulator.network import (
    PAPERS_DELAYS,
    Network,
    Profiles,
    get_profile,
    networks_named,
)
from escalade.simulator.recorded import (
    MOST_QUERIES,
    CostModel,
    Floats,
    RecordedTier,
    answered,
    climb,
    flops,
    has_parameters,
    hour_words,
    is_priced,
    money,
    read_sample,
    recorded_thresholds,
    tiers_of,
    with_prices,
)
from escalade.simulator.replay.course import Course, linked_of
from escalade.simulator.replay.replay import Replay
from escalade.simulator.replay.rows import network_row, point_row, trace_row
from escalade.simulator.replay.setting import AS_RECORDED, Setting, kept_in
from escalade.simulator.replay.summary import PointRow, Summary, TraceRow

#: Called with how many replays are done, and of how many.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Simulation:
    """A finished simulation.

    Attributes:
        replays: `(trace name, replay)`, by trace, then thresholds, then network.
        networks: in the order asked for.
        costs: by trace and cost model, what each tier's answers cost, `(V, N)`; of the models that
            a trace knows enough for.
        summary: every table.
    """

    replays: list[tuple[str, Replay]]
    networks: list[Network]
    costs: dict[str, dict[str, list[Floats]]]
    summary: Summary


def simulate(
    trace_paths: Sequence[Path],
    profiles: Sequence[str],
    thresholds: Sequence[Sequence[float]],
    *,
    known: Profiles | None = None,
    prices: Mapping[str, tuple[float, float]] | None = None,
    hour_prices: Mapping[str, float] | None = None,
    setting: Setting = AS_RECORDED,
    up_to: str | None = None,
    sample: int = MOST_QUERIES,
    seed: int,
    reading: Progress | None = None,
    progress: Progress | None = None,
) -> Simulation:
    """Replay traces over named networks.

    Args:
        trace_paths: shadow-mode traces; each is called by its file's stem.
        profiles: names of networks, and `TIER=NAME` or `TIER/MEMBER=NAME` for one link, see
            `networks_named`; none means the papers' four delays.
        thresholds: choices of one for each gate, tried on every trace; none means each trace's
            own.
        known: the profiles; None is those that come with the package.
        prices: of members, in place of those recorded; see `with_prices`.
        hour_prices: the same, of hours.
        setting: what is other than it was recorded.
        up_to: of every trace, the tier that is the last; None is as recorded.
        sample: queries of a trace, at most, >= 1; of a longer one so many are drawn.
        seed: same seed, same numbers.
        reading: called while a trace is read, with how many bytes are, and of how many.
        progress: called after each replay.

    Raises:
        DataError: a trace cannot be read.
        ProfileError: no such network, or a link without one.
        SimulatorError: a trace lacks answers, or the tier of `up_to`; or a threshold, a price or
            the seed is out of range.
    """
    for one in profiles:
        get_profile(one.rpartition("=")[2], known)  # before traces are read, which may take a while
    notes: list[str] = []
    read = [
        with_prices(
            read_sample(path, sample, seed, notes, reading, up_to=up_to), prices or {}, hour_prices
        )
        for path in trace_paths
    ]
    return run_simulation(
        dict(zip(_names(trace_paths), read, strict=True)),
        networks_of(read, profiles, known),
        thresholds,
        setting=setting,
        notes=notes,
        seed=seed,
        progress=progress,
    )


def networks_of(
    traces: Sequence[Trace], profiles: Sequence[str], known: Profiles | None = None
) -> list[Network]:
    """The networks that a user means by names, for the links of some traces.

    Arguments and errors are those of `simulate`.
    """
    linked: dict[str, list[str]] = {}
    for trace in traces:
        for tier, members in linked_of(trace).items():
            linked.setdefault(tier, []).extend(members)
    return networks_named(profiles, linked, PAPERS_DELAYS, known=known)


def run_simulation(
    traces: Mapping[str, Trace],
    networks: Iterable[Network],
    thresholds: Iterable[Sequence[float]],
    *,
    setting: Setting = AS_RECORDED,
    notes: Sequence[str] = (),
    seed: int,
    progress: Progress | None = None,
) -> Simulation:
    """Replay every trace under every choice of thresholds on every network.

    Arguments and errors are those of `simulate`; `notes` is what was noted before.
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
    costs: dict[str, dict[str, list[Floats]]] = {}
    rows: list[TraceRow] = []
    points: list[PointRow] = []
    notes = [*notes, *setting.words]
    if setting.deadline_s < math.inf:
        notes.append(
            "who answers, what is right and what is moved are told as if all answered: see the"
            " deadline's table"
        )
    for name, whole in traces.items():
        with naming(name):
            trace = answered(name, whole, notes)
            notes += hour_words(trace.header)
            tiers = tiers_of(trace)
            kept = None if setting.keeping is None else kept_in(trace, setting.keeping, seed)
            courses = Course.of(tiers, over, seed=seed, setting=setting, kept=kept)
            costs[name] = _cost_tables(trace.header, tiers)
            rows.append(trace_row(name, trace, courses[0]))
            for choice in chosen or [recorded_thresholds(trace.header.tiers)]:
                for course in courses:
                    replays.append((name, Replay.of(course, choice)))
                    if progress is not None:
                        progress(len(replays), total)
                # Which calls a deadline ends is the network's affair: here all answer.
                heard = Replay(course=courses[-1], climb=climb(tiers, choice, kept=kept))
                points.append(point_row(name, heard, costs[name]))
    summary = Summary(
        seed=seed,
        traces=rows,
        points=points,
        networks=[network_row(name, replay, setting) for name, replay in replays],
        battery_wh=setting.battery_wh,
        notes=notes,
    )
    return Simulation(replays=replays, networks=over, costs=costs, summary=summary)


def _cost_tables(header: TraceHeader, tiers: Sequence[RecordedTier]) -> dict[str, list[Floats]]:
    """What each tier's answers cost, by the cost models that the header knows enough for."""
    known: list[CostModel] = []
    if has_parameters(header):
        known.append(flops)
    if is_priced(header):
        known.append(money)
    return {model.name: [tier.at_levels(model) for tier in tiers] for model in known}


def _names(paths: Sequence[Path]) -> list[str]:
    """Each path's stem, or the whole path where stems are not all different."""
    stems = [text_of(path.stem) for path in paths]
    return stems if len(set(stems)) == len(stems) else [text_of(path) for path in paths]
