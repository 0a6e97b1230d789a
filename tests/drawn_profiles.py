"""Networks and traffic of every kind, drawn by hypothesis."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import strategies as st

from escalade.simulator.network import Profile
from escalade.simulator.network.profiles import (
    Bursts,
    Chance,
    Cycle,
    RateSeries,
    RttSeries,
    Spike,
    Spread,
)
from escalade.simulator.network.profiles.profile import HALF_GAMMA2_MEDIAN
from escalade.simulator.network.profiles.spreads import Lognormal, Normal, Pareto, Quantiles

Traffic = list[tuple[float, int]]

directions = st.sampled_from(["up", "down"])
_bandwidths = st.none() | st.floats(0.01, 1000)


@st.composite
def simple_profiles(draw: st.DrawFn, *, steady: bool = False) -> Profile:
    """A median, a jitter, a bandwidth each way, a loss."""
    rtt_ms = draw(st.floats(0, 1000, allow_subnormal=False))
    jitter_share = 0 if steady else draw(st.floats(0, 0.999))
    return Profile(
        name="drawn",
        rtt_ms=rtt_ms,
        jitter_ms=rtt_ms / 2 / HALF_GAMMA2_MEDIAN * jitter_share,
        down_mbps=draw(_bandwidths),
        up_mbps=draw(_bandwidths),
        loss=0 if steady else draw(st.floats(0, 0.9)),
        source="hypothesis",
    )


@st.composite
def spreads(draw: st.DrawFn, rtt_ms: float) -> Spread:
    """One of that median."""
    correlation_s = draw(st.floats(1e-3, 100))
    points = [
        (0.0, rtt_ms / 2), (0.25, rtt_ms * 0.75), (0.5, rtt_ms), (0.75, rtt_ms * 1.5),
        (1.0, rtt_ms * 4),
    ]  # fmt: skip
    return draw(
        st.sampled_from(
            [
                Normal(sd_ms=rtt_ms / 5, correlation_s=correlation_s),
                Lognormal(sigma=0.7, correlation_s=correlation_s),
                Pareto(shape=2.5, correlation_s=correlation_s),
                Quantiles(points=tuple(points), correlation_s=correlation_s),
            ]
        )
    )


@st.composite
def rows(draw: st.DrawFn, most: float) -> Traffic:
    """Of a trace: times that increase, and values of which one at least is above 0."""
    values = draw(st.lists(st.just(0.0) | st.floats(0.01, most), min_size=1, max_size=6))
    gaps = draw(st.lists(st.floats(0.01, 2), min_size=len(values), max_size=len(values)))
    times = itertools.accumulate(gaps)
    return [*zip(times, values, strict=True), (sum(gaps) + 1, most)]


@st.composite
def any_profiles(draw: st.DrawFn) -> Profile:
    """All that a profile may have, most of it left out now and then."""
    rtt_ms = draw(st.floats(0.01, 1000))
    which = draw(st.sampled_from(["constant", "spread", "trace"]))
    trace = RttSeries(draw(rows(1000))) if which == "trace" else None
    traced = draw(st.booleans())
    # Two are away for 0.98 of the time at most: a profile may be for 0.99.
    cycle = st.builds(
        Cycle, every_s=st.floats(1, 20), lasts_s=st.floats(0, 0.49), begins_s=st.floats(0, 1)
    )
    chance = st.builds(Chance, every_s=st.floats(2, 20), lasts_s=st.floats(0.01, 0.5))
    spike = st.builds(
        Spike, every_s=st.floats(1, 20), lasts_s=st.floats(0, 1), extra_rtt_ms=st.floats(0, 100)
    )
    burst = st.builds(
        Bursts,
        to_bad=st.floats(0.01, 1), to_good=st.floats(0.01, 1), loss_bad=st.floats(0, 1),
    )  # fmt: skip
    return Profile(
        name="drawn",
        rtt_ms=rtt_ms if trace is None else trace.median,
        spread=draw(spreads(rtt_ms)) if which == "spread" else None,
        rtt_trace=trace,
        up_mbps=None if traced else draw(_bandwidths),
        up_trace=RateSeries(draw(rows(50))) if traced else None,
        down_mbps=draw(_bandwidths),
        loss=draw(st.floats(0, 0.5)),
        bursts=draw(st.none() | burst),
        outages=tuple(draw(st.lists(cycle | chance, max_size=2))),
        spikes=tuple(draw(st.lists(spike, max_size=2))),
        source="hypothesis",
    )


@st.composite
def traffic(draw: st.DrawFn) -> Traffic:
    """(arrival_s, nbytes), arrivals not decreasing."""
    chunks = draw(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 300_000)), max_size=30))
    arrivals = np.cumsum([gap for gap, _ in chunks]).tolist()
    return list(zip(arrivals, (nbytes for _, nbytes in chunks), strict=True))
