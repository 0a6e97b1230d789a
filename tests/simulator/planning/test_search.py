"""Thresholds for a goal: kept where some keep it, nearest where none do; confirmed by others."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from escalade.edge.trace import Trace
from escalade.simulator.devices import Device, Replayed
from escalade.simulator.errors import PlanError
from escalade.simulator.formats import percent
from escalade.simulator.network import Network, Profile, get_profile
from escalade.simulator.planning import Goal, lines_of, make_plan, measuring, tables_of
from escalade.simulator.planning.planned import Plan
from escalade.simulator.recorded import tiers_of
from escalade.simulator.replay import Course, Room, Setting, replay_grid
from escalade.simulator.replay.simulation import run_simulation

LTE = Network(get_profile("lte"))
MakeTrace = Callable[..., Trace]


def plan(trace: Trace, **goal: object) -> Plan:
    return make_plan(trace, [LTE], Goal(**goal), choices=200)  # type: ignore[arg-type]


def test_what_is_chosen_keeps_the_bounds_and_costs_least(trace: Trace) -> None:
    found = plan(trace, quality=0.9)
    assert (found.met, found.minimised) == (True, "money")
    (bound,) = found.bounds
    assert bound.kept == (bound.found.value >= 0.9)
    assert bound.found.low <= bound.found.value <= bound.found.high
    # A smaller goal costs no more, a greater one no less.
    calls = [plan(trace, quality=share).figures[0].calls.value for share in (0.7, 0.9, 0.97)]
    assert calls == sorted(calls)
    assert found.answered == pytest.approx([1 - calls[1], calls[1]])
    (alone,) = found.alone
    assert alone.calls.value == 1.0
    assert alone.quality is not None
    assert alone.quality.value == pytest.approx(1.0)
    assert found.deployment is None
    with pytest.raises(PlanError, match=r"replicas needs a fleet \(--fleet\)"):
        plan(trace, quality=0.9, minimise="replicas")


def test_a_99th_percentile_is_a_bound(trace: Trace) -> None:
    """One in a hundred may call, as a call takes longer; of a 95th percentile five."""
    late, early = (
        plan(trace, minimise="errors", **{name: 0.1}).figures[0] for name in ("p99_s", "p95_s")
    )
    assert late.calls.value + 0.02 < early.calls.value < 0.12
    assert early.p99_s.value > 0.1


def test_no_candidate_of_a_finer_grid_is_cheaper_and_keeps_it_by_much(trace: Trace) -> None:
    """Against every threshold there is, on the same half."""
    order = np.random.default_rng(1).permutation(600)
    half = trace._replace(records=[trace.records[k] for k in sorted(order[:300])])
    scores = sorted(record.tiers[0].score for record in half.records)  # type: ignore[union-attr]
    grid = replay_grid(half, LTE, np.array(scores)[:, None], cost="money")
    assert grid.accuracy is not None
    last = np.mean([record.tiers[1].correct for record in half.records])  # type: ignore[union-attr]
    kept = grid.accuracy / last >= 0.9
    found = make_plan(trace, [LTE], Goal(quality=0.9), choices=2000, seed=1)
    chosen = replay_grid(half, LTE, found.thresholds, cost="money")
    assert chosen.cost[0] == pytest.approx(grid.cost[kept].min())


def test_where_none_keeps_them_the_nearest_is_told(trace: Trace) -> None:
    found = plan(trace, p50_s=0.001, quality=1.2)
    assert not found.met
    assert [bound.kept for bound in found.bounds] == [False, False]
    worst = max(found.bounds, key=lambda bound: bound.missed_by)
    assert worst.missed_by == pytest.approx(abs(worst.found.value / worst.limit - 1))
    name = "p50" if worst.quantity == "p50_s" else "quality, of the last tier's"
    assert lines_of(found)[1] == f"it misses {name} on lte by {percent(worst.missed_by)}"
    fast, right = (
        plan(trace, **{name: value}) for name, value in (("p50_s", 1e-3), ("quality", 1.2))
    )
    # Of one bound: as fast, or as right, as can be.
    assert fast.figures[0].calls.value < 0.5
    assert right.figures[0].accuracy is not None
    assert found.figures[0].accuracy is not None
    assert right.figures[0].accuracy.value >= found.figures[0].accuracy.value


def test_intervals_are_the_same_however_much_of_them_memory_holds(
    trace: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = plan(trace, quality=0.9)
    monkeypatch.setattr(measuring, "_AT_ONCE", 700)
    assert plan(trace, quality=0.9) == whole
    monkeypatch.setattr(measuring, "_DRAWS", 1)
    fewer = plan(trace, quality=0.9).figures[0].calls
    assert fewer.low < fewer.value < fewer.high


def test_a_goal_holds_on_every_network(trace: Trace) -> None:
    slow = Network(get_profile("3g"))
    both = make_plan(trace, [LTE, slow], Goal(p95_s=0.2, minimise="calls"), choices=200)
    assert [one.network for one in both.figures] == ["lte", "3g"]
    assert both.met
    assert both.figures[1].calls.value <= 0.07  # hardly any may cross 300 ms


def test_the_same_seed_gives_the_same_plan_and_halves_are_apart(trace: Trace) -> None:
    one, other = (make_plan(trace, [LTE], Goal(calls=0.3), seed=seed) for seed in (1, 2))
    assert one == make_plan(trace, [LTE], Goal(calls=0.3), seed=1)
    assert one.thresholds != other.thresholds
    assert one.chosen_by + one.confirmed_by == 600


@pytest.mark.parametrize("bound", ["p95_s", "calls", "money_a_day"])
def test_a_bound_of_time_or_cost_alone_is_spent_on_right_answers(
    trace: Trace, make_trace: MakeTrace, bound: str
) -> None:
    """The device alone would keep it too."""
    goal = {"p95_s": 0.2, "calls": 0.4, "money_a_day": 1.0}[bound]
    found, cheapest = (
        plan(trace, **{bound: goal}, **_money(bound), minimise=aim) for aim in (None, "calls")
    )
    assert (found.met, found.minimised) == (True, "errors")
    (one,), (other,) = found.figures, cheapest.figures
    assert other.calls.value < one.calls.value
    assert one.accuracy is not None
    assert other.accuracy is not None
    assert other.accuracy.value + 0.01 < one.accuracy.value
    # A bound of right answers is kept at the least cost; and of answers that nobody judged, who
    # can say?
    assert plan(trace, **{bound: goal}, **_money(bound), quality=0.6).minimised == "money"
    unjudged = make_trace([0.5] * 50, [None] * 50, [None] * 50, prices=((0.0, 0.0), (1.0, 2.0)))
    blind = plan(unjudged, **{bound: goal}, **_money(bound))
    assert blind.minimised == "money"
    assert "not every answer was judged" in blind.notes[0]


def _money(bound: str) -> dict[str, float]:
    """So many queries that half of them may go up."""
    return {"queries_a_day": 1e6} if bound == "money_a_day" else {}


@pytest.mark.parametrize("minimise", ["errors", "calls", "money", "flops", "mean", "p95"])
def test_each_aim_is_least_where_it_is_asked_for(trace: Trace, minimise: str) -> None:
    found = plan(trace, accuracy=0.6, minimise=minimise)
    assert (found.met, found.minimised) == (True, minimise)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *itertools.product(
            ("p50_s", "p99_s", "quality", "accuracy", "degraded", "calls"),
            (0.0, -1.0, math.nan, math.inf),
        ),
        ("accuracy", 1.1),
        ("quality", 2.1),
        ("quality", 95),
        ("calls", 2.0),
        ("minimise", "all"),
    ],
)
def test_a_bound_out_of_range_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(PlanError, match=f"{name} must be .*; got"):
        Goal(**{"mean_s": 1.0, name: value})  # type: ignore[arg-type]


PHONE = Device(name="phone", resnet18_ms=10, watts=2.0, battery_wh=15.0, source="test")
BATTERY = {"battery_share": 0.05, "queries_a_device": 500.0, "battery_wh": 15.0}


def test_a_share_of_the_battery_is_kept_by_calling_less(trace: Trace) -> None:
    """A call takes 12.76 J: at 5 % of 15 Wh, 2,700 J, for 500 queries, 42 % of them may call."""
    setting = Setting(device=Replayed(PHONE, 1.0))
    found = make_plan(
        trace, [LTE], Goal(minimise="mean", quality=0.5, **BATTERY), setting=setting, choices=200
    )
    assert found.met
    _, bound = found.bounds
    assert (bound.quantity, bound.limit) == ("battery_share", 0.05)
    (one,), (alone,) = found.figures, found.alone
    assert one.joules is not None
    assert alone.joules is not None
    assert alone.joules.value == pytest.approx(12.76, rel=1e-3)  # and its bytes
    computed_j = 2.0 * 0.012  # the device's mean of 10 to 14 ms
    assert one.joules.value == pytest.approx(12.76 * one.calls.value + computed_j, abs=2e-3)
    assert lines_of(found)
    assert tables_of(found)[1].head[-2:] == ["J a query", "of the battery"]
    # A thousandth of the charge is too little for as many right answers; the nearest says more.
    none = Goal(quality=0.9, **(BATTERY | {"battery_share": 0.001}))
    nearest = make_plan(trace, [LTE], none, setting=setting, choices=50)
    assert not nearest.met
    assert bound.found == one.battery_share
    for each in (one, alone, *nearest.figures):
        assert each.joules is not None
        assert each.battery_share is not None
        assert msgspec.structs.astuple(each.battery_share) == pytest.approx(
            [500 * joules / (15 * 3600) for joules in msgspec.structs.astuple(each.joules)]
        )
        assert each.money_a_day is None
    known = plan(trace, quality=0.9)
    assert "money a day" not in tables_of(known)[1].head
    assert (known.figures[0].battery_share, known.figures[0].money_a_day) == (None, None)


def test_money_a_day_counts_what_links_take(make_trace: MakeTrace) -> None:
    free = make_trace([k / 100 for k in range(100)], [True] * 100, [True] * 100)
    metered = Network(Profile(name="m", rtt_ms=1, price_per_gb=1e6, source="test"))
    goal = Goal(money_a_day=100.0, queries_a_day=1000.0)
    found = make_plan(free, [metered], goal, choices=50)
    (figures,), (alone,) = found.figures, found.alone
    assert figures.money is not None
    assert alone.money is not None
    # About 490 bytes of a call at 1e-3 a byte.
    assert 0.4 < alone.money.value < 0.6
    assert figures.money.value == pytest.approx(figures.calls.value * alone.money.value, rel=0.02)
    assert found.met
    # In the goal's own units, of a plan and of the nearest where there is none.
    nearest = make_plan(
        free, [metered], Goal(money_a_day=1e-3, queries_a_day=1000.0, accuracy=1.0, calls=0.5),
        choices=50,
    )  # fmt: skip
    for one in (figures, alone, *nearest.figures):
        assert one.money is not None
        assert one.money_a_day is not None
        assert msgspec.structs.astuple(one.money_a_day) == pytest.approx(
            [1000 * money for money in msgspec.structs.astuple(one.money)]
        )
    (bound,) = found.bounds
    assert (bound.quantity, bound.limit, bound.found) == ("money_a_day", 100.0, figures.money_a_day)
    goals, does = tables_of(found)
    assert [cell.text for cell in goals.rows[0]][:3] == ["money a day", "m", "at most 100"]
    shown = [row[does.head.index("money a day")].text for row in does.rows]
    assert shown == [goals.rows[0][3].text, f"{1000 * alone.money.value:.0f}"]


LOSSY = Network(Profile(name="lossy", rtt_ms=80, jitter_ms=40, loss=0.05, source="made up"))
PHONE_TWICE = Replayed(PHONE, 2.0)


@pytest.mark.parametrize(
    "setting",
    [
        Setting(hedge_after_s=0.15),
        Setting(dialled=0.4),
        Setting(deadline_s=0.2),
        Setting(room=Room(16), device=PHONE_TWICE),
        Setting(deadline_s=0.3, hedge_after_s=0.15, dialled=0.1, room=Room(16), device=PHONE_TWICE),
    ],
    ids=["hedged", "dialled", "deadline", "early", "all"],
)
def test_a_plans_figures_are_what_simulate_says_under_the_same_setting(
    trace: Trace, setting: Setting
) -> None:
    """On the half that nothing was chosen by; each setting changes what it says."""
    goal = Goal(accuracy=0.75)
    found = make_plan(trace, [LOSSY], goal, setting=setting, choices=100, seed=1)
    order = np.random.default_rng(1).permutation(600)
    half = trace._replace(records=[trace.records[k] for k in sorted(order[300:])])
    told = run_simulation({"t": half}, [LOSSY], [found.thresholds], setting=setting, seed=1).summary
    (point,), (network,), (one,), (alone,) = told.points, told.networks, found.figures, found.alone
    latency, last = network.cascade, network.last_only
    assert (one.p50_s.value, one.p95_s.value) == (latency.p50_s, latency.p95_s)
    assert alone.p95_s.value == last.p95_s
    assert alone.mean_s.value == pytest.approx(last.mean_s)
    assert one.mean_s.value == pytest.approx(latency.mean_s)
    assert point.flops is not None
    assert one.calls.value == pytest.approx(point.calls / 300)
    assert one.accuracy is not None
    degraded = network.degraded
    if degraded is None:
        assert one.accuracy.value == pytest.approx(point.accuracy)
        assert (one.degraded, alone.degraded) == (None, None)
    else:
        assert one.degraded is not None
        assert alone.degraded is not None
        assert one.accuracy.value == pytest.approx(degraded.accuracy)
        assert (one.degraded.value, alone.degraded.value) == pytest.approx(
            (degraded.share, degraded.last_only_lost)
        )
    if setting.device is not None:
        assert one.joules is None  # the network says nothing of energy
    assert set(setting.words) <= set(found.notes)
    plain = make_plan(trace, [LOSSY], goal, choices=100, seed=1)
    assert plain.figures[0].p95_s != one.p95_s


def test_a_deadline_counts_who_is_not_answered_in_time(make_trace: MakeTrace) -> None:
    """Nothing comes over a link of 1 s within 0.5 s: the device's answers stand, right or wrong."""
    trace = make_trace([k / 100 for k in range(100)], [k % 4 > 0 for k in range(100)], [True] * 100)
    far = Network(get_profile("coe-1s"))
    setting = Setting(deadline_s=0.5)
    found = make_plan(trace, [far], Goal(degraded=0.2), setting=setting, choices=50)
    (one,), (alone,), (bound,) = found.figures, found.alone, found.bounds
    assert (found.met, bound.quantity) == (True, "degraded")
    assert one.degraded is not None
    assert one.degraded.value == one.calls.value
    assert one.accuracy is not None
    assert one.quality is not None
    assert one.quality.value == pytest.approx(one.accuracy.value)  # the last tier has all right
    assert alone.accuracy is not None
    assert alone.degraded is not None
    assert (alone.degraded.value, alone.accuracy.value) == (1.0, 0.0)
    assert tables_of(found)[1].head[-1] == "degraded"
    with pytest.raises(PlanError, match=r"degraded needs a deadline \(--deadline-s\)"):
        make_plan(trace, [far], Goal(degraded=0.2), choices=50)


def test_early_deferral_takes_its_tokens_off_what_is_least(make_trace: MakeTrace) -> None:
    """Rule `mean` of answers whose first token is as unsure as a response of 4 can need."""
    logprobs = [[-8.0, -0.1, -0.1, -0.1] if k % 2 else [-0.1] * 4 for k in range(100)]
    scores = [-sum(one) / 4 for one in logprobs]
    trace = make_trace(scores, [k % 2 == 0 for k in range(100)], [True] * 100, logprobs=logprobs)
    goal = Goal(accuracy=1.0, minimise="flops")
    setting = Setting(room=Room(4))
    early, whole = (
        measuring.Measured(trace, Course.of(tiers_of(trace), [LTE], seed=1, setting=one))
        .at([1.0])[0]
        .of("flops")
        for one in (setting, Setting())
    )
    # Half of the answers end after 1 token of 4; 100 parameters.
    assert whole - early == pytest.approx(0.5 * 3 * 2 * 100)
    assert make_plan(trace, [LTE], goal, setting=setting, choices=20).met


def test_what_a_battery_needs_is_named(trace: Trace) -> None:
    with pytest.raises(PlanError, match="battery_share needs queries_a_device beside it"):
        Goal(battery_share=0.05)
    with pytest.raises(PlanError, match="needs the battery of the device: --device"):
        Goal(battery_share=0.05, queries_a_device=5.0)
    with pytest.raises(PlanError, match=r"battery_share must be in \(0, 1\]; got 5"):
        Goal(**(BATTERY | {"battery_share": 5.0}))
    with pytest.raises(PlanError, match="needs the power of the device: --device"):
        make_plan(trace, [LTE], Goal(**BATTERY))
    setting = Setting(device=Replayed(PHONE, 1.0))
    with pytest.raises(
        PlanError, match="network 'geo' says none: joules_per_call or joules_per_mb"
    ):
        make_plan(trace, [LTE, Network(get_profile("geo"))], Goal(**BATTERY), setting=setting)
