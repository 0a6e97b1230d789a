"""The alarm goes off after a fall, and seldom otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from agreement_streams import SHAPES
from hypothesis import given, settings
from hypothesis import strategies as st

from escalade.training.audit.change_detector import (
    BASELINE_ALPHA,
    ChangeDetector,
    DetectorState,
    _ratios,
    _rejected,
)

ARL = 1000.0


def alarms(shape: str, audits: int, seed: int, arl: float = ARL) -> list[int]:
    """At which audits the alarm goes off."""
    agrees = np.random.default_rng([23, seed]).random(audits) < SHAPES[shape](audits)
    detector = ChangeDetector(arl)
    return [n for n, one in enumerate(agrees.tolist()) if detector.add(one)]


def first_after(middle: int, fired: list[int]) -> float:
    return next((n - middle for n in fired if n >= middle), np.inf)


@pytest.mark.parametrize("shape", ["constant", "rising"])
def test_where_agreement_never_falls_the_alarm_is_rare(shape: str) -> None:
    streams, audits = 40, 400
    fired = sum(bool(alarms(shape, audits, seed)) for seed in range(streams))
    assert fired <= streams * (audits / ARL + BASELINE_ALPHA) / 10  # far below the guarantee


def test_a_fall_is_found() -> None:
    fired = [alarms("falling", 600, seed) for seed in range(40)]
    delays = [first_after(300, of) for of in fired]
    assert np.median(delays) < 90
    assert np.quantile(delays, 0.9) < 200
    assert sum(any(n < 300 for n in of) for of in fired) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["constant", "rising"])
def test_false_alarms_over_two_hundred_streams(shape: str) -> None:
    """The guarantee allows one in every second stream; a hundredth of that is what comes."""
    fired = sum(len(alarms(shape, 500, seed)) for seed in range(200))
    assert fired <= 5


@pytest.mark.slow
def test_the_average_run_length_holds_where_it_is_short() -> None:
    """With a short one there are enough false alarms to count them."""
    arl = 20.0
    fired = sum(len(alarms("constant", 500, seed, arl)) for seed in range(200))
    assert 0 < fired <= 200 * 500 / arl


def test_it_begins_anew_after_an_alarm() -> None:
    detector = ChangeDetector(ARL)
    fired = [detector.add(agrees) for agrees in [True] * 200 + [False] * 50]
    assert fired.count(True) == 1
    assert fired.index(True) < 210
    assert detector.state.audited == len(fired) - fired.index(True) - 1
    fresh = ChangeDetector(ARL)
    for agrees in [False] * detector.state.audited:
        fresh.add(agrees)
    assert detector.state == fresh.state


@given(st.floats(0.0, 0.995), st.floats(0.0, 1.0))
def test_no_bet_gains_where_agreement_is_at_least_the_baseline(baseline: float, by: float) -> None:
    """The null hypothesis: the mean of each ratio is 1 at most."""
    p = baseline + by * (1.0 - baseline)
    mean = p * _ratios(baseline, True) + (1.0 - p) * _ratios(baseline, False)
    assert (mean <= 1.0 + 1e-12).all()


@settings(max_examples=40)
@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_the_baseline_never_falls_and_is_no_more_than_what_was_seen(answers: list[bool]) -> None:
    detector, before = ChangeDetector(1e9), 0.0
    for agrees in answers:
        detector.add(agrees)
        assert detector.state.baseline >= before
        before = detector.state.baseline
    starts = [(0, 0), *detector.state.starts]
    assert len(starts) == len(set(starts))
    if not any(answers):
        assert before == 0.0


def test_a_slow_beginning_is_forgotten() -> None:
    """100 audits of which half agree, then all: the baseline is of what came since."""
    detector = ChangeDetector(1e9)
    for n in range(400):
        detector.add(n >= 100 or n % 2 == 0)
    from_all = DetectorState(audited=400, agreed=350)
    assert not _rejected(from_all, detector.state.baseline)
    assert detector.state.baseline > 0.9
