"""Thresholds and replicas for a goal in a fleet: which are chosen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from planned_fleets import A_DAY, fleet_text, group, half_of, plan, run

from escalade.edge.trace import Trace, write_trace
from escalade.simulator.planning import Goal, lines_of
from escalade.simulator.planning.planned import Figure

MakeTrace = Callable[..., Trace]


def test_one_replica_less_misses_the_goal(trace: Trace, tmp_path: Path) -> None:
    """On the queries that it was chosen by, in six runs of `escalade fleet`."""
    text = fleet_text()
    found = plan(tmp_path, trace, text, Goal(p95_s=0.122, quality=0.9, minimise="money"))
    deployment = found.deployment
    assert deployment is not None
    assert found.met
    assert deployment.replicas == deployment.most == max(deployment.runs)
    assert deployment.least <= deployment.median <= deployment.most
    chosen_by = half_of(trace, 0)
    write_trace(tmp_path / "t.jsonl", chosen_by.header, chosen_by.records)
    for less in (0, 1):
        rows = [
            run(tmp_path, text, found.thresholds, deployment.replicas - less, 1 + k).together
            for k in range(6)
        ]
        took = [row.latency.p95 for row in rows if row.latency is not None]
        assert len(took) == 6
        assert (max(took) <= 0.122) is (less == 0)


@pytest.mark.slow
def test_a_bill_is_spent_on_right_answers(trace: Trace, tmp_path: Path) -> None:
    """Of money and time alone: the more money, the fewer wrong answers, up to where none helps."""
    wrong, bills = [], []
    for money in (100.0, 200.0, 1000.0):
        goal = Goal(p95_s=0.15, money_a_day=money, queries_a_day=A_DAY)
        found = plan(tmp_path, trace, fleet_text(), goal)
        assert (found.met, found.minimised) == (True, "errors")
        assert found.deployment is not None
        bills.append(found.deployment.money_a_day)
        assert bills[-1] <= money
        accuracy = found.figures[0].accuracy
        assert accuracy is not None
        wrong.append(1 - accuracy.value)
        assert found.deployment.tried < 20
        assert bills[-1] == 48.0 * found.deployment.replicas
    assert wrong[0] > wrong[1] + 0.02 > wrong[2]
    assert bills[0] < bills[1] <= bills[2]


def test_a_bill_that_no_deployment_keeps_is_told_with_the_nearest(
    trace: Trace, tmp_path: Path
) -> None:
    goal = Goal(p95_s=0.14, quality=0.97, money_a_day=60.0, queries_a_day=A_DAY)
    found = plan(tmp_path, trace, fleet_text(), goal)
    assert found.deployment is not None
    assert not found.met
    first, second, *_ = lines_of(found)
    assert first.startswith("no thresholds and replicas keep every bound; the nearest: device 0.")
    assert second.startswith("it misses ")
    missed = max(bound.missed_by for bound in found.bounds)
    # Nearer than each of what is cheap, right or fast alone.
    for other in (
        Goal(money_a_day=60.0, queries_a_day=A_DAY, minimise="money"),
        Goal(quality=0.97, p95_s=0.14, minimise="money"),
    ):
        alone = plan(tmp_path, trace, fleet_text(), other)
        assert alone.met
        assert alone.deployment is not None
        accuracy = alone.figures[0].quality
        assert accuracy is not None
        misses = max(alone.deployment.money_a_day / 60 - 1, 1 - accuracy.value / 0.97)
        assert missed < misses
    # A goal of time that the link alone takes longer than.
    late = plan(tmp_path, trace, fleet_text(), Goal(p50_s=0.05, calls=1.0, accuracy=0.88))
    assert not late.met
    assert late.deployment is not None
    assert late.deployment.tried <= 40


def test_a_goal_holds_in_every_group(trace: Trace, tmp_path: Path) -> None:
    """On 3g a call takes 0.3 s and more: hardly any of its queries may make one."""
    goal = Goal(p95_s=0.2, minimise="calls", accuracy=0.1)
    text = fleet_text(group(), group("far", profile="3g", count=100))
    found = plan(tmp_path, trace, text, goal)
    assert found.met
    assert [bound.group for bound in found.bounds] == ["phones"] * 2 + ["far"] * 2
    assert all(bound.kept for bound in found.bounds)
    assert found.figures[1].calls.value < 0.06
    near = plan(tmp_path, trace, fleet_text(), Goal(p95_s=0.2, accuracy=0.8))
    assert near.figures[0].calls.value > 0.3


@pytest.mark.slow
def test_who_is_degraded_is_not_answered_and_counts_as_wrong(trace: Trace, tmp_path: Path) -> None:
    """A queue of nobody refuses; so does an outage, which no replica does anything for."""
    short = fleet_text(group(count=3000), cloud="queue = 0\n[retries]\ndeadline_s = 0")
    few, many = (
        plan(tmp_path, trace, short, Goal(degraded=share, quality=0.8, minimise="replicas"))
        for share in (0.1, 0.001)
    )
    assert few.deployment is not None
    assert many.deployment is not None
    assert few.met
    assert many.met
    assert few.deployment.replicas < many.deployment.replicas
    assert few.deployment.groups[0].degraded > 0.002
    assert "no bound is of time: as many replicas as keep up, before which queries wait" in (
        few.notes
    )
    outage = "[[outages]]\nfrom_s = 100\nto_s = 300\n"
    cut = plan(
        tmp_path, trace, fleet_text(group(count=3000), outage), Goal(accuracy=0.85, p50_s=1.0)
    )
    whole = plan(tmp_path, trace, fleet_text(group(count=3000)), Goal(accuracy=0.85, p50_s=1.0))
    assert (cut.met, whole.met) == (False, True)
    assert cut.figures[0].accuracy is not None
    by: dict[str, Figure] = {bound.quantity: bound.found for bound in cut.bounds}
    assert cut.deployment is not None
    lost = cut.deployment.groups[0].degraded
    assert by["accuracy"].value == pytest.approx(cut.figures[0].accuracy.value - lost, abs=0.02)
    # Half of the time nobody is answered that calls: fewer than one in ten may, for a 95th
    # percentile; who is nearest loses few.
    cut_off = fleet_text(group(count=3000), outage)
    none = plan(tmp_path, trace, cut_off, Goal(p95_s=9.0, quality=0.9))
    assert not none.met
    assert none.deployment is not None
    assert none.deployment.groups[0].degraded < 0.08
    assert plan(tmp_path, trace, cut_off, Goal(p95_s=9.0, calls=0.5)).met


def test_one_seed_gives_one_plan(trace: Trace, tmp_path: Path) -> None:
    goal = Goal(p99_s=0.2, quality=0.9)
    told: list[tuple[int, int]] = []
    one, other = (plan(tmp_path, trace, fleet_text(), goal, seed=k) for k in (1, 2))
    same = plan(
        tmp_path, trace, fleet_text(), goal, progress=lambda done, total: told.append((done, total))
    )
    assert one == same != other
    assert all(done <= total for done, total in told)
    assert told[-1][0] == told[-1][1]
