"""What is said of a fleet: read strictly, and refused by name in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from escalade.simulator.errors import FleetError, ProfileError
from escalade.simulator.fleet import run_fleet
from escalade.simulator.fleet.building import build
from escalade.simulator.fleet.description.checking import read_spec

FLEET = """
seconds = 60
[cloud]
replicas = 4
[[groups]]
name = "phones"
count = 100
profile = "lte"
arrivals = { kind = "poisson", per_hour = 120 }
answers = { device_s = 0.1, cloud_s = 0.2, deferral_rate = 0.25 }
"""


def fleet_of(tmp_path: Path, old: str = "", new: str = "", more: str = "") -> Path:
    assert old in FLEET
    path = tmp_path / "fleet.toml"
    path.write_text(FLEET.replace(old, new, 1) + more)
    return path


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("seconds = 60", "seconds = 0", "seconds must be in (0, 3.2e+09], got 0"),
        ("seconds = 60", "seconds = nan", "seconds"),
        (
            "seconds = 60",
            "seconds = 60\nwarm_up_s = 60",
            "warm_up_s must be below seconds, 60; got",
        ),
        (
            "replicas = 4",
            "replicas = 0",
            "cloud.replicas must be at least 1 and at most 16384, got 0",
        ),
        ("replicas = 4", "replica = 4", "did you mean 'replicas'?"),
        (
            "replicas = 4",
            "replicas = 4\nslots = 4096\nscaling = { least = 1, most = 9999 }",
            "slots",
        ),
        ("replicas = 4", "replicas = 4\nscaling = { least = 5, most = 9 }", "in 5..9, as scaling"),
        (
            "replicas = 4",
            "replicas = 4\nscaling = { least = 5, most = 2 }",
            "at most its most, 2; got 5",
        ),
        # Who never waits would call for ever at one moment, who waits for years nearly so.
        (
            "[[groups]]",
            "[retries]\nfirst_s = 0\n[[groups]]",
            "retries.first_s must be in [0.001, 3.2e+09], got 0",
        ),
        ("[[groups]]", "[retries]\nmost_s = 0\n[[groups]]", "retries.most_s must be in [0.001,"),
        (
            "[[groups]]",
            "[retries]\ndeadline_s = 1e9\n[[groups]]",
            "retries.deadline_s must be at most 1,000 times most_s, 1; got 1e+09",
        ),
        ("count = 100", "count = 20000001", "groups[0].count must be at least 1 and at most"),
        ('profile = "lte"', 'profile = "lte"\ntrace = "t"', "give either trace or answers"),
        ('profile = "lte"', 'profile = "lte"\nthresholds = [1.0]', "thresholds are of a trace"),
        (
            'profile = "lte"',
            'profile = "lte"\ndialling = { idle_s = 0 }',
            "groups[0].dialling.idle_s must be in (0, 3.2e+09], got 0",
        ),
        (
            'profile = "lte"',
            'profile = "lte"\ndialling = { idle = 9 }',
            "did you mean 'idle_s'?",
        ),
        ('"poisson"', '"poison"', "poison"),
        ("per_hour = 120", "per_hour = -1", "per_hour"),
        ("deferral_rate = 0.25", "deferral_rate = 1.5", "deferral_rate must be in [0, 1], got 1.5"),
        ("seconds = 60", "seconds = 60 60", "not valid TOML"),
        (
            "[[groups]]",
            "[[outages]]\nfrom_s=2\nto_s=1\n[[groups]]",
            "to_s must be above its from_s",
        ),
        (
            "[[groups]]",
            "[[outages]]\nfrom_s=100000\nto_s=160000\n[[groups]]",
            "an outage's from_s must be below seconds, 60, or nothing meets it; got 100000",
        ),
        (
            "[[groups]]",
            '[[outages]]\nfrom_s=2\nto_s=3\ngroup = "phone"\n[[groups]]',
            "an outage's group must be one of phones; got 'phone'; did you mean 'phones'?",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = fleet_of(tmp_path, old, new)
    with pytest.raises(FleetError) as caught:
        read_spec(path)
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FleetError, match=r"no.toml: cannot be read: No such file"):
        read_spec(tmp_path / "no.toml")


@pytest.mark.parametrize(
    ("old", "new", "error", "said"),
    [
        ("lte", "lta", ProfileError, "group 'phones': profile must be one of free"),
        ("lte", "lta", ProfileError, "did you mean 'lte'"),
        (
            "device_s = 0.1",
            "device_s = 40",
            FleetError,
            "less than 100% of its time; its queries want",
        ),
        (
            "cloud_s = 0.2",
            "cloud_s = 20",
            FleetError,
            "replicas at work and there are at most 4; give 1",
        ),
        ("deferral_rate = 0.25", "deferral_rate = 0.0001", FleetError, "must be 0 or in [0.000244"),
        ("deferral_rate = 0.25", "deferral_rate = 1e-9", FleetError, "must be 0 or in [0.000244"),
        (
            'kind = "poisson", per_hour = 120',
            'kind = "bursts", per_hour = 120, times = 2, quiet_s = 1e-6, burst_s = 1e-6',
            FleetError,
            "group 'phones': the rate of arrivals must change at most 1,000,000 times in a run; got"
            " 3e+07",
        ),
        (
            'kind = "poisson", per_hour = 120',
            'kind = "recorded", file = "no", period_s = 1.0',
            FleetError,
            "no: cannot be read",
        ),
    ],
)
def test_a_fleet_that_cannot_be_served_is_refused(
    tmp_path: Path, old: str, new: str, error: type[Exception], said: str
) -> None:
    path = fleet_of(tmp_path, old, new)
    with pytest.raises(error) as caught:
        build(read_spec(path), tmp_path, seed=1)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_run_without_end_is_refused(tmp_path: Path) -> None:
    path = fleet_of(tmp_path, "count = 100", "count = 10_000_000")
    path.write_text(path.read_text().replace("seconds = 60", "seconds = 1e7"))
    with pytest.raises(FleetError, match=r"queries of a run must be at most 1e\+11; got 3.33e\+12"):
        run_fleet(path, seed=1)


def test_a_bound_of_the_queue_lets_an_overloaded_cloud_be_simulated(tmp_path: Path) -> None:
    path = fleet_of(tmp_path, "cloud_s = 0.2", "cloud_s = 20")
    with pytest.raises(FleetError, match=r"give 1\d or more, or bound the queue"):
        build(read_spec(path), tmp_path, seed=1)
    path.write_text(path.read_text().replace("replicas = 4", "replicas = 4\nqueue = 5"))
    fleet = build(read_spec(path), tmp_path, seed=1)
    assert fleet.model.queue == 5
    assert 4 * 4 < fleet.load < 18


SHOPS = """
[[gateways]]
name = "shops"
count = 5
profile = "fios"
"""
THROUGH = 'profile = "lte"\ngateway = "shops"'
TOLD = "deferral_rate = 0.25, gateway_s = 0.1, gateway_deferral_rate = 0.5"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({'"shops"\ncount': '"shop"\ncount'}, "gateway must be one of shop; got 'shops'; did you"),
        ({SHOPS: ""}, "gateway must be left out, for there are none; got 'shops'"),
        ({THROUGH: 'profile = "lte"'}, "gateway_s is of a gateway, and the group has none"),
        ({", gateway_s = 0.1": ""}, "answers need gateway_s, as the group has gateways"),
        ({", gateway_deferral_rate = 0.5": ""}, "answers need gateway_deferral_rate, as the"),
        ({"gateway_deferral_rate = 0.5": "gateway_deferral_rate = 2"}, "in [0, 1], got 2"),
        ({SHOPS: SHOPS + SHOPS}, "two kinds of gateways are called 'shops'"),
        ({SHOPS: SHOPS + SHOPS.replace("shops", "bus")}, "gateways 'bus': no group has them"),
        ({"count = 5": "count = 0"}, "gateways[0].count must be at least 1 and at most"),
        ({"count = 5": "count = 2000\nslots = 4096"}, "times slots must be at most 4,000,000; got"),
        ({TOLD: TOLD + ", fallback = false"}, "fallback must be true where there is a gateway"),
        (
            {SHOPS: SHOPS + '[[outages]]\nfrom_s = 1\nto_s = 2\ngateway = "shop"\n'},
            "an outage's gateway must be one of shops; got 'shop'; did you mean 'shops'?",
        ),
        (
            {SHOPS: SHOPS + '[[outages]]\nfrom_s=1\nto_s=2\ngateway="shops"\ngroup="phones"\n'},
            "an outage is of a group's devices or of gateways; got both 'phones' and 'shops'",
        ),
        ({"fios": "fibre"}, "gateways 'shops': profile must be one of"),
        (
            {"gateway_s = 0.1": "gateway_s = 9"},
            "gateways 'shops': one must be at work less than 100% of its time; its queries want 15",
        ),
        (
            {"count = 5": "count = 5\nqueue = -1"},
            "gateways[0].queue must be at least 0 and",
        ),
        ({"count = 5": "count = 5\nqueue = nan"}, "got `float` - at `$.gateways[0].queue`: nan"),
        ({"count = 5": "count = 5\nqueues = 8"}, "did you mean 'queue'?"),
        (
            {"count = 5": "count = 5\ndialling = { idle_s = 0 }"},
            "gateways[0].dialling.idle_s must be in (0, 3.2e+09], got 0",
        ),
        (
            {"count = 5": "count = 5\ndialling = { idle_s = nan }"},
            "gateways[0].dialling.idle_s must be in (0, 3.2e+09], got nan",
        ),
        ({"count = 5": "count = 5\ndialing = {}"}, "did you mean 'dialling'?"),
        (
            {'gateway = "shops"': 'gateway = "shops"\npast_gateway = "lta"'},
            "group 'phones': past_gateway: profile must be one of",
        ),
        (
            {'gateway = "shops"': 'gateway = "shops"\npast_gatway = "lte"'},
            "did you mean 'past_gateway'?",
        ),
        (
            {
                'gateway = "shops"': 'past_gateway = "lte"',
                ", gateway_s = 0.1, gateway_deferral_rate = 0.5": "",
            },
            "group 'phones': past_gateway leads past a gateway, and the group has none",
        ),
    ],
)
def test_gateways_that_contradict_are_refused_in_one_line(
    tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    text = FLEET.replace('profile = "lte"', THROUGH).replace("deferral_rate = 0.25", TOLD) + SHOPS
    path = tmp_path / "fleet.toml"
    path.write_text(text)
    build(read_spec(path), tmp_path, seed=1)
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text)
    with pytest.raises((FleetError, ProfileError)) as caught:
        build(read_spec(path), tmp_path, seed=1)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_bound_lets_overloaded_gateways_be_simulated(tmp_path: Path) -> None:
    """And then nobody knows before how much of the cloud is asked for."""
    text = FLEET.replace('profile = "lte"', THROUGH).replace("deferral_rate = 0.25", TOLD) + SHOPS
    text = text.replace("gateway_s = 0.1", "gateway_s = 9").replace("cloud_s = 0.2", "cloud_s = 99")
    path = tmp_path / "fleet.toml"
    path.write_text(text.replace("count = 5", "count = 5\nslots = 2\nqueue = 3"))
    fleet = build(read_spec(path), tmp_path, seed=1)
    assert fleet.model.gateways.places.tolist() == [5]
    assert fleet.load == 0
    path.write_text(text)
    with pytest.raises(FleetError, match="want 15.*or bound their queue"):
        build(read_spec(path), tmp_path, seed=1)


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ("", "must hold at least 1 time; got 0"),
        ("1\n0.5\n", "time 2 is 0.5"),
        ("-1\n", "time 1 is -1"),
        ("1\nnan\n", "time 2 is nan"),
        ("1\n10\n", "time 2 is 10"),
        ("1\ntwo\n", "must hold a number of seconds on each line"),
        ("1\n" * (8 << 20 | 1), "times: more than 16777216 bytes"),
    ],
)
def test_recorded_times_are_checked(tmp_path: Path, times: str, said: str) -> None:
    (tmp_path / "times").write_text(times)
    recorded = 'kind = "recorded", file = "times", period_s = 10.0'
    path = fleet_of(tmp_path, 'kind = "poisson", per_hour = 120', recorded)
    with pytest.raises(FleetError) as caught:
        build(read_spec(path), tmp_path, seed=1)
    assert said in str(caught.value)
