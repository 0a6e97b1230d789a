"""What a fleet's devices draw: by hand, and what a replay of the same queries says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from escalade.edge.base import pretty_json
from escalade.edge.trace import Trace, write_trace
from escalade.simulator.devices import Replayed, devices_with
from escalade.simulator.errors import ProfileError
from escalade.simulator.fleet import lines_of, run_fleet, tables_of
from escalade.simulator.fleet.energy import EnergyRow
from escalade.simulator.fleet.frames import frames_of
from escalade.simulator.fleet.report import FleetRun
from escalade.simulator.network import (
    GRPC_BYTES_DOWN,
    GRPC_BYTES_UP,
    Network,
    get_profile,
    profiles_with,
)
from escalade.simulator.replay import Setting, replay

DEVICES = """
[mine]
resnet18_ms = 20.0
watts = 5.0
battery_wh = 10.0
source = "made"
[dark]
resnet18_ms = 20.0
battery_wh = 10.0
source = "made"
"""
NETWORKS = """
[near]
rtt_ms = 10.0
joules_per_call = 2.0
joules_per_mb = 100.0
source = "made"
[far]
rtt_ms = 50.0
joules_per_mb = 300.0
source = "made"
[silent]
rtt_ms = 10.0
source = "made"
"""
UP_J, DOWN_J = 1e-4 * (1000 + GRPC_BYTES_UP), 1e-4 * (400 + GRPC_BYTES_DOWN)
ANSWERS = (
    'device_s = 0.4, deferral_rate = 0.25, cloud_s = 0.5, spread = "constant",'
    " bytes_up = 1000, bytes_down = 400"
)
RATE = 'kind = "poisson", per_hour = 60'


def run(tmp_path: Path, text: str) -> FleetRun:
    for name, content in (("d.toml", DEVICES), ("n.toml", NETWORKS), ("fleet.toml", text)):
        (tmp_path / name).write_text(content)
    return run_fleet(
        tmp_path / "fleet.toml",
        seed=1,
        known=profiles_with(tmp_path / "n.toml"),
        devices=devices_with(tmp_path / "d.toml"),
    )


def fleet(
    group: str = 'device = "mine"',
    *,
    answers: str = ANSWERS,
    arrivals: str = RATE,
    cloud: str = "replicas = 9",
    seconds: float = 3600,
    more: str = "",
) -> str:
    profile = "" if "profile =" in group else 'profile = "near"'
    queries = "" if "trace =" in group else f"answers = {{ {answers} }}"
    return f"""
seconds = {seconds}
[cloud]
{cloud}
[[groups]]
name = "phones"
count = 100
{profile}
{group}
arrivals = {{ {arrivals} }}
{queries}
{more}
"""


def energy(found: FleetRun) -> EnergyRow:
    (row,) = found.report.energy
    return row


def test_a_query_draws_what_its_device_and_its_call_take_by_hand(tmp_path: Path) -> None:
    found = run(tmp_path, fleet())
    row, queries = energy(found), found.report.together
    assert row.computed_j == pytest.approx(5.0 * 0.4)
    share = queries.deferred / queries.queries
    assert share == pytest.approx(0.25, abs=0.02)
    assert row.called_j == pytest.approx(share * (2.0 + UP_J + DOWN_J))
    assert row.joules is not None
    assert row.joules == pytest.approx(2.0 + row.called_j)
    # An hour of 100 devices.
    assert row.queries_a_day == pytest.approx(24 * queries.queries / 100)
    assert row.joules_a_day == pytest.approx(row.queries_a_day * row.joules)
    assert row.battery_share == pytest.approx(row.joules_a_day / 36_000)
    assert row.battery_share_p99 is None
    table = {one.title: one for one in tables_of(found.report)}["Energy of devices"]
    assert [cell.text for cell in table.rows[0][:4]] == ["phones", "mine", "2.53 J", "2.00 J"]
    (frame,) = (one for one in frames_of(found) if one.name == "energy")
    assert frame.columns["battery_share"] == [row.battery_share]


def test_refused_attempts_send_their_bytes_again_and_wake_nothing(tmp_path: Path) -> None:
    found = run(tmp_path, fleet(cloud="replicas = 1\nqueue = 0", arrivals=RATE.replace("60", "90")))
    row, cloud, queries = energy(found), found.report.cloud, found.report.together
    assert cloud.refused > 100
    left = queries.deferred + queries.degraded
    by_hand = 2.0 * left + UP_J * cloud.attempts + DOWN_J * (cloud.attempts - cloud.refused)
    assert row.called_j == pytest.approx(by_hand / queries.queries)


def test_a_call_that_never_leaves_draws_nothing(tmp_path: Path) -> None:
    out = "[retries]\ndeadline_s = 0\n[[outages]]\nfrom_s = 900\nto_s = 2700\n"
    found = run(tmp_path, fleet(more=out))
    row, queries = energy(found), found.report.together
    assert queries.degraded > 0.4 * queries.deferred
    assert row.called_j == pytest.approx(queries.deferred / queries.queries * (2.0 + UP_J + DOWN_J))


def test_calls_to_gateways_and_past_them_draw_by_their_own_networks(tmp_path: Path) -> None:
    gateway = """
[[gateways]]
name = "shops"
count = 2
queue = 1
profile = "silent"
"""
    answers = f"{ANSWERS}, gateway_s = 1.5, gateway_deferral_rate = 0.4"
    group = 'device = "mine"\ngateway = "shops"\npast_gateway = "far"'
    text = fleet(group, answers=answers, arrivals=RATE.replace("60", "240"), more=gateway)
    found = run(tmp_path, text)
    row, shops, queries = energy(found), found.report.gateways[0], found.report.together
    assert min(shops.refused, shops.past) > 100
    near = UP_J * shops.attempts + DOWN_J * (shops.attempts - shops.refused)
    by_hand = 2.0 * (queries.queries - queries.answered) + near + 3 * (UP_J + DOWN_J) * shops.past
    assert row.called_j == pytest.approx(by_hand / queries.queries)


@pytest.mark.parametrize("thresholds", [(0.0, 2.0), (0.5, 0.15), (0.7, 0.7)])
def test_all_groups_draw_what_a_replay_of_their_queries_says(
    tmp_path: Path, make_trace: Callable[..., Trace], thresholds: tuple[float, float]
) -> None:
    trace = make_trace([0.1, 0.2, 0.6, 0.9] * 3, [True] * 12, [True] * 12)
    write_trace(tmp_path / "t.jsonl", trace.header, trace.records)
    keys = 'trace = "t.jsonl"\ndevice = "mine"\nthresholds = [{}]'
    one, other = (fleet(keys.format(tau)) for tau in thresholds)
    found = run(tmp_path, one + other[other.index("[[groups]]") :].replace("phones", "others"))
    known = profiles_with(tmp_path / "n.toml")
    setting = Setting(device=Replayed(devices_with(tmp_path / "d.toml")["mine"], 1.0))
    drawn = expected = 0.0
    for tau, row, group in zip(thresholds, found.report.energy, found.report.groups, strict=True):
        alone = replay(trace, Network(get_profile("near", known)), [tau], setting=setting, seed=1)
        assert alone.joules is not None
        goes_up = alone.climb.reached[-1]
        assert row.joules is not None
        drawn += group.queries * row.joules
        # Of those drawn as many went up as went up.
        for who, many in ((goes_up, group.deferred), (~goes_up, group.answered)):
            expected += many * float(alone.joules[who].mean()) if who.any() else 0.0
    assert drawn == pytest.approx(expected, rel=1e-2)


def test_the_worst_hundredth_of_devices_is_that_of_their_queries(tmp_path: Path) -> None:
    (tmp_path / "times.txt").write_text("0\n5\n7\n")
    same = fleet(arrivals='kind = "recorded", file = "times.txt", period_s = 7200', seconds=86_400)
    row = energy(run(tmp_path, same))
    assert row.battery_share_p99 == pytest.approx(row.battery_share)
    chance = fleet(seconds=86_400, arrivals=RATE.replace("60", "1"))
    row = energy(run(tmp_path, chance.replace("count = 100", "count = 4000")))
    assert row.battery_share is not None
    assert row.battery_share_p99 is not None
    # Poisson's with a mean of 24: 36 have at most so many with 99 %.
    most = row.battery_share_p99 / row.battery_share * row.queries_a_day
    assert most == pytest.approx(36, abs=1.1)


def test_what_has_no_source_stays_out_and_is_said(tmp_path: Path) -> None:
    found = run(tmp_path, fleet('device = "dark"'))
    row = energy(found)
    assert (row.computed_j, row.joules, row.battery_share) == (None, None, None)
    assert row.called_j is not None
    alone = 100 * row.queries_a_day * row.called_j / 36_000
    assert lines_of(found.report)[-1] == (
        "phones: no source has the power of dark (watts of --devices FILE), so that what its"
        f" models draw is left out; calls alone take {alone:.1f}% of the battery a day"
    )
    silent = run(tmp_path, fleet('device = "mine"\nprofile = "silent"'))
    assert (energy(silent).computed_j, energy(silent).called_j) == (pytest.approx(2.0), None)
    assert "no source has the energy of silent (joules_per_call" in lines_of(silent.report)[-1]
    # Where nothing goes up nothing is missing.
    answers = ANSWERS.replace("deferral_rate = 0.25", "deferral_rate = 0.0")
    stays = run(tmp_path, fleet('device = "mine"\nprofile = "silent"', answers=answers))
    assert (energy(stays).joules, stays.report.notes) == (pytest.approx(2.0), [])


def test_of_devices_without_a_name_nothing_is_said(tmp_path: Path) -> None:
    plain = run(tmp_path, fleet("scale = 1.0"))
    assert b"energy" not in pretty_json(plain.report)
    assert [one.title for one in tables_of(plain.report)] == [
        "Who answered",
        "Latency",
        "Over time",
    ]
    assert "energy" not in [one.name for one in frames_of(plain)]
    with pytest.raises(
        ProfileError, match=r"group 'phones': device must be one of .*did you mean 'mine'"
    ):
        run(tmp_path, fleet('device = "mime"'))
