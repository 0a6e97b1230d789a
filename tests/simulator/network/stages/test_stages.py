"""Each stage: what it does, that without strength it does nothing, and its long run."""

from __future__ import annotations

import math
import random
from itertools import accumulate, pairwise

import numpy as np
import pytest
from drawn_profiles import Traffic, traffic
from hypothesis import given, settings
from hypothesis import strategies as st

from escalade.simulator.network.profiles import (
    Bursts,
    Chance,
    Cycle,
    Profile,
    RateSeries,
    RttSeries,
    Spike,
    Spread,
)
from escalade.simulator.network.profiles.spreads import Lognormal, Normal, Pareto, Quantiles
from escalade.simulator.network.stages import (
    Away,
    BurstLoss,
    Conditions,
    Floor,
    Jitter,
    Link,
    Loss,
    Spikes,
    Spreading,
    Stage,
    Traced,
    VaryingLink,
)
from escalade.simulator.network.stages.conditions import Absences, RoundTrips
from escalade.simulator.network.stages.loss import PACKET_BYTES

laws = settings(deadline=None, database=None)


def rng(seed: int = 0) -> random.Random:
    return random.Random(seed)


def without_strength() -> list[Stage]:
    """Every stage, of the kind that is to do nothing."""
    nothing = Bursts(to_bad=0.5, to_good=0.5, loss_bad=0)
    return [
        Away([], [], 0.0),
        Away([Cycle(every_s=15, lasts_s=0)], [], 0.0),
        Floor(0.0),
        Jitter(0.0, rng()),
        Spreading(RoundTrips(Normal(sd_ms=0), 0.0, rng())),
        Spikes([], 0.0),
        Spikes([Spike(every_s=15, lasts_s=1, extra_rtt_ms=0)], 0.0),
        Spikes([Spike(every_s=15, lasts_s=0, extra_rtt_ms=50)], 0.0),
        Loss(0.0, 1.0, rng()),
        BurstLoss(0.0, nothing, 1.0, rng()),
    ]


@laws
@given(traffic())
def test_a_stage_without_strength_is_as_good_as_absent(chunks: Traffic) -> None:
    for stage in without_strength():
        assert [stage.leaves_s(*chunk) for chunk in chunks] == [at_s for at_s, _ in chunks]


@laws
@given(traffic(), st.floats(0.1, 100))
def test_bandwidth_that_stays_is_bandwidth_over_time_that_stays(
    chunks: Traffic, mbps: float
) -> None:
    same, varying = Link(mbps), VaryingLink(RateSeries([(0, mbps), (1, mbps)]), 0.0)
    assert [varying.leaves_s(*chunk) for chunk in chunks] == pytest.approx(
        [same.leaves_s(*chunk) for chunk in chunks]
    )


def test_a_link_waits_where_its_bandwidth_is_0() -> None:
    # 4 Mb/s for a second, nothing for one, 8 for one: 500,000 bytes, none, 1,000,000.
    link = VaryingLink(RateSeries([(0, 4), (1, 0), (2, 8)]), 10.0)
    assert link.leaves_s(10.0, 500_000) == pytest.approx(11.0)
    assert link.leaves_s(10.0, 500_000) == pytest.approx(12.5)
    assert link.leaves_s(12.5, 0) == 12.5
    assert link.leaves_s(12.5, 1_000_000) == pytest.approx(14.0)
    assert link.leaves_s(14.5, 3_000_000) == pytest.approx(20.0)


def test_a_traced_round_trip_is_halved_each_way() -> None:
    traced = Traced(RttSeries([(0, 40), (1, 600)]), 100.0)
    assert [traced.leaves_s(at_s, 1) for at_s in (100.5, 101.5, 102.5)] == pytest.approx(
        [100.52, 101.8, 102.52]
    )


def test_a_spike_comes_round_and_counts_half_each_way() -> None:
    spikes = Spikes([Spike(every_s=15, lasts_s=0.5, extra_rtt_ms=40, begins_s=1)], 0.0)
    extra_s = [spikes.leaves_s(at_s, 1) - at_s for at_s in (0.9, 1.0, 1.49, 1.51, 16.2, 29)]
    assert extra_s == pytest.approx([0, 0.02, 0.02, 0, 0.02, 0])


def test_a_chunk_waits_for_the_end_of_every_outage_that_it_comes_into() -> None:
    cycles = [Cycle(every_s=10, lasts_s=2, begins_s=1.5), Cycle(every_s=10, lasts_s=2)]
    away = Away(cycles, [], 0.0)
    assert [away.leaves_s(at_s, 1) for at_s in (0, 1.9, 3.4, 3.5, 9, 10.5)] == pytest.approx(
        [3.5, 3.5, 3.5, 3.5, 9, 13.5]
    )


def test_outages_by_chance_have_their_share_and_their_length() -> None:
    step_s = 0.05
    away = Away([], [Absences(rng(), Chance(every_s=20, lasts_s=5))], 0.0)
    ends = [away.leaves_s(k * step_s, 1) for k in range(400_000)]
    gone = [end_s > k * step_s for k, end_s in enumerate(ends)]
    share = sum(gone) / len(gone)
    lengths = [
        end_s - k * step_s
        for k, (end_s, (before, now)) in enumerate(zip(ends[1:], pairwise(gone), strict=True), 1)
        if now and not before
    ]
    # 1,000 outages: a mean of exponentials is within 10 % of theirs at 3 standard errors.
    assert share == pytest.approx(0.25, rel=0.1)
    assert np.mean(lengths) == pytest.approx(5, rel=0.1)
    assert np.std(lengths) == pytest.approx(5, rel=0.15)


@pytest.mark.parametrize(
    ("spread", "quantiles"),
    [
        (Normal(sd_ms=10), {0.05: 83.55, 0.5: 100, 0.95: 116.45}),
        (Lognormal(sigma=0.5), {0.05: 43.94, 0.5: 100, 0.95: 227.6}),
        (Pareto(shape=3), {0.05: 80.74, 0.5: 100, 0.95: 215.4}),
        (
            Quantiles(points=((0, 50), (0.25, 80), (0.5, 100), (0.75, 140), (1, 400))),
            {0.05: 56, 0.25: 80, 0.5: 100, 0.75: 140, 0.95: 348},
        ),
    ],
)  # fmt: skip
def test_round_trips_have_the_quantiles_of_their_spread(
    spread: Spread, quantiles: dict[float, float]
) -> None:
    """Over 20,000 connections: within 3 %, four standard errors of the rarest."""
    round_trips_ms = []
    for seed in range(20_000):
        stage = Spreading(RoundTrips(spread, 100, rng(seed)))
        round_trips_ms.append(1e3 * stage.leaves_s(stage.leaves_s(0.0, 1), 1))
    got = np.quantile(round_trips_ms, list(quantiles))
    assert got == pytest.approx(list(quantiles.values()), rel=0.03)


def test_what_wanders_is_ar_1_of_the_spreads_deviation() -> None:
    round_trips = RoundTrips(Normal(sd_ms=10, correlation_s=2.0), 100, rng())
    ms = np.array([round_trips.at_ms(0.5 * k) for k in range(100_000)])
    # Its effective sample is some 12,000 numbers: three standard errors are 0.27 ms.
    assert ms.mean() == pytest.approx(100, abs=0.3)
    assert ms.std() == pytest.approx(10, abs=0.3)
    for lag in (1, 4):
        assert np.corrcoef(ms[:-lag], ms[lag:])[0, 1] == pytest.approx(math.exp(-lag / 4), abs=0.03)


def test_a_round_trip_keeps_its_time() -> None:
    round_trips = RoundTrips(Normal(sd_ms=10), 100, rng())
    first_ms = round_trips.at_ms(5.0)
    assert round_trips.at_ms(5.0 + first_ms / 2e3) == round_trips.at_ms(4.0) == first_ms
    assert round_trips.at_ms(5.0 + first_ms / 1e3 + 1e-9) != first_ms


def test_outages_by_chance_are_the_same_whoever_asks_first() -> None:
    moments = np.linspace(0, 200, 500).tolist()
    there, back = (Absences(rng(), Chance(every_s=20, lasts_s=5)) for _ in range(2))
    assert there.back_s(0.0) == back.back_s(0.0)
    assert [there.back_s(at_s) for at_s in moments] == [
        back.back_s(at_s) for at_s in reversed(moments)
    ][::-1]


@pytest.mark.parametrize("nbytes", [PACKET_BYTES, 20 * PACKET_BYTES])
def test_bursts_lose_their_share_and_come_together(nbytes: int) -> None:
    bursts = Bursts(to_bad=0.01, to_good=0.2, loss_bad=0.5)
    lost = states(bursts, 0.001, nbytes, 60_000)
    share = bursts.bad
    assert share == pytest.approx(0.01 / 0.21)
    if nbytes == PACKET_BYTES:
        assert lost.mean() == pytest.approx(share * 0.5 + (1 - share) * 0.001, rel=0.08)
        after_loss = lost[1:][lost[:-1]].mean()
        assert after_loss == pytest.approx(0.8 * 0.5, abs=0.05)  # still bad, and lost again
    else:
        assert lost.mean() == pytest.approx(stalls(bursts, 0.001, 20), rel=0.08)


def states(
    bursts: Bursts, loss: float, nbytes: int, chunks: int
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    stage = BurstLoss(loss, bursts, 1.0, rng())
    return np.array([stage.leaves_s(0.0, nbytes) > 0 for _ in range(chunks)])


def stalls(bursts: Bursts, loss: float, packets: int) -> float:
    """The probability that one of so many packets is lost, by the chain's matrix."""
    step = np.array([[1 - bursts.to_bad, bursts.to_bad], [bursts.to_good, 1 - bursts.to_good]])
    kept = np.diag([1 - loss, 1 - bursts.loss_bad])
    here = np.array([1 - bursts.bad, bursts.bad]) @ kept
    for _ in range(packets - 1):
        here = here @ step @ kept
    return float(1 - here.sum())


def test_a_state_that_is_left_at_once_alternates() -> None:
    lost = states(Bursts(to_bad=1, to_good=1, loss_bad=1), 0.0, PACKET_BYTES, 10)
    assert [one != other for one, other in pairwise(lost)] == [True] * 9


def test_independent_losses_are_bursts_of_one_state() -> None:
    loss = Loss(0.02, 1.0, rng())
    got = np.mean([loss.leaves_s(0.0, 5 * PACKET_BYTES) > 0 for _ in range(30_000)])
    same = Bursts(to_bad=0.5, to_good=0.5, loss_bad=0.02)
    assert got == pytest.approx(1 - 0.98**5, rel=0.06)
    assert got == pytest.approx(states(same, 0.02, 5 * PACKET_BYTES, 30_000).mean(), rel=0.08)


def test_what_a_stage_draws_beside_leaves_others_as_they_are() -> None:
    """A draft more or less must not change the way back."""
    bursts = Bursts(to_bad=0.3, to_good=0.3, loss_bad=0.5)
    after = []
    for nbytes in (10, 500_000):
        shared = rng()
        BurstLoss(0.1, bursts, 1.0, shared).leaves_s(0.0, nbytes)
        after.append(shared.random())
    assert after[0] == after[1]


def test_a_call_meets_any_moment_of_a_cycle() -> None:
    profile = Profile(
        name="handover", rtt_ms=10, source="test", outages=(Cycle(every_s=15, lasts_s=3),)
    )
    moments = [-Conditions.at_any_moment(profile, rng(seed)).begins_s % 15 for seed in range(3_000)]
    shares = np.histogram(moments, bins=5, range=(0, 15))[0] / 3_000
    assert shares == pytest.approx([0.2] * 5, abs=0.03)


def test_times_of_a_trace_are_found_again() -> None:
    trace = RateSeries(zip(accumulate([0.0, 1, 2, 0.5, 3]), [5, 0, 2, 0, 1], strict=True))
    for mark in np.linspace(0.01, 3 * trace.summed(trace.period_s), 200):
        assert trace.summed(trace.reached_s(mark)) == pytest.approx(mark)
