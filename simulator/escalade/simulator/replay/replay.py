"""Replays a trace under given thresholds on a network; knows no profile by name, no plot.

What does not depend on thresholds is worked out once (`Course`), so that a replay is a few
sums over the queries. The baseline, last tier only, makes the same recorded call for every
query, without the draft.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from escalade.edge.trace import Trace
from escalade.simulator.errors import SimulatorError
from escalade.simulator.network import Network
from escalade.simulator.recorded import (
    Climb,
    Floats,
    RecordedTier,
    check_thresholds,
    climb,
    tiers_of,
)
from escalade.simulator.replay.trips import Counts, recording_of, seconds_of_tiers


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """A latency distribution in brief, seconds; quantiles interpolate linearly."""

    p50_s: float
    p95_s: float
    mean_s: float


@dataclass(frozen=True)
class Course:
    """A trace on a network, whatever the thresholds: T tiers, N queries.

    Attributes:
        tiers: T.
        network: a profile for each link.
        seed: of jitter and loss.
        seconds: of each tier `(V, N)`, see `RecordedTier.at_levels`.
        last_only_s: `(N,)` latency of the last tier's answer, were every query put to it alone.
        bytes_up: `(T, N)` what a call to each tier sends, gRPC framing and draft included.
        bytes_down: `(T, N)` what it receives.
        draft_bytes: `(N,)` how many bytes to the last tier are the draft.
        correct: `(T, N)` 1 where a tier's answer is right; None where some were not judged.
    """

    tiers: list[RecordedTier]
    network: Network
    seed: int
    seconds: list[Floats]
    last_only_s: Floats
    bytes_up: Counts
    bytes_down: Counts
    draft_bytes: Counts
    correct: Floats | None

    @staticmethod
    def of(
        tiers: list[RecordedTier],
        networks: Sequence[Network],
        *,
        seed: int,
        device_scale: float = 1.0,
        dialled: float = 0.0,
    ) -> list[Course]:
        """Send every query to every tier, on each network.

        Args:
            tiers: all of a trace, at least 2.
            networks: each a profile for each link.
            seed: see `seconds_of_tiers`.
            device_scale: see `seconds_of_tiers`.
            dialled: see `seconds_of_tiers`.

        Raises:
            SimulatorError: the trace has 1 tier, a link has no profile, or the seed is out of
                range.
        """
        if len(tiers) < 2:  # noqa: PLR2004
            raise SimulatorError(
                f"a replay needs at least 2 tiers; the trace has {len(tiers)}:"
                f" {', '.join(tier.info.name for tier in tiers)}"
            )
        recording, correct = recording_of(tiers), _correct(tiers)
        courses = []
        for network in networks:
            seconds, last_only_s = seconds_of_tiers(
                tiers, recording, network, seed, device_scale, dialled
            )
            courses.append(
                Course(
                    tiers=tiers,
                    network=network,
                    seed=seed,
                    seconds=seconds,
                    last_only_s=last_only_s,
                    bytes_up=recording.bytes_up,
                    bytes_down=recording.bytes_down,
                    draft_bytes=recording.draft_bytes[-1],
                    correct=correct,
                )
            )
        return courses

    def at(self, thresholds: Sequence[float]) -> Replay:
        """Replay every query under thresholds, one for each gate.

        Raises:
            SimulatorError: too few or too many, or one is no number.
        """
        check_thresholds([tier.info for tier in self.tiers], thresholds)
        return Replay(course=self, climb=climb(self.tiers, thresholds))


@dataclass(frozen=True)
class Replay:
    """One trace on one network under given thresholds."""

    course: Course
    climb: Climb

    @property
    def thresholds(self) -> tuple[float, ...]:
        """One for each gate."""
        return self.climb.thresholds

    @property
    def queries(self) -> int:
        """How many queries; last tier only, as many calls."""
        return len(self.course.last_only_s)

    @property
    def answered_by(self) -> NDArray[np.intp]:
        """`(N,)` the place of the tier whose answer stands."""
        return self.climb.answered_by

    @property
    def members(self) -> NDArray[np.intp]:
        """`(T, N)` how many members of each tier answered each query."""
        asked = [
            tier.asked[level]
            for tier, level in zip(self.course.tiers, self.climb.levels, strict=True)
        ]
        return np.where(self.climb.reached, asked, 0)

    @property
    def cascade_s(self) -> Floats:
        """`(N,)` latency of the cascade's answer: the sum over the tiers that a query came to."""
        return self.climb.spent(self.course.seconds)

    @property
    def calls(self) -> int:
        """How many queries come to the last tier."""
        return int(self.climb.reached[-1].sum())

    @property
    def calls_saved(self) -> float:
        """Share of the queries that the last tier does not get."""
        return 1 - self.calls / self.queries

    @property
    def bytes_up(self) -> Counts:
        """`(T,)` bytes sent over the link to each tier."""
        return self._moved(self.course.bytes_up)

    @property
    def bytes_down(self) -> Counts:
        """`(T,)` bytes that came back over it."""
        return self._moved(self.course.bytes_down)

    @property
    def last_only_bytes_up(self) -> int:
        """Bytes sent where the last tier gets every query; there is no draft to send along."""
        return int((self.course.bytes_up[-1] - self.course.draft_bytes).sum())

    @property
    def last_only_bytes_down(self) -> int:
        """Bytes received there."""
        return int(self.course.bytes_down[-1].sum())

    @property
    def bytes_saved(self) -> float | None:
        """Share of those bytes, both ways, that the cascade does not move over all its links.

        None where the last tier is behind no link.
        """
        everything = self.last_only_bytes_up + self.last_only_bytes_down
        if not everything:
            return None
        return 1 - int((self.bytes_up + self.bytes_down).sum()) / everything

    @property
    def accuracy(self) -> float | None:
        """Share of the answers that were judged correct; None where some were not judged."""
        if self.course.correct is None:
            return None
        return float(self.course.correct[self.answered_by, np.arange(self.queries)].mean())

    def _moved(self, of_calls: Counts) -> Counts:
        return np.asarray(np.where(self.climb.reached, of_calls, 0).sum(axis=1), dtype=np.int64)


def replay(
    trace: Trace,
    network: Network,
    thresholds: Sequence[float],
    *,
    seed: int,
    dialled: float = 0.0,
) -> Replay:
    """Replay every query of a trace recorded in shadow mode.

    Args:
        trace: every tier's answer to every query, of at least 2 tiers.
        network: a profile for each link.
        thresholds: one for each gate; infinity defers no query of a finite score.
        seed: see `seconds_of_tiers`.
        dialled: see `seconds_of_tiers`.

    Raises:
        SimulatorError: answers or scores are missing, or the seed, a share or a threshold is out of
            range.
    """
    (course,) = Course.of(tiers_of(trace), [network], seed=seed, dialled=dialled)
    return course.at(thresholds)


def latency_of(seconds: Floats) -> Latency:
    """Median, 95th percentile and mean of latencies `(N,)` in seconds."""
    p50_s, p95_s = np.quantile(seconds, (0.5, 0.95))
    return Latency(p50_s=float(p50_s), p95_s=float(p95_s), mean_s=float(seconds.mean()))


def _correct(tiers: Sequence[RecordedTier]) -> Floats | None:
    flags = [[answer.correct for answer in tier.answers] for tier in tiers]
    if any(None in of_tier for of_tier in flags):
        return None
    return np.array(flags, dtype=np.float64)
