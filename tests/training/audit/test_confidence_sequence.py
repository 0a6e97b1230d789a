"""The interval covers at all times at once, is ordered, tightens and is not too wide."""

from __future__ import annotations

import numpy as np
import pytest
from agreement_streams import Bools, agreements
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from escalade.training.audit.confidence_sequence import ConfidenceSequence, Interval

ALPHA = 0.05


def misses_at_any_time(agrees: Bools, share: float, seed: int, *, raises: bool) -> bool:
    """Whether the interval ever leaves out the agreement of all kept so far."""
    coins = np.random.default_rng([11, seed]).random(len(agrees))
    sequence, now, agreed = ConfidenceSequence(ALPHA, share), share, 0
    for n, (one, coin) in enumerate(zip(agrees.tolist(), coins.tolist(), strict=True), start=1):
        audited = coin < now
        sequence.add(now, not one if audited else None)
        if raises and audited:  # to where the last audit says that there is more to see
            now = share if one else min(1.0, 2 * now)
        agreed += one
        found = sequence.interval()
        if not found.low - 1e-12 <= agreed / n <= found.high + 1e-12:
            return True
    return False


@pytest.mark.parametrize("raises", [False, True], ids=["fixed", "changing"])
@pytest.mark.parametrize("shape", ["constant", "rising", "falling"])
def test_covers_at_all_times_at_once(shape: str, raises: bool) -> None:
    streams = 30
    missed = sum(
        misses_at_any_time(agreements(shape, 800, seed), 0.2, seed, raises=raises)
        for seed in range(streams)
    )
    assert missed <= stats.binom.ppf(0.99, streams, ALPHA)


@pytest.mark.slow
@pytest.mark.parametrize("raises", [False, True], ids=["fixed", "changing"])
@pytest.mark.parametrize("shape", ["constant", "rising", "falling"])
def test_covers_over_two_hundred_long_streams(shape: str, raises: bool) -> None:
    streams = 200
    missed = sum(
        misses_at_any_time(agreements(shape, 10_000, seed), 0.05, seed, raises=raises)
        for seed in range(streams)
    )
    assert missed <= ALPHA * streams


def test_an_interval_for_one_time_would_not_cover_at_all_of_them() -> None:
    """The counts above can fail: those of Clopper and Pearson's do."""
    missed, streams = 0, 100
    for seed in range(streams):
        agrees = agreements("rising", 4000, seed)
        audited = np.random.default_rng([11, seed]).random(len(agrees)) < 0.2
        hits, n = np.cumsum(agrees & audited)[audited], np.cumsum(audited)[audited]
        truth = (np.cumsum(agrees) / np.arange(1, len(agrees) + 1))[audited]
        low = np.where(hits > 0, special.betaincinv(hits, n - hits + 1, ALPHA / 2), 0.0)
        high = np.where(n > hits, special.betaincinv(hits + 1, n - hits, 1 - ALPHA / 2), 1.0)
        missed += bool(((truth < low) | (truth > high)).any())
    assert missed > stats.binom.ppf(0.999, streams, ALPHA)


def test_the_estimate_is_unbiased_where_the_share_depends_on_what_was_found() -> None:
    """Horvitz and Thompson's, before it is moved into the interval."""
    errors = []
    for seed in range(200):
        agrees = agreements("falling", 200, seed)
        coins = np.random.default_rng([13, seed]).random(len(agrees))
        sequence, share = ConfidenceSequence(ALPHA, 0.1), 0.1
        for one, coin in zip(agrees.tolist(), coins.tolist(), strict=True):
            audited = coin < share
            sequence.add(share, not one if audited else None)
            if audited:
                share = 0.1 if one else 0.8
        errors.append(sequence.state.weighted / len(agrees) - np.mean(~agrees))
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(len(errors))
    assert np.std(errors) < 0.1


def test_covers_while_the_expert_is_down_and_answers_are_bad() -> None:
    """A quarter of the stream, in which hardly anything agrees, and no audit is answered."""
    streams, missed = 20, {"lost": 0, "unaudited": 0}
    for seed in range(streams):
        agrees = agreements("constant", 800, seed)
        agrees[200:400] &= np.random.default_rng([17, seed]).random(200) < 0.1
        coins = np.random.default_rng([19, seed]).random(len(agrees)) < 0.2
        for way in missed:
            sequence, ever = ConfidenceSequence(ALPHA, 0.2), False
            for n, (one, audited) in enumerate(zip(agrees.tolist(), coins, strict=True)):
                if audited and 200 <= n < 400 and way == "lost":
                    sequence.lose(0.2)
                else:
                    down = 200 <= n < 400
                    sequence.add(0.2, not one if audited and not down else None)
                found, truth = sequence.interval(), agrees[: n + 1].mean()
                ever |= not found.low - 1e-12 <= truth <= found.high + 1e-12
            missed[way] += ever
    assert missed["lost"] <= stats.binom.ppf(0.99, streams, ALPHA)
    assert missed["unaudited"] > streams / 2  # as if nobody had wanted to know


@pytest.mark.parametrize(
    ("audits", "agreement", "at_most"),
    [(100, 0.9, 1.6), (400, 0.9, 1.55), (1000, 0.9, 1.6), (4000, 0.9, 1.8), (400, 0.7, 1.9)],
)
def test_is_not_much_wider_than_what_holds_at_one_time(
    audits: int, agreement: float, at_most: float
) -> None:
    """Half an interval more buys that one may look whenever one likes."""
    disagreed = round(audits * (1 - agreement))
    sequence = ConfidenceSequence(ALPHA, 0.05)
    for n in range(20 * audits):
        audit = n % 20 == 0
        sequence.add(0.05, n // 20 % (audits // disagreed) == 0 if audit else None)
    disagreed = sequence.state.disagreed
    found = sequence.interval()
    fixed = stats.binomtest(audits - disagreed, audits).proportion_ci(1 - ALPHA, "exact")
    assert fixed.low > found.low
    assert fixed.high < found.high
    assert found.high - found.low < at_most * (fixed.high - fixed.low)


kept = st.lists(
    st.tuples(st.sampled_from([0.1, 0.25, 1.0]), st.sampled_from([True, False, None])),
    max_size=80,
)


@settings(max_examples=40)
@given(kept, st.sampled_from([0.01, 0.2]))
def test_bounds_are_ordered_and_never_forget(
    queries: list[tuple[float, bool | None]], alpha: float
) -> None:
    sequence = ConfidenceSequence(alpha, 0.1)
    assert sequence.interval() == Interval(0.0, None, 1.0)
    for n, (share, disagrees) in enumerate(queries, start=1):
        before = (sequence.state.least, n - 1 - sequence.state.most)
        sequence.add(share, disagrees)
        seen, found = sequence.state, sequence.interval()
        assert 0.0 <= found.low <= found.high <= 1.0
        assert seen.disagreed <= seen.least <= seen.most <= n - (seen.audited - seen.disagreed)
        assert seen.least >= before[0]
        assert n - seen.most >= before[1]
        assert (found.estimate is None) == (seen.audited == 0)
        assert found.estimate is None or found.low <= found.estimate <= found.high


@settings(max_examples=30)
@given(kept)
def test_a_surer_interval_holds_the_less_sure_one(queries: list[tuple[float, bool | None]]) -> None:
    surer, other = ConfidenceSequence(0.01, 0.1), ConfidenceSequence(0.2, 0.1)
    for one in queries:
        surer.add(*one)
        other.add(*one)
    assert surer.state.least <= other.state.least
    assert surer.state.most >= other.state.most


def test_where_every_query_is_audited_the_interval_is_a_point() -> None:
    sequence = ConfidenceSequence(ALPHA, 1.0)
    for n in range(50):
        sequence.add(1.0, n % 5 == 0)
    assert sequence.interval() == Interval(0.8, 0.8, 0.8)
