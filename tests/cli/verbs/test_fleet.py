"""`escalade fleet` on a small fleet."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

Invoke = Callable[..., tuple[int, str, str]]

FLEET = """
seconds = 120
[cloud]
replicas = 5
price_per_hour = 2
[[groups]]
name = "phones"
count = 100
profile = "lte"
arrivals = { kind = "poisson", per_hour = 360 }
answers = { device_s = 0.1, cloud_s = 0.8, deferral_rate = 0.25 }
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(FLEET)
    return path


def test_a_fleet_is_told_in_tables_and_in_json(spec: Path, invoke: Invoke) -> None:
    code, out, _ = invoke("fleet", spec)
    assert code == 0
    for said in ("100 devices", "Who answered", "Latency", "Over time", "phones, cloud's", "cost"):
        assert said in out
    code, out, _ = invoke("fleet", spec, "--json")
    said = json.loads(out)
    assert code == 0
    assert said["together"]["queries"] == sum(
        said["together"][name] for name in ("answered", "deferred", "degraded", "dropped")
    )
    assert invoke("fleet", spec, "--json")[1] == out
    assert invoke("fleet", spec, "--json", "--seed", 2)[1] != out


def test_replicas_for_a_goal(spec: Path, invoke: Invoke) -> None:
    code, out, _ = invoke("fleet", spec, "--p99-s", 5)
    assert code == 0
    assert "replicas answer 99 of 100 queries within 5.00 s in all of 6 runs" in out
    assert "97% interval" in out
    said = json.loads(invoke("fleet", spec, "--p99-s", 5, "--json")[1])
    assert said["least"] <= said["median"] <= said["most"]


def test_what_cannot_be_is_one_line(spec: Path, invoke: Invoke) -> None:
    code, out, err = invoke("fleet", spec, "--p99-s", 0)
    assert (code, out) == (2, "")
    assert err == "error: p99_s must be in (0, 3.2e+09]; got 0\n"
    spec.write_text(FLEET.replace("cloud_s = 0.8", "cloud_s = 8"))
    code, out, err = invoke("fleet", spec)
    assert (code, out) == (2, "")
    assert "this fleet cannot be served" in err
    assert err.count("\n") == 1


def test_a_fleet_meets_a_network_of_a_users_own(spec: Path, tmp_path: Path, invoke: Invoke) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('[moon]\nrtt_ms = 2600\nsource = "light"\n')
    spec.write_text(re.sub(r'profile = "\w+"', 'profile = "moon"', spec.read_text()))
    code, out, err = invoke("fleet", spec)
    assert (code, out) == (2, "")
    assert "profile must be one of free" in err
    code, out, _ = invoke("fleet", spec, "--profiles", mine, "--json")
    assert code == 0
    assert json.loads(out)["together"]["latency_deferred"]["p50"] > 2.6
