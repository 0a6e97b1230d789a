"""Fleets that are planned for: devices, gateways and servers of a file, and what it cannot ask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from planned_fleets import A_DAY, fleet_text, group, plan

from escalade.edge.trace import Hop, Trace, TraceRecord, write_trace
from escalade.simulator.devices import Device, Replayed
from escalade.simulator.errors import PlanError, SimulatorError
from escalade.simulator.planning import Goal
from escalade.simulator.planning.deployment import checked_a_day, plan_deployment, read_fleet

MakeTrace = Callable[..., Trace]


def test_a_slower_device_and_its_battery(trace: Trace, tmp_path: Path) -> None:
    """A call takes 12.76 J of 5 % of 15 Wh, for 480 queries a day of the busiest group."""
    phone = Replayed(Device(name="p", resnet18_ms=10, watts=2.0, battery_wh=15.0, source="t"), 2.0)
    path = tmp_path / "fleet.toml"
    path.write_text(fleet_text())
    fleet = read_fleet(path, tmp_path / "t.jsonl", device=phone)
    assert fleet.queries_a_device == 480
    assert [one.scale for one in fleet.spec.groups] == [2.0]
    goal = Goal(
        p95_s=0.2, minimise="errors", battery_share=0.05, queries_a_device=480, battery_wh=15.0
    )
    found = plan_deployment(trace, fleet, goal, choices=100)
    assert found.met
    assert found.figures[0].calls.value < 0.05 * 15 * 3600 / 480 / 12.76
    assert found.deployment is not None
    (alone,) = found.figures
    assert alone.p50_s.value >= 2 * 0.012
    assert found.deployment.groups[0].p50_s == pytest.approx(alone.p50_s.value, rel=0.1)
    # The same by a group's own scale; and two that differ.
    text = fleet_text(group(more="scale = 2.0"))
    scaled = plan(tmp_path, trace, text, Goal(p95_s=0.2, quality=0.9))
    plain = plan(tmp_path, trace, fleet_text(), Goal(p95_s=0.2, quality=0.9))
    more_s = scaled.figures[0].mean_s.value - plain.figures[0].mean_s.value
    assert more_s == pytest.approx(0.012, rel=0.1)
    path.write_text(text.replace("2.0\n", "3.0\n"))
    with pytest.raises(PlanError, match="its scale must be that of --device, 2, or be left out"):
        read_fleet(path, tmp_path / "t.jsonl", device=phone)


def test_a_trace_of_gateways_is_planned_with_them(
    make_trace: MakeTrace, with_answer: Callable[..., TraceRecord], tmp_path: Path
) -> None:
    """Every second query stayed at the gateway: the cloud has half of those that go up."""
    made = make_trace([k / 100 for k in range(100)], [k % 3 > 0 for k in range(100)], [True] * 100)
    own = Hop(tier="gateway", place="gateway", model="m", seconds=0.01)
    behind = Hop(tier="large", place="cloud", model="l", seconds=0.01)
    trace = made._replace(
        records=[
            with_answer(record, 1, hops=[own, behind] if k % 2 else [own])
            for k, record in enumerate(made.records)
        ]
    )
    write_trace(tmp_path / "t.jsonl", trace.header, trace.records)
    gateways = '[[gateways]]\nname = "shops"\ncount = 40\nslots = 4\nprofile = "coe-100ms"\n'
    text = fleet_text(group(more='gateway = "shops"'), gateways)
    found = plan(tmp_path, trace, text, Goal(p95_s=0.5, quality=0.9))
    assert found.met
    assert found.figures[0].network == "coe-100ms, cloud=lte"
    # Over both links, of which the fleet has the same.
    row = found.deployment.groups[0] if found.deployment is not None else None
    assert row is not None
    assert row.p99_s == pytest.approx(found.figures[0].p99_s.value, rel=0.1)
    # Without a gateway in the fleet what is behind one is the server's.
    plain = plan(tmp_path, trace, fleet_text(), Goal(p95_s=0.5, quality=0.9))
    assert plain.figures[0].p99_s.value < found.figures[0].p99_s.value - 0.09


def test_a_cloud_of_another_server_is_planned_by_its_fit(trace: Trace, tmp_path: Path) -> None:
    """A call took 20 ms and more on the recorder's; here 1, with 3 tokens, and none beside."""
    goal = Goal(p95_s=0.095, quality=0.9)
    slow = plan(tmp_path, trace, fleet_text(), goal)
    fast = plan(tmp_path, trace, fleet_text(cloud="start_s = 4e-4\ntoken_s = 2e-4"), goal)
    assert (slow.met, fast.met) == (False, True)
    assert fast.deployment is not None
    assert fast.deployment.replicas == 1
    # Where nobody waits that is what the fleet's own calls take, too.
    (alone,), (row,) = fast.figures, fast.deployment.groups
    assert row.p95_s == pytest.approx(alone.p95_s.value, rel=0.02)


def test_what_a_fleet_says_of_a_day(trace: Trace, tmp_path: Path) -> None:
    (tmp_path / "times").write_text("0\n1\n2.5\n")
    path = tmp_path / "fleet.toml"
    daily = f'kind = "daily", per_hour = 5, hours = {[1] * 24}'
    path.write_text(
        fleet_text(
            group("a", count=10).replace(
                'kind = "poisson", per_hour = 20', 'kind = "recorded", file = "times", period_s = 5'
            ),
            group("b", count=10).replace('kind = "poisson", per_hour = 20', daily),
            cloud="scaling = { least = 1, most = 20 }",
        )
    )
    fleet = read_fleet(path, tmp_path / "t.jsonl")
    assert fleet.queries_a_day == 10 * 3 * 86_400 / 5 + 10 * 5 * 24
    assert fleet.queries_a_device == 3 * 86_400 / 5
    assert fleet.notes == [
        "scaling is left aside: replicas are there all the time",
        "the run is of 0.111 hours from midnight on: what other hours of a day ask for is not met"
        " in it",
    ]
    assert checked_a_day("queries", None, 999_936.0) == 999_936.0
    assert checked_a_day("queries", 1e6, 999_936.0) == 999_936.0
    for wrong in (9e5, float("nan"), float("inf")):
        with pytest.raises(PlanError, match="must be what the fleet's arrivals are, 999,936 a day"):
            checked_a_day("queries", wrong, 999_936.0)


@pytest.mark.parametrize(
    ("text", "goal", "says"),
    [
        (
            fleet_text(group(more="answers = { device_s = 1, cloud_s = 1, deferral_rate = 1 }")),
            Goal(calls=0.5),
            r"at least 1 group must have .*t.jsonl as its trace, or .*; got 'phones': answers",
        ),
        (
            fleet_text(group(more='trace = "other.jsonl"')),
            Goal(calls=0.5),
            "got 'phones': other.jsonl",
        ),
        (
            fleet_text().replace("price_per_hour = 2.0", ""),
            Goal(money_a_day=5.0, queries_a_day=A_DAY),
            "money needs the price of replicas .price_per_hour of the fleet's cloud.",
        ),
        (fleet_text().replace('"lte"', '"lta"'), Goal(calls=0.5), "group 'phones': profile must"),
        (
            fleet_text().replace("per_hour = 20", "per_hour = 3.6e6"),
            Goal(calls=0.5),
            "queries of a run must be at most|must be at work less than 100%",
        ),
        (
            fleet_text().replace("per_hour = 20", "per_hour = 1e-9"),
            Goal(p95_s=1.0),
            "no query came in a run",
        ),
        (
            fleet_text(
                group(),
                group(
                    "others",
                    count=1_000_000,
                    more="answers = { device_s = 0, cloud_s = 99, deferral_rate = 1 }",
                ),
            ),
            Goal(calls=0.5),
            "this fleet cannot be served: its queries keep .* replicas at work",
        ),
    ],
)
def test_what_cannot_be_planned_is_refused_by_name(
    trace: Trace, tmp_path: Path, text: str, goal: Goal, says: str
) -> None:
    with pytest.raises(SimulatorError, match=says):
        plan(tmp_path, trace, text, goal)
