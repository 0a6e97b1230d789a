"""What a network is at a moment is what the delay line makes of it, at the same seed."""

from __future__ import annotations

import random
from itertools import accumulate

import msgspec
import pytest
from drawn_profiles import any_profiles
from hypothesis import given
from hypothesis import strategies as st

from escalade.simulator.network import Conditions, DelayLine, Profile, get_profile
from escalade.simulator.network.kernel.moments import Moments, varies

steps = st.lists(st.floats(1e-3, 5), min_size=1, max_size=30)
seeds = st.integers(0, 2**32)


def line_of(profile: Profile, seed: int) -> DelayLine:
    return DelayLine(profile, "up", random.Random(0), Conditions(profile, random.Random(seed)))


@given(any_profiles(), steps, seeds)
def test_delays_are_those_of_the_delay_line(profile: Profile, gaps: list[float], seed: int) -> None:
    steady = msgspec.structs.replace(
        profile, outages=(), loss=0.0, bursts=None, up_mbps=None, up_trace=None
    )
    moments, line, before_s = Moments(steady, seed), line_of(steady, seed), 0.0
    for at_s in accumulate(gaps):
        out_s = at_s + moments.at(at_s).delay_ms / 1e3
        # On the line nothing overtakes what came before.
        assert line.release_s(at_s, 0) == pytest.approx(max(before_s, out_s), abs=1e-9)
        before_s = max(before_s, out_s)


@given(any_profiles(), steps, seeds)
def test_nothing_passes_exactly_while_the_line_lets_nothing_in(
    profile: Profile, gaps: list[float], seed: int
) -> None:
    moments, line = Moments(profile, seed), line_of(profile, seed)
    for at_s in accumulate(gaps):
        now, away = moments.at(at_s), line.enters_s(at_s) > at_s
        up = profile.up_mbps if profile.up_trace is None else profile.up_trace.at(at_s)
        assert now.up_mbps == (0.0 if away else up)
        assert now.down_mbps == (0.0 if away else profile.down_mbps)


@given(any_profiles(), seeds)
def test_what_does_not_vary_is_the_same_at_every_moment(profile: Profile, seed: int) -> None:
    moments = Moments(profile, seed)
    found = {moments.at(0.5 * k) for k in range(20)}
    if not varies(profile):
        assert len(found) == 1


def test_a_handover_is_half_of_its_time_each_way() -> None:
    profile = get_profile("leo-handover")
    moments = Moments(profile, 1)
    assert varies(profile)
    assert moments.at(0.1).delay_ms == pytest.approx(profile.floor_ms + 20)
    assert moments.at(0.2).delay_ms == pytest.approx(profile.floor_ms)
    assert not varies(get_profile("leo"))
