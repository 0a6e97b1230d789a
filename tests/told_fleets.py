"""A fleet as its file tells it, run for a few minutes of virtual time."""

from __future__ import annotations

from pathlib import Path

from escalade.simulator.fleet import run_fleet
from escalade.simulator.fleet.report import FleetReport


def run(tmp_path: Path, text: str, seed: int = 1) -> FleetReport:
    path = tmp_path / "fleet.toml"
    path.write_text(text)
    return run_fleet(path, seed=seed).report


def fleet(
    arrivals: str = 'kind = "poisson", per_hour = 360',
    answers: str = "device_s = 0.01, cloud_s = 0.2, deferral_rate = 0.25",
    *,
    seconds: float = 400,
    count: int = 200,
    cloud: str = "replicas = 8",
    more: str = "",
) -> str:
    return f"""
seconds = {seconds}
[cloud]
{cloud}
[[groups]]
name = "phones"
count = {count}
profile = "coe-100ms"
arrivals = {{ {arrivals} }}
answers = {{ {answers} }}
{more}
"""
