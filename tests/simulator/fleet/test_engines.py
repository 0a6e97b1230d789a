"""Both engines on the same fleets: the same latencies, to the last bit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from plain_fleet import simulate_plainly
from small_fleets import Group, at_gateways, gateways_of, model_of

from escalade.simulator.errors import FleetError
from escalade.simulator.fleet.engine import (
    ANSWERED,
    DEFERRED,
    DEGRADED,
    Model,
    Tally,
    fast,
)
from escalade.simulator.fleet.engine.fast import simulate
from escalade.simulator.fleet.engine.servers import run_unqueued
from escalade.simulator.fleet.engine.stretches import ends_s

# Few different numbers, and those that add up exactly, so that many things happen at one time.
_SECONDS = st.sampled_from([0.0, 0.125, 0.25, 0.5, 0.3, 1.7])
_RECORDS = st.integers(1, 4)
# When a fleet's run ends, and what is lost in any moment of it.
_END_S, _NO_TIME_S = 10.0, 2.0**-60
# Mostly no delay at all, so that whole chains of events are at one time.
_TIED_SECONDS = st.sampled_from([0.0, 0.0, 0.0, 0.125, 0.25, 0.3])


@st.composite
def groups(draw: st.DrawFn, a_time: st.SearchStrategy[float] = _SECONDS) -> Group:
    records = draw(_RECORDS)
    column = st.lists(a_time, min_size=records, max_size=records)
    start = draw(st.sampled_from([0.0, 2.0]))
    way = draw(st.sampled_from(["rate", "pieces", "arrivals"]))
    return Group(
        devices=draw(st.integers(1, 4)),
        rate=draw(st.sampled_from([0.3, 1.0, 3.0])),
        device_s=draw(column),
        defers=draw(st.lists(st.booleans(), min_size=records, max_size=records)),
        cloud_s=draw(column),
        up_s=draw(st.lists(a_time, min_size=2, max_size=2)),
        down_s=draw(st.lists(a_time, min_size=2, max_size=2)),
        pieces=[(0.0, 2.0), (1.0, 0.0), (2.5, 1.0)] if way == "pieces" else (),
        arrivals=[0.0, 0.5, 0.5, 1.0] if way == "arrivals" else (),
        period_s=2.0,
        outages=[(start, start + 1.5), (6.0, 6.5)] if draw(st.booleans()) else (),
        priority=draw(st.integers(0, 2)),
        idle_s=draw(st.sampled_from([None, None, 0.0, 0.5, 3.0])),
        open_s=draw(st.lists(a_time, min_size=2, max_size=2)),
        first_up_s=draw(st.lists(a_time, min_size=2, max_size=2)),
        gateway=draw(st.sampled_from([-1, 0, 1])),
        gateway_s=draw(column),
        goes_on=draw(st.lists(st.booleans(), min_size=records, max_size=records)),
        near_up_s=draw(st.lists(a_time, min_size=2, max_size=2)),
        near_down_s=draw(st.lists(a_time, min_size=2, max_size=2)),
        outages_beyond=[(start + 1.0, start + 3.0)] if draw(st.booleans()) else (),
        beyond_open_s=draw(st.lists(a_time, min_size=2, max_size=2)),
        beyond_first_up_s=draw(st.lists(a_time, min_size=2, max_size=2)),
        goes_past=draw(st.booleans()),
        past_up_s=draw(st.lists(a_time, min_size=2, max_size=2)),
        past_down_s=draw(st.lists(a_time, min_size=2, max_size=2)),
        past_open_s=draw(st.lists(a_time, min_size=2, max_size=2)),
        past_first_up_s=draw(st.lists(a_time, min_size=2, max_size=2)),
        outages_past=[(start + 0.5, start + 2.0)] if draw(st.booleans()) else (),
    )


@st.composite
def tied_groups(draw: st.DrawFn) -> Group:
    """To all devices queries come at the very same moments: where each begins in them is next to 0,
    and they are over before they would come again."""
    moments = draw(st.lists(st.sampled_from([0.5, 0.625, 1.0, 2.5]), min_size=1, max_size=4))
    arrivals = [*sorted(moments), 2 * _END_S]
    return replace(draw(groups(_TIED_SECONDS)), arrivals=arrivals, period_s=_NO_TIME_S)


@st.composite
def changes(draw: st.DrawFn) -> dict[str, Any]:
    replicas = draw(st.integers(1, 3))
    scaled = draw(st.booleans())
    return {
        "seed": draw(st.integers(0, 2**32 - 1)),
        "slots": draw(st.integers(1, 3)),
        "slowdown": draw(st.sampled_from([0.0, 0.3, 1.0])),
        "queue": draw(st.sampled_from([0, 2, 2**62])),
        "replicas": replicas,
        "least_replicas": 1 if scaled else replicas,
        "most_replicas": 5 if scaled else replicas,
        "deadline_s": draw(st.sampled_from([0.05, 2.0])),
        "startup_s": draw(st.sampled_from([0.0, 0.7])),
        "settle_s": draw(st.sampled_from([0.0, 2.0])),
    }


@pytest.fixture(autouse=True)
def little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that blocks are interrupted."""
    monkeypatch.setattr(fast, "_ROOM", 5)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(groups(), min_size=1, max_size=3),
    changes(),
    st.tuples(st.integers(1, 3), st.integers(1, 2)),
    st.integers(1, 3),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from([(), (0, 0), (0, 2), (2, 2**62)]),
    st.sampled_from([None, 0.0, 0.5]),
)
def test_the_fast_engine_equals_the_plain_one(
    fleet: list[Group],
    changed: dict[str, Any],
    counts: tuple[int, int],
    slots: int,
    slowdown: float,
    queues: tuple[int, ...],
    idle_s: float | None,
) -> None:
    near = gateways_of(fleet, counts, slots, slowdown, queues, idle_s)
    _hold(model_of(fleet, gateways=near, **changed), stretch=8)


# The calls of one device that come at once: one is in the gateway's slot when the next is decided.
@example([Group(device_s=[0.0] * 2, defers=[True] * 2, cloud_s=[0.0, 0.125], up_s=[0.0] * 2,
                gateway=0, gateway_s=[0.0, 0.25], goes_on=[True] * 2, period_s=_NO_TIME_S,
                arrivals=[0.5, 0.5, 1.0, 20.0])] * 3,
         {"slots": 1, "queue": 0, "deadline_s": 2.0}, (1, 1), 1, 0.0, (), None)  # fmt: skip
@settings(max_examples=200, deadline=None)
@given(
    st.lists(tied_groups(), min_size=1, max_size=3),
    changes(),
    st.tuples(st.integers(1, 3), st.integers(1, 2)),
    st.integers(1, 3),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.sampled_from([(), (0, 0), (0, 2), (2, 2**62)]),
    st.sampled_from([None, 0.0, 0.5]),
)
def test_both_engines_order_alike_what_is_at_one_time(
    fleet: list[Group],
    changed: dict[str, Any],
    counts: tuple[int, int],
    slots: int,
    slowdown: float,
    queues: tuple[int, ...],
    idle_s: float | None,
) -> None:
    """Devices come first, the cloud last; who comes to one of these at one time comes by key."""
    near = gateways_of(fleet, counts, slots, slowdown, queues, idle_s)
    model = model_of(fleet, gateways=near, **changed)
    # So that there are three stretches: the period is no time, and far too many are expected.
    expected = sum(one.devices * len(one.arrivals) for one in fleet) * _END_S / _NO_TIME_S
    _hold(model, stretch=int(expected / 3))


def _hold(model: Model, *, stretch: int) -> None:
    """Hold the fast engine to the plain one."""
    plain = simulate_plainly(model)
    outcome = simulate(model, windows=3, threads=2, keep=True, stretch=stretch)
    kept = outcome.kept
    assert kept is not None
    assert kept.key.tolist() == plain.key.tolist()
    assert kept.outcome.tolist() == plain.outcome.tolist()
    assert kept.latency_s.tobytes() == plain.latency_s.tobytes()
    # What is counted is what is kept.
    assert outcome.tally.arrived.sum() == len(plain.key) == outcome.tally.histogram.sum()
    of_outcome = outcome.tally.histogram.sum(axis=(0, 2))
    assert of_outcome.tolist() == np.bincount(plain.outcome, minlength=4).tolist()
    turned = np.zeros_like(outcome.tally.near_refused)
    for group, at_s in plain.turned:
        turned[group, min(int(at_s / _END_S * 3), 3)] += 1  # the last: after the end
    assert outcome.tally.near_refused.tolist() == turned.tolist()
    # 99 of 100 of so few devices are all.
    device, queries = np.unique(plain.key >> 32, return_counts=True)
    whose = np.searchsorted(model.first_device, device, side="right") - 1
    most = [queries[whose == k].max(initial=0) for k in range(len(model.priority))]
    assert outcome.busiest.tolist() == most


@settings(max_examples=100, deadline=None)
@given(
    st.lists(groups(), min_size=1, max_size=3),
    changes(),
    st.tuples(st.integers(1, 3), st.integers(1, 2)),
    st.sampled_from([(), (0, 0), (0, 2), (2, 2**62)]),
    st.booleans(),
)
def test_no_query_is_lost_in_the_accounts(
    fleet: list[Group],
    changed: dict[str, Any],
    counts: tuple[int, int],
    queues: tuple[int, ...],
    has_outages: bool,
) -> None:
    """Each ends once, and what gateways and the cloud count adds up to that."""
    if not has_outages:
        fleet = [replace(one, outages=()) for one in fleet]
    model = model_of(fleet, gateways=gateways_of(fleet, counts, queues=queues), **changed)
    outcome = simulate(model, windows=3, threads=2, keep=True, stretch=8)
    tally, kept = outcome.tally, outcome.kept
    assert kept is not None
    assert len({*kept.key.tolist()}) == len(kept.key) == tally.arrived.sum()
    ends = tally.histogram.sum(axis=2)
    assert ends.sum() == len(kept.key)
    # The cloud answers every attempt that it does not refuse.
    assert tally.sent.sum() - tally.refused.sum() == ends[:, DEFERRED].sum()
    # Who finds a place at a gateway, goes past it or is turned away was meant for one; of others so
    # meant no call left.
    behind = model.gateways.kind >= 0
    came, refused, past, turned_away = at_gateways(tally)
    meant = ends[behind].sum() - ends[behind, ANSWERED].sum()
    cut_off = meant - (came - refused + past + turned_away)
    assert 0 <= cut_off <= ends[behind, DEGRADED].sum() - turned_away
    assert has_outages or cut_off == 0
    if not queues:
        assert refused == turned_away == 0


@pytest.mark.parametrize("slots", [1, 3, 40])
def test_who_finds_a_slot_is_served_without_a_queue_and_ends_as_in_one(
    slots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some stretches have a queue, others none; of 40 slots none has one."""
    fleet = [Group(devices=20, rate=0.5, cloud_s=(0.5, 0.0, 0.3), device_s=(0.1, 0.2, 0.0),
                   defers=(True, True, True), down_s=(0.0, 0.25), up_s=(0.125, 0.0))]  # fmt: skip
    model = model_of(fleet, replicas=2, slots=slots, queue=6, warm_up_s=1.0)
    ran: list[bool] = []

    def counted(*arguments: Any) -> bool:
        ran.append(run_unqueued(*arguments))
        return ran[-1]

    monkeypatch.setattr(fast, "run_unqueued", counted)
    found = simulate(model, windows=7, threads=2, keep=True, stretch=8)
    assert {1: False in ran, 3: {*ran} == {True, False}, 40: all(ran)}[slots], ran
    monkeypatch.setattr(fast, "run_unqueued", lambda *_: False)
    queued = simulate(model, windows=7, threads=2, keep=True, stretch=8)
    assert found.kept is not None
    assert queued.kept is not None
    for name in ("key", "outcome", "latency_s"):
        assert getattr(found.kept, name).tobytes() == getattr(queued.kept, name).tobytes()
    for name in ("histogram", "arrived", "sent", "refused", "degraded", "left"):
        assert getattr(found.tally, name).tolist() == getattr(queued.tally, name).tolist()
    for name in ("used_s", "waited_s", "paid_s"):
        assert getattr(found, name) == pytest.approx(getattr(queued, name), abs=1e-9)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_two_runs_give_the_same_bytes_on_any_number_of_threads(threads: int) -> None:
    fleet = [
        Group(devices=40, device_s=(0.1, 0.2), defers=(True, False), cloud_s=(0.03, 0.0)),
        Group(devices=20, outages=[(3.0, 4.0)], cloud_s=(0.05,), priority=1),
        Group(devices=30, gateway=0, gateway_s=(0.2,), near_up_s=(0.01,)),
    ]
    shared = gateways_of(fleet, [3], slots=2, slowdown=0.1)
    model = model_of(fleet, queue=3, slots=2, slowdown=0.4, gateways=shared)
    one = simulate(model, windows=5, threads=1, stretch=64)
    other = simulate(model, windows=5, threads=threads, stretch=64)
    for name in Tally._fields:
        assert getattr(one.tally, name).tobytes() == getattr(other.tally, name).tobytes()
    for name in ("used_s", "waited_s", "paid_s", "gateways_s"):
        assert getattr(one, name).tobytes() == getattr(other, name).tobytes()


def test_another_device_changes_nothing_for_those_before_it() -> None:
    few = simulate(model_of([Group(devices=5, defers=(False,))]), windows=1, threads=1, keep=True)
    more = simulate(model_of([Group(devices=6, defers=(False,))]), windows=1, threads=1, keep=True)
    assert few.kept is not None
    assert more.kept is not None
    assert more.kept.key[: len(few.kept.key)].tolist() == few.kept.key.tolist()
    assert len(more.kept.key) > len(few.kept.key)


@pytest.mark.parametrize("device_s", [0.125, 4.0])
def test_scaling_goes_on_until_the_last_answer(device_s: float) -> None:
    """A device may have queries to send long after the last one came."""
    group = Group(3, device_s=(device_s, 1.0), defers=(True, True), cloud_s=(3.0, 0.5))
    model = model_of([group], replicas=1, least_replicas=1, most_replicas=4, queue=0)
    plain, fast_one = simulate_plainly(model), simulate(model, windows=1, threads=1, keep=True)
    assert fast_one.kept is not None
    assert fast_one.kept.latency_s.tobytes() == plain.latency_s.tobytes()


def test_as_many_queries_come_in_one_stretch_as_in_another() -> None:
    """Memory holds a stretch: those of a day whose queries all come in one hour are short there."""
    rush = Group(devices=50, pieces=[(0.0, 0.0), (4.0, 100.0), (5.0, 0.0)])
    recorded = Group(devices=10, arrivals=[0.0, 0.5], period_s=1.0)
    ends = ends_s(model_of([rush, recorded]), stretch=520)
    assert len(ends) == 10
    assert ends[-1] == 10.0
    expected = [20 * at + 5000 * min(max(at - 4.0, 0.0), 1.0) for at in [0.0, *ends]]
    assert np.diff(expected) == pytest.approx([520.0] * 10)


def test_calls_that_pile_up_are_refused_before_memory_is_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fast, "MOST_CALLS", 50)
    group = Group(devices=10, rate=2.0, cloud_s=(1.0,))
    with pytest.raises(
        FleetError, match=r"must be at most 50 at once; got \d+ by \d.* s: give more"
    ):
        simulate(model_of([group]), windows=1, threads=2, stretch=20)
    bounded = simulate(model_of([group], queue=5, deadline_s=0.0), windows=1, threads=2, stretch=20)
    assert bounded.tally.refused.sum() > 0
