"""The table of networks: complete, sourced, in range."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from escalade.simulator.errors import ProfileError, SimulatorError
from escalade.simulator.network.delay_lines.delay_line import DelayLine
from escalade.simulator.network.profiles import Chance, Cycle, Profile, get_profile
from escalade.simulator.network.profiles.episodes import Outage
from escalade.simulator.network.profiles.reading import shipped_profiles

NAMES = [
    *("free", "coe-1us", "coe-10ms", "coe-100ms", "coe-1s", "lan", "fios", "cable", "dsl"),
    *("wifi-good", "5g", "lte", "4g-fast", "4g", "slow-4g", "3g", "3g-slow", "edge", "leo"),
    *("leo-handover", "geo", "5g-metered", "leo-metered", "lte-lift", "5g-metered-hours"),
]


def test_table_is_complete_and_sourced() -> None:
    assert list(shipped_profiles()) == NAMES
    assert all(profile.name == name for name, profile in shipped_profiles().items())
    assert all(profile.source for profile in shipped_profiles().values())


def test_prices_and_energies_that_are_shipped_name_their_source() -> None:
    for profile in shipped_profiles().values():
        assert (profile.price_per_gb is None) == ("price:" not in profile.source)
        energies = profile.joules_per_call, profile.joules_per_mb
        assert (None in energies) == ("energy:" not in profile.source)


@pytest.mark.parametrize(
    ("name", "up_mw", "down_mw"),
    [("lte", 438.39, 51.97), ("3g", 868.98, 122.12), ("wifi-good", 283.17, 137.01)],
)
def test_a_byte_takes_the_middle_of_both_ways(name: str, up_mw: float, down_mw: float) -> None:
    """Of mW for each Mb/s, which are mJ for a megabit."""
    middle = 8 * (up_mw + down_mw) / 2 / 1e3
    assert get_profile(name).joules_per_mb == pytest.approx(middle, abs=0.005)


@pytest.mark.parametrize(("name", "price"), [("5g", 10), ("leo", 2)])
def test_a_metered_network_is_another_at_a_price(name: str, price: float) -> None:
    plain, metered = get_profile(name), get_profile(f"{name}-metered")
    same = msgspec.structs.replace(
        plain, name=metered.name, price_per_gb=price, source=metered.source
    )
    assert metered == same


@pytest.mark.parametrize(
    ("plain", "name", "outage", "share"),
    [
        ("lte", "lte-lift", Chance(every_s=3600, lasts_s=30), 1 / 120),
        (
            "5g-metered",
            "5g-metered-hours",
            Cycle(every_s=86400, lasts_s=28800, begins_s=57600),
            1 / 3,
        ),
    ],
)
def test_a_network_that_is_away_now_and_then_is_another_with_an_outage(
    plain: str, name: str, outage: Outage, share: float
) -> None:
    away = get_profile(name)
    same = msgspec.structs.replace(
        get_profile(plain), name=name, outages=(outage,), source=away.source
    )
    assert away == same
    assert outage.share == pytest.approx(share)
    assert away.source.startswith(f"{plain}; ")
    assert "; assumption: " in away.source


def test_the_papers_four_delays() -> None:
    asked = [get_profile(f"coe-{delay}").rtt_ms for delay in ("1us", "10ms", "100ms", "1s")]
    assert asked == [0.001, 10, 100, 1000]


def test_down_is_never_slower_than_up() -> None:
    for profile in shipped_profiles().values():
        if profile.down_mbps is not None and profile.up_mbps is not None:
            assert profile.down_mbps >= profile.up_mbps, profile.name


def test_unknown_profile_names_nearest_and_all() -> None:
    with pytest.raises(ProfileError, match=r"got 'coe-10'; did you mean 'coe-10ms'\?") as e:
        get_profile("coe-10")
    assert all(name in str(e.value) for name in NAMES)
    assert isinstance(e.value, SimulatorError)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rtt_ms", -1.0),
        ("rtt_ms", float("nan")),
        ("rtt_ms", float("inf")),
        ("jitter_ms", -0.1),
        ("jitter_ms", 6.0),
        ("down_mbps", 0.0),
        ("up_mbps", -5.0),
        ("up_mbps", float("inf")),
        ("loss", 1.0),
        ("loss", -0.01),
    ],
)
def test_out_of_range_names_field_range_and_value(field: str, value: float) -> None:
    good = {"rtt_ms": 10.0, "jitter_ms": 1.0, "down_mbps": 5.0, "up_mbps": None, "loss": 0.0}
    Profile(name="mine", source="test", **good)
    with pytest.raises(ProfileError, match=rf"'mine': {field} must be .*<.*; got {value}"):
        Profile(name="mine", source="test", **{**good, field: value})


def test_floor_is_half_the_rtt_without_jitter_and_less_with_it() -> None:
    assert get_profile("coe-100ms").floor_ms == 50
    assert 0 < get_profile("leo").floor_ms < 25


def test_round_trips_of_leo_have_the_sources_quartiles() -> None:
    leo = get_profile("leo")
    rng = np.random.default_rng(0)
    # A fresh line for each, as on an idle network: no queueing behind the one before.
    rtt_ms = [
        1e3
        * (DelayLine(leo, "up", rng).release_s(0, 0) + DelayLine(leo, "down", rng).release_s(0, 0))
        for _ in range(20_000)
    ]
    p25, p50, p75 = np.percentile(rtt_ms, [25, 50, 75])
    assert p50 == pytest.approx(50, abs=0.5)
    assert p75 - p25 == pytest.approx(20, abs=0.5)
    assert p25 == pytest.approx(40, abs=2)
