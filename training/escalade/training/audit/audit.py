"""Audits a share of the kept queries: their agreement with the expert; knows no expert.

For each query that the cascade keeps: `wants` says whether to ask the expert all the same; then
`record` what came of it. Coins depend on seed and query alone, so that asking twice changes
nothing and a run that is resumed tosses the same ones.
"""

from __future__ import annotations

import copy
from typing import Annotated

import msgspec
import numpy as np

from escalade.edge.base import Count, OpenShare
from escalade.training.audit.change_detector import ChangeDetector, DetectorState
from escalade.training.audit.confidence_sequence import (
    ConfidenceSequence,
    Interval,
    SequenceState,
)
from escalade.training.errors import AuditError

#: Tells these coins from others of the same seed.
_STREAM = 0xA0D17
#: Audits to a false alarm, in the mean: at 5 % of the kept queries, 20,000 of them.
ARL = 1000.0


class AuditState(msgspec.Struct, forbid_unknown_fields=True):
    """An audit as plain numbers, for a checkpoint."""

    least_share: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]
    alpha: OpenShare
    arl: Annotated[float, msgspec.Meta(gt=1.0)]
    seed: Count
    #: What the share is now.
    share: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]
    alarms: Count
    sequence: SequenceState
    detector: DetectorState
    promised: OpenShare | None = None


class Audit:
    """How often the kept answers agree with the expert's, and whether that falls.

    Args:
        share: the probability that a kept query is audited, in (0, 1]. It may be raised later,
            to any value that the past decides, and never below this one.
        alpha: the probability that the interval is wrong at any time, in (0, 1).
        seed: of the coins, >= 0.
        arl: audits to a false alarm in the mean, at least, where agreement never falls; > 1.
        promised: the share, in (0, 1), of *all* queries that are deferred or agree, at least: the
            alarm is then for less than that, and `defer` counts too. None: the alarm is for less
            agreement of the kept ones than there was.

    Raises:
        AuditError: an argument is out of range.
    """

    def __init__(
        self,
        share: float,
        *,
        alpha: float = 0.05,
        seed: int = 0,
        arl: float = ARL,
        promised: float | None = None,
    ) -> None:
        for name, value, fits, allowed in (
            ("share", share, 0.0 < share <= 1.0, "in (0, 1]"),
            ("alpha", alpha, 0.0 < alpha < 1.0, "in (0, 1)"),
            ("arl", arl, 1.0 < arl < float("inf"), "> 1 and finite"),
            ("seed", seed, seed >= 0, "at least 0"),
            ("promised", promised, promised is None or 0.0 < promised < 1.0, "in (0, 1)"),
        ):
            if not fits:
                raise AuditError(f"audit: {name} must be {allowed}, got {value}")
        self._least_share, self._alpha, self._arl, self._seed = share, alpha, arl, seed
        self._share, self._promised = share, promised
        self._sequence = ConfidenceSequence(alpha, share)
        self._detector = ChangeDetector(arl, promised=promised)
        self._alarms = 0
        self._alarm = False

    @property
    def share(self) -> float:
        """The probability with which the next kept query is audited."""
        return self._share

    @share.setter
    def share(self, share: float) -> None:
        if not self._least_share <= share <= 1.0:
            raise AuditError(f"audit: share must be in [{self._least_share}, 1], got {share}")
        self._share = share

    @property
    def alarm(self) -> bool:
        """Whether the last audit set the alarm off; the watch has then begun anew."""
        return self._alarm

    @property
    def alarms(self) -> int:
        """How often it went off."""
        return self._alarms

    @property
    def audited(self) -> int:
        """How many kept queries were audited."""
        return self._sequence.state.audited

    def wants(self, item: int) -> bool:
        """Whether a kept query is to be audited.

        Args:
            item: its number in the stream, >= 0.
        """
        generator = np.random.default_rng([_STREAM, self._seed, item])
        return bool(generator.random() < self._share)

    def record(self, agrees: bool | None, *, watched: bool = True) -> None:
        """Count one kept query, each of them exactly once.

        Args:
            agrees: of an audited one, whether the cascade said what the expert says; False where
                the expert named no label, for that is no agreement. None of the others.
            watched: whether the alarm looks at it. It has done so, of one that was kept before the
                alarm went off and whose audit is over after.
        """
        self._sequence.add(self._share, None if agrees is None else not agrees)
        self._alarm = watched and agrees is not None and self._detector.add(agrees)
        self._alarms += self._alarm

    def lose(self) -> None:
        """Count, instead, one that was to be audited, and the expert gave no answer at all.

        Nothing is known of what is kept while an expert is down: it may all agree, or not at all.
        The interval grows by that.
        """
        self._sequence.lose(self._share)
        self._alarm = False

    def defer(self) -> None:
        """Count, of what was promised of all queries, one that the same coin chose: not kept."""
        self._alarm = self._detector.add(True)
        self._alarms += self._alarm

    def interval(self) -> Interval:
        """Agreement with the expert over all kept queries so far, audited or not."""
        return self._sequence.interval()

    def state(self) -> AuditState:
        """A copy that `restored` goes on from, bit for bit."""
        return AuditState(
            least_share=self._least_share,
            alpha=self._alpha,
            arl=self._arl,
            seed=self._seed,
            share=self._share,
            alarms=self._alarms,
            sequence=copy.deepcopy(self._sequence.state),
            detector=copy.deepcopy(self._detector.state),
            promised=self._promised,
        )

    @classmethod
    def restored(cls, state: AuditState) -> Audit:
        """An audit that goes on from a state."""
        audit = cls(
            state.least_share,
            alpha=state.alpha,
            seed=state.seed,
            arl=state.arl,
            promised=state.promised,
        )
        audit._share = state.share
        audit._alarms = state.alarms
        sequence = copy.deepcopy(state.sequence)
        audit._sequence = ConfidenceSequence(state.alpha, state.least_share, sequence)
        audit._detector = ChangeDetector(
            state.arl, copy.deepcopy(state.detector), promised=state.promised
        )
        return audit
