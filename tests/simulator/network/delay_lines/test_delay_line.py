"""The delay line's laws, on any profile and any traffic."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from drawn_profiles import Traffic, any_profiles, directions, simple_profiles, traffic
from hypothesis import given, settings
from hypothesis import strategies as st

from escalade.simulator.network.delay_lines.delay_line import DelayLine, Direction
from escalade.simulator.network.profiles import Profile, get_profile
from escalade.simulator.network.profiles.reading import shipped_profiles
from escalade.simulator.network.stages import RTO_MIN_S, Conditions
from escalade.simulator.network.stages.loss import PACKET_BYTES

#: Room for rounding: sums of some dozens of floats.
EPSILON = 1e-9

#: A busy machine is no failure.
laws = settings(deadline=None, database=None)


def releases(profile: Profile, direction: Direction, chunks: Traffic, seed: int = 0) -> list[float]:
    line = DelayLine(profile, direction, np.random.default_rng(seed))
    return [line.release_s(*chunk) for chunk in chunks]


def written_out(profile: Profile, direction: Direction, chunks: Traffic, seed: int) -> list[float]:
    """What a line of one bandwidth, jitter and independent losses does, without stages."""
    rng = np.random.default_rng(seed)
    mbps = profile.up_mbps if direction == "up" else profile.down_mbps
    s_per_byte = 0.0 if mbps is None else 8 / (mbps * 1e6)
    link_free_s = last_s = -math.inf
    out = []
    for arrival_s, nbytes in chunks:
        link_free_s = max(arrival_s, link_free_s) + nbytes * s_per_byte
        release_s = link_free_s + profile.floor_ms / 1e3
        if profile.jitter_ms:
            release_s += profile.jitter_ms / 1e3 * -math.log1p(-rng.random())
        if profile.loss:
            packets = max(1, math.ceil(nbytes / PACKET_BYTES))
            if rng.random() < 1 - (1 - profile.loss) ** packets:
                release_s += profile.rtt_ms / 1e3 + RTO_MIN_S
        last_s = max(last_s, release_s)
        out.append(last_s)
    return out


#: Of the shipped networks those that `written_out` can do: nothing comes now and then.
_STEADY = [p for p in shipped_profiles().values() if not p.spikes + p.outages]


@laws
@given(
    simple_profiles() | st.sampled_from(_STEADY),
    directions, traffic(), st.integers(0, 2**32),
)  # fmt: skip
def test_stages_give_the_same_bits_as_one_formula(
    profile: Profile, direction: Direction, chunks: Traffic, seed: int
) -> None:
    assert releases(profile, direction, chunks, seed) == written_out(
        profile, direction, chunks, seed
    )


@laws
@given(any_profiles(), traffic(), st.integers(0, 2**32))
def test_laws_of_every_kind(profile: Profile, chunks: Traffic, seed: int) -> None:
    """Never overtakes, never before the floor and the link; a seed gives the same bits again."""

    def both() -> tuple[list[float], list[float]]:
        rng = random.Random(seed)
        shared = Conditions.at_any_moment(profile, rng)
        up, down = (DelayLine(profile, way, rng, shared) for way in ("up", "down"))
        there, back = [], []
        for arrival_s, nbytes in chunks:
            there.append(up.release_s(arrival_s, nbytes))
            back.append(down.release_s(arrival_s, nbytes))
        return there, back

    there, back = both()
    assert (there, back) == both()
    for out in (there, back):
        assert out == sorted(out)
        assert all(map(math.isfinite, out))
    floor_s = profile.floor_ms / 1e3
    for (arrival_s, nbytes), up_s, down_s in zip(chunks, there, back, strict=True):
        link_s = 0 if profile.down_mbps is None else nbytes * 8 / (profile.down_mbps * 1e6)
        assert up_s >= (arrival_s + floor_s) * (1 - EPSILON)
        assert down_s >= (arrival_s + floor_s + link_s) * (1 - EPSILON)


@laws
@given(simple_profiles(), directions, traffic())
def test_no_chunk_overtakes(profile: Profile, direction: Direction, chunks: Traffic) -> None:
    out = releases(profile, direction, chunks)
    assert out == sorted(out)


@laws
@given(simple_profiles(), directions, traffic())
def test_no_chunk_is_out_before_the_one_way_floor(
    profile: Profile, direction: Direction, chunks: Traffic
) -> None:
    for (arrival_s, _), out_s in zip(chunks, releases(profile, direction, chunks), strict=True):
        assert out_s >= arrival_s + profile.floor_ms / 1e3


@laws
@given(simple_profiles(steady=True), directions, traffic())
def test_without_jitter_the_floor_is_half_the_rtt(
    profile: Profile, direction: Direction, chunks: Traffic
) -> None:
    for (arrival_s, _), out_s in zip(chunks, releases(profile, direction, chunks), strict=True):
        assert out_s >= arrival_s + profile.rtt_ms / 2e3


@laws
@given(simple_profiles(), directions, traffic())
def test_throughput_is_never_above_the_bandwidth(
    profile: Profile, direction: Direction, chunks: Traffic
) -> None:
    mbps = profile.up_mbps if direction == "up" else profile.down_mbps
    out = releases(profile, direction, chunks)
    for first, (arrival_s, _) in enumerate(chunks):
        nbytes = 0
        for last in range(first, len(chunks)):
            nbytes += chunks[last][1]
            link_s = 0 if mbps is None else nbytes * 8 / (mbps * 1e6)
            assert out[last] >= (arrival_s + profile.floor_ms / 1e3 + link_s) * (1 - EPSILON)


@laws
@given(directions, traffic())
def test_no_network_is_the_identity(direction: Direction, chunks: Traffic) -> None:
    assert releases(get_profile("free"), direction, chunks) == [arrival for arrival, _ in chunks]


@laws
@given(simple_profiles(), directions, traffic(), st.integers(0, 2**32))
def test_same_seed_same_times(
    profile: Profile, direction: Direction, chunks: Traffic, seed: int
) -> None:
    assert releases(profile, direction, chunks, seed) == releases(profile, direction, chunks, seed)


def test_chunks_wait_for_the_link_but_travel_together() -> None:
    # 0.384 Mb/s is 48,000 bytes a second; 25 ms one way.
    line = DelayLine(get_profile("dsl"), "up", np.random.default_rng(0))
    assert line.release_s(0.0, 48_000) == pytest.approx(1.025)
    assert line.release_s(0.0, 24_000) == pytest.approx(1.525)
    assert line.release_s(9.0, 4_800) == pytest.approx(9.125)


def test_delays_overlap_where_bandwidth_is_unlimited() -> None:
    # Slept for one after the other, ten chunks would take ten delays.
    line = DelayLine(get_profile("coe-100ms"), "down", np.random.default_rng(0))
    assert [line.release_s(0.0, 1000) for _ in range(10)] == [0.05] * 10


class _Drawn:
    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


@pytest.mark.parametrize(
    ("nbytes", "drawn", "stalls"),
    # wifi-good loses 0.2 % of packets: 1 - 0.998 ** 3 = 0.005988 for three.
    [(100, 0.0019, True), (100, 0.0021, False), (3000, 0.0059, True), (3000, 0.0060, False)],
)
def test_a_lost_packet_stalls_for_one_timeout(nbytes: int, drawn: float, stalls: bool) -> None:
    wifi = get_profile("wifi-good")
    out_s = DelayLine(wifi, "up", _Drawn(drawn)).release_s(0.0, nbytes)
    link_s = nbytes * 8 / 30e6
    assert out_s == pytest.approx(link_s + 0.020 + (0.040 + RTO_MIN_S if stalls else 0))


def test_what_comes_after_a_stall_waits_behind_it() -> None:
    drawn = _Drawn(0.0)
    line = DelayLine(get_profile("wifi-good"), "up", drawn)
    stalled_s = line.release_s(0.0, 100)
    drawn.value = 0.9
    assert line.release_s(0.0, 100) == stalled_s
