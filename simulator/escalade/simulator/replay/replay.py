"""Replays a trace under given thresholds on a network; knows no profile by name, no plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from escalade.edge.trace import Trace
from escalade.simulator.network import Network
from escalade.simulator.recorded import Climb, Floats, check_thresholds, climb, tiers_of
from escalade.simulator.replay.course import Counts, Course
from escalade.simulator.replay.setting import AS_RECORDED, Setting, kept_in


@dataclass(frozen=True)
class Replay:
    """One trace on one network under given thresholds."""

    course: Course
    climb: Climb

    @staticmethod
    def of(course: Course, thresholds: Sequence[float]) -> Replay:
        """Replay every query under thresholds, one for each gate.

        Raises:
            SimulatorError: too few or too many, or one is no number.
        """
        check_thresholds([tier.info for tier in course.tiers], thresholds)
        return Replay(course, climb(course.tiers, thresholds, course.silent, course.kept))

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
    return Replay.of(course, thresholds)
