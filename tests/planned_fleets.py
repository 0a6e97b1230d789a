"""Fleets in TOML to plan for, and what a fleet then does; shared by tests of planning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from escalade.edge.trace import Trace
from escalade.simulator.fleet import read_spec, run_spec
from escalade.simulator.fleet.report import FleetReport
from escalade.simulator.planning import Goal
from escalade.simulator.planning.deployment import plan_deployment, read_fleet
from escalade.simulator.planning.planned import Plan

#: Queries of 20,000 devices that ask 20 times an hour.
A_DAY = 20_000 * 20 * 24.0

CLOUD = """
seconds = 400
warm_up_s = 40
[cloud]
replicas = 9
price_per_hour = 2.0
{cloud}
"""
GROUP = """
[[groups]]
name = "{name}"
count = {count}
profile = "{profile}"
arrivals = {{ kind = "poisson", per_hour = 20 }}
{more}
"""


def fleet_text(*groups: str, cloud: str = "") -> str:
    return CLOUD.format(cloud=cloud) + "".join(groups or [group()])


def group(
    name: str = "phones", *, count: int = 20_000, profile: str = "lte", more: str = ""
) -> str:
    return GROUP.format(name=name, count=count, profile=profile, more=more)


def plan(folder: Path, trace: Trace, text: str, goal: Goal, **options: object) -> Plan:
    path = folder / "fleet.toml"
    path.write_text(text)
    fleet = read_fleet(path, folder / "t.jsonl")
    return plan_deployment(trace, fleet, goal, choices=50, **options)  # type: ignore[arg-type]


def run(
    folder: Path, text: str, thresholds: Sequence[float], replicas: int, seed: int
) -> FleetReport:
    """As `escalade fleet` does it, from a file with what was planned."""
    path = folder / "again.toml"
    text = text.replace("replicas = 9", f"replicas = {replicas}")
    path.write_text(text.replace('"lte"\n', f'"lte"\nthresholds = {list(thresholds)}\n'))
    return run_spec(read_spec(path, "t.jsonl"), folder, seed=seed).report


def half_of(trace: Trace, which: int) -> Trace:
    order = np.random.default_rng(1).permutation(len(trace.records))
    middle = len(order) // 2
    places = sorted(order[middle:] if which else order[:middle])
    return trace._replace(records=[trace.records[k] for k in places])
