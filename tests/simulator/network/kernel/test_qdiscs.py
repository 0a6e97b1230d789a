"""A profile as tc's arguments: every number is the profile's own, in tc's units."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_profiles import any_profiles, directions, simple_profiles
from hypothesis import given
from hypothesis import strategies as st

from escalade.simulator.errors import KernelError
from escalade.simulator.network import Profile, get_profile, shaping_lines
from escalade.simulator.network.kernel.moments import Moment
from escalade.simulator.network.kernel.namespaces import ADDRESSES
from escalade.simulator.network.kernel.qdiscs import (
    ENDS,
    Way,
    check_shapeable,
    exponential_table,
    netem,
)
from escalade.simulator.network.profiles import Bursts

# linux/pkt_sched.h, sch_netem.c: NETEM_DIST_SCALE; a table's numbers are 16 bits.
SCALE, MOST = 8192, 2**15 - 1

moments = st.builds(
    Moment,
    delay_ms=st.floats(0, 1e6),
    up_mbps=st.none() | st.just(0.0) | st.floats(1e-5, 1e6),
    down_mbps=st.none() | st.just(0.0) | st.floats(1e-5, 1e6),
)


def after(words: list[str], name: str) -> str:
    return words[words.index(name) + 1]


def ms(text: str) -> float:
    assert text.endswith("ms")
    return float(text.removesuffix("ms"))


def share(text: str) -> float:
    assert text.endswith("%")
    return float(text.removesuffix("%")) / 100


@given(simple_profiles() | any_profiles(), moments, directions, st.none() | st.integers(0, 99))
def test_every_number_is_that_of_the_moment(
    profile: Profile, now: Moment, way: Way, seed: int | None
) -> None:
    words = netem(profile, way, now, seed)
    mbps = now.up_mbps if way == "up" else now.down_mbps
    assert words[0] == "netem"
    assert ms(after(words, "delay")) == pytest.approx(now.delay_ms + profile.jitter_ms, abs=1e-6)
    if mbps:
        rate = after(words, "rate")
        assert int(rate.removesuffix("bit")) == pytest.approx(mbps * 1e6, abs=0.5)
        # What is on its way at that rate has room beside netem's own thousand.
        under_way = mbps * 1e3 / 8 * now.delay_ms / 1514
        assert int(after(words, "limit")) >= min(100_000, 1000 + under_way)
    else:
        assert after(words, "rate") == "1tbit"
    if mbps == 0:
        assert words[words.index("loss") :][:3] == ["loss", "random", "100%"]
    elif profile.bursts is not None:
        bursts = profile.bursts
        at = words.index("gemodel") + 1
        expected = [bursts.to_bad, bursts.to_good, bursts.loss_bad, profile.loss]
        assert [share(one) for one in words[at : at + 4]] == pytest.approx(expected, abs=1e-9)
    elif profile.loss:
        assert share(after(words, "random")) == pytest.approx(profile.loss, abs=1e-9)
    else:
        assert "loss" not in words
    assert ("seed" in words) == (seed is not None)


@given(simple_profiles())
def test_jitter_is_the_profiles_exponential(profile: Profile) -> None:
    """As the kernel computes it (`tabledist`): the mean, and a table's number of deviations."""
    now = Moment(delay_ms=profile.floor_ms, up_mbps=None, down_mbps=None)
    words = netem(profile, "up", now)
    if not profile.jitter_ms:
        assert "distribution" not in words
        return
    mean_ms, width_ms = (ms(one) for one in words[words.index("delay") + 1 :][:2])
    table = np.array([float(line) for line in exponential_table()])
    assert np.abs(table).max() <= MOST
    delays = mean_ms + width_ms * table / SCALE
    jitter = delays - profile.floor_ms
    # Rounded: a step of the table is a 2,730th of the mean; tc's times have nanoseconds.
    assert jitter.min() >= -profile.jitter_ms / 2000 - 1e-5
    quantiles = np.quantile(jitter, [0.1, 0.5, 0.9, 0.99])
    expected = -profile.jitter_ms * np.log1p(-np.array([0.1, 0.5, 0.9, 0.99]))
    assert quantiles == pytest.approx(expected, rel=0.02, abs=1e-5)
    assert jitter.mean() == pytest.approx(profile.jitter_ms, rel=0.01, abs=1e-5)


def test_both_ways_are_drawn_apart_and_seeds_too() -> None:
    profile = Profile(name="a", rtt_ms=10, loss=0.1, source="a test")
    now = Moment(delay_ms=5, up_mbps=1, down_mbps=2)
    seeds = [after(netem(profile, way, now, seed), "seed") for seed in (0, 1) for way in ENDS]
    assert len(set(seeds)) == 4
    assert set(ENDS.values()) == set(ADDRESSES)


def test_what_is_shown_is_what_tc_is_told() -> None:
    assert shaping_lines(get_profile("cable"), seed=None) == [
        "device: tc qdisc add dev device root netem limit 1002 delay 14ms rate 1000000bit",
        "cloud: tc qdisc add dev cloud root netem limit 1006 delay 14ms rate 5000000bit",
    ]
    *_, said = shaping_lines(get_profile("wifi-good"), seed=3)
    assert said.startswith("loss: of real packets")
    bursts = Bursts(to_bad=0.01, to_good=0.5, loss_bad=1)
    varied = Profile(name="a", rtt_ms=0, bursts=bursts, spread=None, source="a test")
    assert "loss gemodel 1% 50% 100% 0%" in shaping_lines(varied, seed=None)[0]
    *_, said = shaping_lines(get_profile("leo-handover"), seed=None)
    assert "10 ms" in said


def test_a_jitter_beyond_netems_is_refused() -> None:
    profile = Profile(name="far", rtt_ms=4000, jitter_ms=716, source="a test")
    with pytest.raises(KernelError, match="'far': jitter_ms must be at most 716 .* got 716"):
        check_shapeable(profile, None)
    check_shapeable(Profile(name="near", rtt_ms=4000, jitter_ms=715, source="a test"), 2**63 - 1)
