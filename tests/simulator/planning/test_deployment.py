"""Thresholds and replicas for a goal in a fleet: what is planned is what a fleet then does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from escalade.edge.trace import Hop, Trace, TraceRecord, write_trace
from escalade.simulator.devices import Device, Replayed
from escalade.simulator.errors import FleetError, PlanError
from escalade.simulator.fleet import read_spec, run_spec
from escalade.simulator.fleet.report import FleetReport
from escalade.simulator.planning import Goal, lines_of, tables_of
from escalade.simulator.planning.deployment import checked_a_day, plan_deployment, read_fleet
from escalade.simulator.planning.planned import Figure, Plan

MakeTrace = Callable[..., Trace]
#: Of 20,000 devices that ask 20 times an hour.
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


@pytest.fixture
def trace(make_trace: MakeTrace, tmp_path: Path) -> Trace:
    """400 queries; the device is right more often the lower its score, the cloud on nine of ten."""
    rng = np.random.default_rng(5)
    scores = rng.random(400)
    made = make_trace(
        scores.tolist(), (rng.random(400) > scores).tolist(), (rng.random(400) < 0.9).tolist()
    )
    write_trace(tmp_path / "t.jsonl", made.header, made.records)
    return made


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


def test_one_seed_gives_one_plan(trace: Trace, tmp_path: Path) -> None:
    goal = Goal(p99_s=0.2, quality=0.9)
    one, same, other = (plan(tmp_path, trace, fleet_text(), goal, seed=k) for k in (1, 1, 2))
    assert one == same != other
    told: list[tuple[int, int]] = []
    plan(
        tmp_path, trace, fleet_text(), goal, progress=lambda done, total: told.append((done, total))
    )
    assert all(done <= total for done, total in told)
    assert told[-1][0] == told[-1][1]


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
    with pytest.raises((PlanError, FleetError, Exception), match=says) as caught:
        plan(tmp_path, trace, text, goal)
    assert type(caught.value).__module__ == "escalade.simulator.errors"
