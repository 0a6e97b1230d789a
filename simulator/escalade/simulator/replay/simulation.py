"""Runs a whole simulation: traces x thresholds x networks; knows no HTML and no command line.

Entry point of `escalade simulate`. The answers come back as a `Summary` (tables) inside a
`Study`, which also keeps the curves and the latencies that the report's figures draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from escalade.edge.trace import Trace, read_trace
from escalade.simulator.curves import (
    DeferralCurve,
    OperatingPoint,
    answered,
    area_under_curve,
    at_threshold,
    by_task,
    cost_at_quality,
    deferral_curve,
    paired_difference,
)
from escalade.simulator.errors import SimulatorError
from escalade.simulator.network import Profile, get_profile
from escalade.simulator.replay.replay import Replay, latency_of, replay
from escalade.simulator.replay.summary import (
    ComparisonRow,
    PointRow,
    ProfileRow,
    Summary,
    TaskRow,
    TraceRow,
)

#: Called with how many replays are done, and of how many.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Study:
    """A finished simulation.

    Attributes:
        curves: the deferral curve of each trace, by its name.
        points: the cascade of each trace at each threshold, by the trace's name.
        replays: `(trace name, replay)`, by trace, then threshold, then profile.
        profiles: the networks, in the order asked for.
        summary: every table.
    """

    curves: dict[str, DeferralCurve]
    points: dict[str, list[OperatingPoint]]
    replays: list[tuple[str, Replay]]
    profiles: list[Profile]
    summary: Summary


def simulate(
    trace_paths: Sequence[Path],
    profiles: Sequence[str],
    thresholds: Sequence[float],
    *,
    seed: int,
    progress: Progress | None = None,
) -> Study:
    """Replay traces over named networks.

    Args:
        trace_paths: shadow-mode traces; each is called by its file's stem.
        profiles: names of networks, see `PROFILES`.
        thresholds: tried on every trace; none means each trace's own.
        seed: same seed, same numbers.
        progress: called after each replay.

    Raises:
        DataError: a trace cannot be read.
        ProfileError: no such network.
        SimulatorError: a trace lacks answers or references, or a threshold or the seed is out
            of range.
    """
    networks = [get_profile(name) for name in profiles]
    traces = dict(zip(_names(trace_paths), map(read_trace, trace_paths), strict=True))
    return run_study(traces, networks, thresholds, seed=seed, progress=progress)


def run_study(
    traces: Mapping[str, Trace],
    profiles: Iterable[Profile],
    thresholds: Iterable[float],
    *,
    seed: int,
    progress: Progress | None = None,
) -> Study:
    """Replay every trace at every threshold on every network; arguments as for `simulate`."""
    networks = list(dict.fromkeys(profiles))
    if not traces or not networks:
        raise SimulatorError("a simulation needs at least 1 trace and 1 profile")
    asked = list(dict.fromkeys(thresholds))
    for tau in asked:
        if not math.isfinite(tau):
            raise SimulatorError(f"a threshold must be a finite number; got {tau}")
    taus = {name: asked or [trace.header.threshold] for name, trace in traces.items()}
    total = len(networks) * sum(map(len, taus.values()))

    study = Study(
        curves={},
        points={},
        replays=[],
        profiles=networks,
        summary=Summary(
            seed=seed,
            traces=[],
            points=[],
            profiles=[],
            tasks=[],
            comparisons=[],
            notes=[],
        ),
    )
    for name, whole in traces.items():
        trace = answered(name, whole, study.summary.notes)
        try:
            curve = study.curves[name] = deferral_curve(trace)
        except SimulatorError as error:
            raise SimulatorError(f"{name}: {error}") from error
        study.summary.traces.append(_trace_row(name, trace, curve))
        study.points[name] = [at_threshold(trace, tau) for tau in taus[name]]
        for point in study.points[name]:
            for network in networks:
                run = replay(trace, network, point.threshold, seed=seed)
                study.replays.append((name, run))
                study.summary.profiles.append(_profile_row(name, run))
                if progress is not None:
                    progress(len(study.replays), total)
            study.summary.points.append(_point_row(name, point, run))
            study.summary.tasks.extend(
                TaskRow(trace=name, threshold=point.threshold, task=task, accuracy=accuracy)
                for task, accuracy in by_task(trace, point.threshold).items()
            )
    _compare(study, {name: answered(name, trace, []) for name, trace in traces.items()}, seed)
    return study


def _compare(study: Study, traces: Mapping[str, Trace], seed: int) -> None:
    """Hold each further trace against the first, or note why that cannot be done."""
    baseline, *others = traces
    point = study.points[baseline][0]
    for name in others:
        try:
            difference = paired_difference(
                traces[name], traces[baseline], flops_per_token=point.flops_per_token, seed=seed
            )
        except SimulatorError as error:
            study.summary.notes.append(f"{name} was not compared with {baseline}: {error}")
            continue
        study.summary.comparisons.append(
            ComparisonRow(
                trace=name,
                baseline=baseline,
                flops_per_token=point.flops_per_token,
                quality=difference,
                flops_per_token_at_equal_quality=cost_at_quality(study.curves[name], point.quality),
            )
        )


def _trace_row(name: str, trace: Trace, curve: DeferralCurve) -> TraceRow:
    header = trace.header
    if header.large is None:
        raise SimulatorError(f"{name}: the header names no large model")
    return TraceRow(
        name=name,
        queries=len(trace.records),
        small=header.small.name,
        small_parameters=header.small.parameters,
        large=header.large.name,
        large_parameters=header.large.parameters,
        rule=header.rule,
        threshold=header.threshold,
        created=header.created,
        small_accuracy=float(curve.quality[0]),
        large_accuracy=float(curve.quality[-1]),
        area_under_curve=area_under_curve(curve),
    )


def _point_row(name: str, point: OperatingPoint, run: Replay) -> PointRow:
    return PointRow(
        trace=name,
        point=point,
        calls=run.calls,
        calls_saved=run.calls_saved,
        bytes_up=run.bytes_up,
        bytes_down=run.bytes_down,
        cloud_only_bytes_up=run.cloud_only_bytes_up,
        cloud_only_bytes_down=run.cloud_only_bytes_down,
        bytes_saved=run.bytes_saved,
    )


def _profile_row(name: str, run: Replay) -> ProfileRow:
    return ProfileRow(
        trace=name,
        threshold=run.threshold,
        profile=run.profile.name,
        rtt_ms=run.profile.rtt_ms,
        cascade=latency_of(run.cascade_s),
        cloud_only=latency_of(run.cloud_only_s),
    )


def _names(paths: Sequence[Path]) -> list[str]:
    """Each path's stem, or the whole path where stems are not all different."""
    stems = [path.stem for path in paths]
    return stems if len(set(stems)) == len(stems) else [str(path) for path in paths]
