"""Pings in virtual time: what the profile says, bit for bit again, and as rows."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from escalade.simulator.errors import SimulatorError
from escalade.simulator.network import get_profile, ping, report_lines, report_of, row_of, span_s
from escalade.simulator.network.profiles import (
    Bursts,
    Chance,
    Cycle,
    Profile,
    RateSeries,
    RttSeries,
)
from escalade.simulator.network.profiles.reading import shipped_profiles
from escalade.simulator.network.profiles.spreads import Lognormal


@pytest.mark.parametrize("name", list(shipped_profiles()))
def test_a_shipped_profiles_median_is_what_it_says(name: str) -> None:
    profile = get_profile(name)
    link_s = sum(
        0 if mbps is None else 64 * 8 / (mbps * 1e6)
        for mbps in (profile.up_mbps, profile.down_mbps)
    )
    median_s = np.median(ping(profile, 5_000, seed=1).rtt_s)
    # Of 5,000 jittered round trips; others do not vary but where a packet was lost.
    assert median_s == pytest.approx(profile.rtt_ms / 1e3 + link_s, rel=0.02, abs=1e-9)


@pytest.mark.parametrize("name", [p.name for p in shipped_profiles().values() if p.outages])
def test_pings_meet_an_outage_in_its_share_however_seldom_it_is(name: str) -> None:
    profile, count = get_profile(name), 5_000
    away = (ping(profile, count, seed=1).rtt_s > 2e-3 * profile.rtt_ms).mean()
    due = row_of(profile).away
    assert away == pytest.approx(due, abs=3 * (due / count) ** 0.5)


def test_a_span_is_of_the_slowest_unless_too_many_outages_would_be_drawn() -> None:
    lift, leo = get_profile("lte-lift"), get_profile("leo-handover")
    assert span_s([get_profile("lte")], 4) == 0
    assert span_s([leo], 4) == 60
    assert span_s([leo, lift], 4) == 4 * 3600
    often = Chance(every_s=0.1, lasts_s=0.05)
    flickering = msgspec.structs.replace(lift, outages=(*lift.outages, often))
    assert span_s([leo, flickering], 4) == 1e4


def test_a_seed_gives_the_same_pings() -> None:
    first, again = (ping(get_profile("leo"), 100, seed=3) for _ in range(2))
    assert first.rtt_s.tobytes() == again.rtt_s.tobytes()
    assert ping(get_profile("leo"), 100, seed=4).rtt_s.tobytes() != first.rtt_s.tobytes()
    with pytest.raises(SimulatorError, match="seed must be >= 0; got -1"):
        ping(get_profile("leo"), 100, seed=-1)


def test_round_trips_wander() -> None:
    spread = Lognormal(sigma=0.5, correlation_s=10)
    profile = Profile(name="bus", rtt_ms=80, spread=spread, source="test")
    log_s = np.log(ping(profile, 20_000, every_s=1.0, seed=1).rtt_s)
    assert np.corrcoef(log_s[:-1], log_s[1:])[0, 1] == pytest.approx(np.exp(-0.1), abs=0.03)
    assert log_s.std() == pytest.approx(0.5, abs=0.04)


def test_a_satellites_cycle_is_seen_in_time_and_share() -> None:
    handover = Profile(
        name="handover", rtt_ms=50, source="test",
        outages=(Cycle(every_s=15, lasts_s=0.3),),
    )  # fmt: skip
    pings = ping(handover, 3_000, every_s=0.1, seed=1)
    slow = pings.sent_s[pings.rtt_s > 0.0500001] % 15
    # Three of 150 begin within 0.3 s of a boundary, and one is on its way back then.
    assert len(slow) == pytest.approx(20 * 3, abs=22)
    assert np.all((slow < 0.3) | (slow > 14.9))


def test_a_row_has_means_where_things_vary() -> None:
    profile = Profile(
        name="x",
        rtt_ms=60,
        rtt_trace=RttSeries([(0, 40), (1, 60), (2, 300)]),
        down_trace=RateSeries([(0, 4), (1, 0), (2, 8)]),
        loss=0.01,
        bursts=Bursts(to_bad=0.1, to_good=0.4, loss_bad=0.5),
        outages=(Chance(every_s=100, lasts_s=5), Cycle(every_s=10, lasts_s=1)),
        price_per_gb=2,
        joules_per_mb=0.5,
        source="test",
    )
    row = row_of(profile)
    assert (row.varies, row.down_mbps, row.up_mbps) == ("trace", 4, None)
    assert row.loss == pytest.approx(0.2 * 0.5 + 0.8 * 0.01)
    assert row.away == pytest.approx(0.15)
    said = "\n".join(report_lines(report_of(profile, seed=1)))
    for words in (
        "RTT 60 ms (median), round trips vary: trace",
        "4 Mb/s down, unlimited up",
        "down over time: 0 to 8 Mb/s, a trace of 3 s that comes round",
        "nothing passes for 5 s every 100 s on average, by chance",
        "nothing passes for 1 s every 10 s",
        "bursts of 2.5 packets on average, 20.0% of the packets, of which 50.0% are lost",
        "price: 2 for a gigabyte",
        "energy: 0.5 J for a megabyte",
        "source: test",
    ):
        assert words in said
