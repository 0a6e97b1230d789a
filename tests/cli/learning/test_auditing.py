"""The audit of a gateway: its interval covers the truth, its alarm finds a shift, in any order."""

from __future__ import annotations

from collections import deque

import numpy as np
import pytest
from classifiers import LABELS

from escalade.cli.learning.auditing import Auditing, Since

SHARE, EPSILON = 0.2, 0.1


class Gateway:
    """Queries through an audit, whose answers come up to so many audits late."""

    def __init__(self, seed: int, *, late: int = 0) -> None:
        self.auditing = Auditing(LABELS, SHARE, EPSILON)
        self._draw, self._late = np.random.default_rng([41, seed]), late
        self.waiting = deque[tuple[Since, bool, int]]()
        self._kept = self._agreed = 0
        #: Of all kept up to each audit that is over: the share that agrees.
        self.truth = list[float]()
        self.outside = 0
        self.alarms = list[int]()

    def ask(
        self, queries: int, agreement: float, *, kept: float = 0.7, until_alarm: bool = False
    ) -> None:
        before = len(self.alarms)
        for _ in range(queries):
            if until_alarm and len(self.alarms) > before:
                return
            sampled = self._draw.random() < SHARE
            if self._draw.random() >= kept:
                if sampled:
                    self.auditing.defer()
                continue
            agrees = bool(self._draw.random() < agreement)
            self._kept, self._agreed = self._kept + 1, self._agreed + agrees
            if not sampled:
                self.auditing.keep()
                continue
            self.truth.append(self._agreed / self._kept)
            self.waiting.append((self.auditing.begin(), agrees, len(self.truth)))
            if len(self.waiting) > self._late:
                self.end()

    def end(self) -> None:
        since, agrees, number = self.waiting.popleft()
        said = "That is joy." if agrees else "deep sadness"
        if self.auditing.end(since, "joy", said):
            self.alarms.append(number)
        found = self.auditing.interval()
        self.outside += not found.low <= self.truth[number - 1] <= found.high


def test_the_interval_covers_the_truth_at_each_audit_whenever_it_is_answered() -> None:
    wrong = 0
    for seed in range(30):
        gateway = Gateway(seed, late=seed % 5)
        gateway.ask(300, 0.7)
        gateway.ask(300, 0.95)
        wrong += gateway.outside > 0
        found = gateway.auditing.interval()
        assert found.estimate is not None
        assert found.high - found.low < 0.35
    assert wrong <= 3  # 1 in 20 may be


def test_a_planted_shift_sets_the_alarm_off_soon_and_what_is_promised_does_not() -> None:
    delays, before = [], 0
    for seed in range(15):
        gateway = Gateway(seed)
        gateway.ask(600, 0.88)  # of all queries 0.084 are kept and wrong; 0.1 may be
        before += len(gateway.alarms)
        first = len(gateway.truth)
        gateway.ask(200, 0.2)
        after = [number for number in gateway.alarms if number > first]
        delays.append(after[0] - first if after else np.inf)
    assert before <= 1
    assert np.median(delays) <= 10
    assert max(delays) <= 25


def test_a_shift_that_many_audits_wait_to_tell_of_sets_one_alarm_off() -> None:
    for seed in range(5):
        gateway = Gateway(seed, late=100)
        gateway.ask(600, 0.95)
        gateway.ask(10_000, 0.2, until_alarm=True)
        while gateway.waiting:
            gateway.end()
        assert len(gateway.alarms) == 1
        found = gateway.auditing.interval()
        assert found.low <= gateway.truth[-1] <= found.high  # which all of them count for
        # It is on its guard again.
        gateway.ask(600, 0.95)
        gateway.ask(10_000, 0.2, until_alarm=True)
        assert len(gateway.alarms) == 2


def test_a_silent_expert_widens_the_interval_and_sets_nothing_off() -> None:
    gateway = Gateway(1)
    gateway.ask(500, 0.95)
    before = gateway.auditing.interval()
    for _ in range(50):
        gateway.auditing.miss()
        assert not gateway.auditing.end(gateway.auditing.begin(), "joy", None)
    after = gateway.auditing.interval()
    assert after.low < before.low - 0.1
    assert after.high >= before.high


def test_what_it_found_is_told_and_an_answer_without_a_label_is_no_agreement() -> None:
    auditing = Auditing(LABELS, 0.5, EPSILON)
    assert "learning_agreement" not in {one.name for one in auditing.gauges()}
    for said in ("joy", "Joy!", "I cannot say", "joy"):
        auditing.keep()
        auditing.end(auditing.begin(), "joy", said)
    found = {one.name: one.value for one in auditing.gauges()}
    assert found["learning_audited"] == 4
    assert found["learning_agreement"] == pytest.approx(0.75)  # two of eight
    assert found["learning_agreement_low"] <= 0.75 <= found["learning_agreement_high"]
    assert found["learning_alarms"] == 0
