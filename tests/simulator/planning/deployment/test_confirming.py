"""What a plan says of a deployment is what a fleet then does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from planned_fleets import A_DAY, fleet_text, group, half_of, plan, run

from escalade.edge.trace import Trace, write_trace
from escalade.simulator.planning import Goal, lines_of, tables_of
from escalade.simulator.planning.planned import Figure

MakeTrace = Callable[..., Trace]


def test_what_it_says_of_its_goal_is_of_the_other_half(trace: Trace, tmp_path: Path) -> None:
    text = fleet_text()
    found = plan(tmp_path, trace, text, Goal(p95_s=0.14, p99_s=0.3, quality=0.9, minimise="money"))
    assert found.deployment is not None
    other = half_of(trace, 1)
    write_trace(tmp_path / "t.jsonl", other.header, other.records)
    rows = [
        run(tmp_path, text, found.thresholds, found.deployment.replicas, 1 + k).together.latency
        for k in range(6)
    ]
    by: dict[str, Figure] = {bound.quantity: bound.found for bound in found.bounds}
    for quantity, values in (
        ("p95_s", sorted(row.p95 for row in rows if row is not None)),
        ("p99_s", sorted(row.p99 for row in rows if row is not None)),
    ):
        assert (by[quantity].low, by[quantity].high) == (values[0], values[-1])
        assert by[quantity].value == pytest.approx((values[2] + values[3]) / 2)
    # What no replica does anything for is as on the network alone.
    (alone,) = found.figures
    assert (by["quality"], alone.group, alone.network) == (alone.quality, "phones", "lte")
    assert [(bound.group, bound.network) for bound in found.bounds] == [("phones", "lte")] * 3


def test_a_deployment_is_what_a_fleet_then_does(trace: Trace, tmp_path: Path) -> None:
    text = fleet_text(cloud="slots = 4\nslowdown = 0.2")
    goal = Goal(mean_s=0.08, accuracy=0.7, minimise="replicas")
    found = plan(tmp_path, trace, text, goal, seed=3)
    one = found.deployment
    assert one is not None
    assert (found.met, found.minimised) == (True, "replicas")
    report = run(tmp_path, text, found.thresholds, one.replicas, 3)
    took = report.together.latency
    assert took is not None
    (row,) = one.groups
    assert (row.mean_s, row.p50_s, row.p95_s, row.p99_s) == (
        took.mean,
        took.p50,
        took.p95,
        took.p99,
    )
    assert one.utilisation == report.cloud.utilisation
    assert one.calls_per_s == report.cloud.attempts / 400
    assert one.replicas_a_day == pytest.approx(report.cloud.cost * 86_400 / 400)
    assert one.queries_a_day == A_DAY
    assert one.queries_per_s == pytest.approx(A_DAY / 86_400, rel=0.02)
    assert (one.slots, one.price_per_hour) == (4, 2.0 * one.replicas)
    assert (one.queries_cost_a_day, one.money_a_day) == (None, one.replicas_a_day)
    # Nobody is faster than where nobody waits.
    assert report.together.deferred / report.together.queries == pytest.approx(
        1 - found.answered[0], abs=0.06
    )
    assert f"{one.replicas} replica of 4 slots each" in " ".join(lines_of(found))
    assert [table.title.partition(",")[0] for table in tables_of(found)] == [
        "The goal",
        "The deployment",
        "Where nobody waits for another",
    ]


def test_tokens_links_and_replicas_are_one_bill(make_trace: MakeTrace, tmp_path: Path) -> None:
    """Two groups, of one network that is metered; and of a third group the replicas alone."""
    scores = [k / 100 for k in range(100)]
    trace = make_trace(
        scores, [k % 2 > 0 for k in range(100)], [True] * 100, prices=((0.0, 0.0), (100.0, 200.0))
    )
    write_trace(tmp_path / "t.jsonl", trace.header, trace.records)
    told = "answers = { device_s = 0.1, cloud_s = 0.5, deferral_rate = 0.3 }"
    text = fleet_text(
        group(count=1000), group("desks", count=500), group("others", count=800, more=told)
    )
    goal = Goal(p95_s=0.3, quality=0.8, money_a_day=1e6, queries_a_day=1.0)
    found = plan(tmp_path, trace, text, goal)
    one = found.deployment
    assert one is not None
    assert one.queries_cost_a_day is not None
    assert (found.met, found.minimised) == (True, "money")
    assert [row.group for row in one.groups] == ["phones", "desks", "together"]
    each = [figures.money for figures in found.figures]
    assert each[0] is not None
    # 4 to 6 tokens read at 1e-4, 3 written at 2e-4, of those that call.
    assert each[0].value == pytest.approx(found.figures[0].calls.value * 1.1e-3, rel=0.05)
    assert one.queries_cost_a_day.value == pytest.approx(1500 * 480 * each[0].value)
    assert one.replicas_a_day == 48.0 * one.replicas
    assert one.money_a_day == one.replicas_a_day + one.queries_cost_a_day.value
    assert one.queries_a_day == 2300 * 480
    bound = found.bounds[-1]
    assert (bound.quantity, bound.group, bound.network) == ("money_a_day", None, None)
    assert bound.found.value == pytest.approx(one.money_a_day)
    assert "money is of all replicas, and of members and links of phones, desks alone" in (
        found.notes
    )
    assert "with members and links" in " ".join(lines_of(found))
