"""Replays a trace under given thresholds on a network; knows no profile by name, no plot.

What does not depend on thresholds is worked out once (`Course`), so that a replay is a few
sums over the queries. The baseline, last tier only, makes the same recorded call for every
query, without the draft.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from escalade.edge.trace import Trace, links_of
from escalade.simulator.errors import SimulatorError
from escalade.simulator.network import Network
from escalade.simulator.recorded import (
    Bools,
    Climb,
    Floats,
    RecordedTier,
    check_thresholds,
    climb,
    tiers_of,
)
from escalade.simulator.replay.recording import Counts, Recording, recording_of
from escalade.simulator.replay.setting import AS_RECORDED, EarlyDeferral, Setting, kept_in
from escalade.simulator.replay.spending import Spending, spending_of
from escalade.simulator.replay.trips import trips_of


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
        seconds: of each tier `(V, N)`, see `RecordedTier.at_levels`; a call ends at its deadline.
        waits_s: the same, were there no deadline.
        silent: `(T, N)` which calls it ends.
        last_only_s: `(N,)` latency of the last tier's answer, were every query put to it alone; at
            most the deadline.
        last_only_lost: `(N,)` whether there is then none.
        bytes_up: `(T, N)` what a call to each tier sends, gRPC framing and draft included.
        bytes_down: `(T, N)` what it receives.
        draft_bytes: `(N,)` how many bytes to the last tier are the draft.
        again: `(T, N)` which calls are made a second time; their bytes are in `spending` alone.
        correct: `(T, N)` 1 where a tier's answer is right; None where some were not judged.
        spending: of the device's battery, and of money on links.
        early: ends answers of which deferral is certain; None: all run to their end.
        kept: `(T, N)` which queries a policy keeps from which tiers; None: it keeps none.
        setting: what is other than it was recorded.
    """

    tiers: list[RecordedTier]
    network: Network
    seed: int
    seconds: list[Floats]
    waits_s: list[Floats]
    silent: Bools
    last_only_s: Floats
    last_only_lost: Bools
    bytes_up: Counts
    bytes_down: Counts
    draft_bytes: Counts
    again: Bools
    correct: Floats | None
    spending: Spending
    early: EarlyDeferral | None
    kept: Bools | None
    setting: Setting

    @staticmethod
    def of(
        tiers: list[RecordedTier],
        networks: Sequence[Network],
        *,
        seed: int,
        setting: Setting = AS_RECORDED,
        kept: Bools | None = None,
    ) -> list[Course]:
        """Send every query to every tier, on each network.

        Args:
            tiers: all of a trace, at least 2.
            networks: each a profile for each link.
            seed: see `trips_of`.
            setting: what is other than it was recorded.
            kept: see `Course`.

        Raises:
            SimulatorError: the trace has 1 tier, a link has no profile, the seed is out of range;
                there is a deadline, and a link leads to the first tier or to members of one; or
                answers are to end early, and the trace cannot tell when (`EarlyDeferral`).
        """
        if len(tiers) < 2:  # noqa: PLR2004
            raise SimulatorError(
                f"a replay needs at least 2 tiers; the trace has {len(tiers)}:"
                f" {', '.join(tier.info.name for tier in tiers)}"
            )
        recording, correct = recording_of(tiers), _correct(tiers)
        if setting.deadline_s < math.inf:
            _check_deadline(tiers, recording)
        early = None
        if setting.room is not None:
            early = EarlyDeferral(tiers, recording.linked, setting.room, setting.scale)
        courses = []
        for network in networks:
            trips = trips_of(tiers, recording, network, seed, setting)
            waits_s, alone_s = trips.seconds, trips.alone_s
            most_s = [setting.deadline_s if linked else math.inf for linked in recording.linked]
            seconds = [np.minimum(one, most) for one, most in zip(waits_s, most_s, strict=True)]
            courses.append(
                Course(
                    tiers=tiers,
                    network=network,
                    seed=seed,
                    seconds=seconds,
                    waits_s=waits_s,
                    silent=np.array(
                        [one[-1] > most for one, most in zip(waits_s, most_s, strict=True)]
                    ),
                    last_only_s=np.minimum(alone_s, most_s[-1]),
                    last_only_lost=alone_s > most_s[-1],
                    bytes_up=recording.bytes_up,
                    bytes_down=recording.bytes_down,
                    draft_bytes=recording.draft_bytes[-1],
                    again=trips.again,
                    correct=correct,
                    spending=spending_of(tiers, recording, trips, network, setting.watts),
                    early=early,
                    kept=kept,
                    setting=setting,
                )
            )
        return courses

    def at(self, thresholds: Sequence[float]) -> Replay:
        """Replay every query under thresholds, one for each gate.

        Raises:
            SimulatorError: too few or too many, or one is no number.
        """
        check_thresholds([tier.info for tier in self.tiers], thresholds)
        return Replay(course=self, climb=climb(self.tiers, thresholds, self.silent, self.kept))


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
        return self.climb.spent(self.course.seconds) - self.spared_s

    @cached_property
    def spared(self) -> Counts | None:
        """`(T, N)` tokens that answers on the device are shorter by; None: all run to their end.

        Where no tier above answers the one that stands is finished, as on the device.
        """
        if self.course.early is None:
            return None
        climb_ = self.climb
        finished = (climb_.degraded | climb_.stays) & (
            np.arange(len(climb_.reached))[:, None] == self.answered_by
        )
        ended = climb_.defers & climb_.reached & ~finished
        return self.course.early.spared(self.thresholds, ended)

    @property
    def spared_s(self) -> Floats:
        """`(N,)` seconds that those would have taken."""
        if self.course.early is None or self.spared is None:
            return np.zeros(self.queries)
        return np.asarray(self.course.early.seconds(self.spared).sum(axis=0))

    @property
    def tokens_saved(self) -> float | None:
        """Their share of what these tiers write to their end; None: all run to it."""
        if self.course.early is None or self.spared is None:
            return None
        whole = np.where(self.climb.reached, self.course.early.written, 0).sum()
        return float(self.spared.sum() / whole)

    @property
    def late_s(self) -> Floats:
        """`(N,)` when the answer is there that stands once links are: of a degraded query later.

        An outbox asks again when it is told to. This is the earliest: as if the call that ran out
        of time had been waited for, and those above it after it. What a query needed until then is
        as in `cascade_s`.
        """
        course, climb_ = self.course, self.climb
        total = self.cascade_s
        for k, level in enumerate(climb_.levels):
            given_up = climb_.degraded & climb_.reached[k] & (k >= climb_.kept_for)
            total = total - np.where(given_up, course.seconds[k][level], 0.0)
            asked = climb_.degraded & (k >= climb_.kept_for) & (k <= climb_.late_by)
            total = total + np.where(asked, course.waits_s[k][level], 0.0)
        return total

    @property
    def late_accuracy(self) -> float | None:
        """The accuracy once what was degraded is answered; None where some were not judged."""
        if self.course.correct is None:
            return None
        by = np.where(self.climb.degraded, self.climb.late_by, self.answered_by)
        return float(self.course.correct[by, np.arange(self.queries)].mean())

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
    def joules(self) -> Floats | None:
        """`(N,)` energy that the device spends on each query; None where a part is not known."""
        spending = self.course.spending
        if spending.computed_j is None or spending.called_j is None:
            return None
        computed_j = self.climb.spent(spending.computed_j)
        if self.course.setting.watts is not None:
            computed_j = computed_j - self.course.setting.watts * self.spared_s
        return computed_j + self._over_links(spending.called_j)

    @property
    def link_money(self) -> Floats | None:
        """`(N,)` money that each query takes of the links; None where none has a price."""
        money = self.course.spending.money
        return None if money is None else self._over_links(money)

    @property
    def accuracy(self) -> float | None:
        """Share of the answers that were judged correct; None where some were not judged."""
        if self.course.correct is None:
            return None
        return float(self.course.correct[self.answered_by, np.arange(self.queries)].mean())

    def _over_links(self, of_calls: Floats) -> Floats:
        return np.asarray(np.where(self.climb.reached, of_calls, 0.0).sum(axis=0))

    def _moved(self, of_calls: Counts) -> Counts:
        return np.asarray(np.where(self.climb.reached, of_calls, 0).sum(axis=1), dtype=np.int64)


def replay(
    trace: Trace,
    network: Network,
    thresholds: Sequence[float],
    *,
    setting: Setting = AS_RECORDED,
    seed: int,
) -> Replay:
    """Replay every query of a trace recorded in shadow mode.

    Args:
        trace: every tier's answer to every query, of at least 2 tiers.
        network: a profile for each link.
        thresholds: one for each gate; infinity defers no query of a finite score.
        setting: what is other than it was recorded.
        seed: see `trips_of`.

    Raises:
        SimulatorError: answers or scores are missing, or the seed or a threshold is out of range.
    """
    kept = None if setting.keeping is None else kept_in(trace, setting.keeping, seed)
    (course,) = Course.of(tiers_of(trace), [network], setting=setting, seed=seed, kept=kept)
    return course.at(thresholds)


def latency_of(seconds: Floats) -> Latency:
    """Median, 95th percentile and mean of latencies `(N,)` in seconds."""
    p50_s, p95_s = np.quantile(seconds, (0.5, 0.95))
    return Latency(p50_s=float(p50_s), p95_s=float(p95_s), mean_s=float(seconds.mean()))


def _check_deadline(tiers: Sequence[RecordedTier], recording: Recording) -> None:
    if recording.linked[0]:
        raise SimulatorError(
            f"a deadline needs a first tier that always answers, and a link leads to"
            f" {tiers[0].info.name!r}"
        )
    for tier, linked in zip(tiers, recording.linked, strict=True):
        if linked and any(answer.link is None and links_of(answer) for answer in tier.answers):
            raise SimulatorError(
                f"a deadline is replayed of one call to a tier, and tier {tier.info.name!r} has"
                " members elsewhere, each with one of its own"
            )


def _correct(tiers: Sequence[RecordedTier]) -> Floats | None:
    flags = [[answer.correct for answer in tier.answers] for tier in tiers]
    if any(None in of_tier for of_tier in flags):
        return None
    return np.array(flags, dtype=np.float64)
