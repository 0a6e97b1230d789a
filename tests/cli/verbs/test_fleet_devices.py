"""What a fleet's file says its devices are: one rule for `fleet`, its `--p99-s`, `plan --fleet`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_traces import cloud, deferrable, device, header

from escalade.edge.trace import write_trace

Invoke = Callable[..., tuple[int, str, str]]

DEVICES = """
[mine]
resnet18_ms = 20.0
watts = 5.0
battery_wh = 10.0
source = "made"
[dark]
resnet18_ms = 40.0
source = "made"
"""
FLEET = """
seconds = 300
[cloud]
replicas = {replicas}
price_per_hour = 2.5
[[groups]]
name = "phones"
count = 2000
profile = "lte"
device = "{phones}"
trace = "day.trace"
arrivals = {{ kind = "poisson", per_hour = 20 }}
[[groups]]
name = "others"
count = 500
profile = "lte"
device = "{others}"
answers = {{ device_s = 0.1, cloud_s = 0.3, deferral_rate = 0.2 }}
arrivals = {{ kind = "poisson", per_hour = 60 }}
"""
#: What each verb is told beside the fleet's file.
VERBS = {
    "fleet": ("fleet", "{fleet}"),
    "capacity": ("fleet", "{fleet}", "--p99-s", 5),
    "plan": ("plan", "{trace}", "--fleet", "{fleet}", "--calls", 0.6, "--p95-ms", 400),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_trace(tmp_path / "day.trace", header(device(), cloud()), deferrable(100))
    (tmp_path / "devices.toml").write_text(DEVICES)
    return tmp_path


def fleet_of(folder: Path, phones: str = "mine", others: str = "mine", replicas: int = 9) -> Path:
    path = folder / "fleet.toml"
    path.write_text(FLEET.format(phones=phones, others=others, replicas=replicas))
    return path


def arguments(verb: str, folder: Path) -> list[object]:
    paths = {"fleet": folder / "fleet.toml", "trace": folder / "day.trace"}
    return [str(one).format(**paths) for one in VERBS[verb]]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("group", ["phones", "others"])
def test_an_unknown_device_is_refused_by_name(
    folder: Path, invoke: Invoke, verb: str, group: str
) -> None:
    """Of whichever group, and before the trace is read."""
    fleet_of(folder, **{group: "mime"})
    (folder / "day.trace").write_text("no trace\n")
    code, out, err = invoke(*arguments(verb, folder), "--devices", folder / "devices.toml")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"group {group!r}: device must be one of " in err
    assert err.endswith("; got 'mime'; did you mean 'mine'?\n")


@pytest.mark.parametrize("verb", VERBS)
def test_a_device_of_a_users_own_needs_its_file(folder: Path, invoke: Invoke, verb: str) -> None:
    fleet_of(folder)
    code, out, err = invoke(*arguments(verb, folder))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "group 'phones': device must be one of " in err
    (folder / "devices.toml").write_text('[mine]\nresnet18_ms = -1\nsource = "made"\n')
    code, out, err = invoke(*arguments(verb, folder), "--devices", folder / "devices.toml")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "device 'mine': resnet18_ms must be" in err


def test_each_verb_says_what_its_fleet_then_draws(folder: Path, invoke: Invoke) -> None:
    """Number for number what a run of the planned fleet says, and in a table."""
    known = ("--devices", folder / "devices.toml")
    fleet_of(folder)

    def told(*arguments: object) -> dict[str, Any]:
        code, out, err = invoke(*arguments, *known, "--json")
        assert (code, err) == (0, "")
        found: dict[str, Any] = json.loads(out)
        return found

    planned = told(*arguments("plan", folder), "--out", folder / "planned.toml")["deployment"]
    assert [row["group"] for row in planned["energy"]] == ["phones", "others"]
    assert planned["energy"] == told("fleet", folder / "planned.toml")["energy"]
    capacity = told(*arguments("capacity", folder))
    fleet_of(folder, replicas=capacity["most"])
    run = told(*arguments("fleet", folder))
    assert capacity["energy"] == run["energy"]
    assert all(row["battery_share"] > 0 for row in run["energy"])
    assert capacity["notes"] == run["notes"]
    for verb in VERBS:
        code, out, _ = invoke(*arguments(verb, folder), *known)
        assert code == 0
        assert "Energy of devices" in out


@pytest.mark.parametrize("verb", VERBS)
def test_what_no_source_says_of_a_device_is_said(folder: Path, invoke: Invoke, verb: str) -> None:
    fleet_of(folder, others="dark")
    code, out, _ = invoke(*arguments(verb, folder), "--devices", folder / "devices.toml")
    assert code == 0
    assert "others: no source has the power of dark" in " ".join(out.split())


def test_a_battery_is_kept_by_a_fleets_own_devices(folder: Path, invoke: Invoke) -> None:
    known = ("--devices", folder / "devices.toml", "--json")
    fleet_of(folder)
    asked = ("plan", folder / "day.trace", "--fleet", folder / "fleet.toml", "--battery-share")
    code, out, err = invoke(*asked, 0.5, *known)
    assert (code, err) == (0, "")
    found = json.loads(out)
    (bound,) = (one for one in found["bounds"] if one["quantity"] == "battery_share")
    assert bound["limit"] == 0.5
    (figures,) = found["figures"]
    joules = figures["joules"]["value"]
    assert bound["found"]["value"] == pytest.approx(joules * 20 * 24 / (10 * 3600))
    fleet_of(folder, phones="dark")
    code, out, err = invoke(*asked, 0.5, *known)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "battery_share needs the battery of the device" in err


def test_a_device_in_place_of_the_recorder_must_not_contradict_the_file(
    folder: Path, invoke: Invoke
) -> None:
    fleet_of(folder)
    code, out, err = invoke(
        *arguments("plan", folder), "--devices", folder / "devices.toml", "--device", "mine=dark"
    )
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "group 'phones': its device must be that of --device, 'dark', or be left out" in err
