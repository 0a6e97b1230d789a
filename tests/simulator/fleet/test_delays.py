"""The delays that calls of a fleet meet: of one network at one moment, whichever that is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from escalade.simulator.fleet.demand import delays
from escalade.simulator.fleet.demand.delays import sampled_delays
from escalade.simulator.fleet.demand.queries import Queries
from escalade.simulator.network import Profile
from escalade.simulator.network.profiles import Cycle
from escalade.simulator.network.profiles.spreads import Normal

MANY = 2000
ONE = Queries(
    device_s=np.zeros(1),
    defers=np.ones(1, dtype=np.bool_),
    cloud_s=np.zeros(1),
    beside_s=np.zeros(1),
    bytes_up=np.zeros(1, dtype=np.int64),
    bytes_down=np.zeros(1, dtype=np.int64),
    gateway_s=np.zeros(1),
    goes_on=np.ones(1, np.bool_),
)


def test_both_ways_of_a_call_see_one_round_trip() -> None:
    wide = Profile(name="wide", rtt_ms=100, spread=Normal(sd_ms=20), source="test")
    up, down = sampled_delays(ONE, wide, MANY, seed=1)
    assert up == pytest.approx(down)
    # Of ways apart it would be 14 ms; the standard error of 20 is 0.3.
    assert 1e3 * (up + down).std() == pytest.approx(20, abs=1.5)


def test_calls_meet_a_cycle_at_any_moment() -> None:
    away = Profile(name="away", rtt_ms=10, outages=(Cycle(every_s=1000, lasts_s=300),), source="t")
    up, _ = sampled_delays(ONE, away, MANY, seed=1)
    # The standard error of 0.3 is 0.01.
    assert (up > 0.005 + 1e-9).mean() == pytest.approx(0.3, abs=0.04)


def test_all_at_once_they_are_what_one_after_the_other_gives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of a network that draws all it can as often for each call; to the last bit."""
    away = Profile(
        name="all", rtt_ms=40, jitter_ms=3, loss=0.05, up_mbps=2, down_mbps=9,
        outages=(Cycle(every_s=10, lasts_s=3),), source="test",
    )  # fmt: skip
    sizes = np.array([100, 3000, 90_000])
    many = replace(
        ONE, bytes_up=sizes, bytes_down=sizes[::-1], cloud_s=sizes / 1e6, beside_s=sizes / 1e7
    )
    found = sampled_delays(many, away, 50, seed=[1, 2])
    monkeypatch.setattr(delays, "draws_of", lambda profile: None)
    np.testing.assert_array_equal(found, sampled_delays(many, away, 50, seed=[1, 2]))
