"""What queries meet in a fleet, worked out by hand: both engines give it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from plain_fleet import simulate_plainly
from small_fleets import Group, at_gateways, gateways_of, model_of

from escalade.simulator.fleet.engine import (
    ARRIVAL,
    AT_GATEWAY,
    DEFERRED,
    DEGRADED,
    uniform,
)
from escalade.simulator.fleet.engine.fast import simulate


def test_first_calls_dial_and_so_do_those_after_an_idle_time() -> None:
    """By hand: open after 1 s; then 0.25 s up in place of 0.125, and 0.125 down."""
    group = Group(
        cloud_s=(0.0,),
        up_s=(0.125,),
        down_s=(0.125,),
        idle_s=3.0,
        open_s=(1.0,),
        first_up_s=(0.25,),
        arrivals=[10.0, 10.5, 12.0, 18.0],
        period_s=100.0,
    )
    # A device begins at a place of its own, drawn: all at once where it is in them.
    model = model_of([group], replicas=9, seconds=100.0)
    begins_s = uniform(model.seed, 0, 0, ARRIVAL, 0) * 100.0
    assert not 10.0 <= begins_s <= 18.0
    never = model._replace(dials=np.zeros(1, np.bool_))
    # The first dials; the second waits for that; the third finds it open; the last comes late.
    for asked, expected in ((model, [1.375, 0.75, 0.25, 1.375]), (never, [0.25] * 4)):
        kept = simulate(asked, windows=1, threads=1, keep=True).kept
        assert kept is not None
        for found in (kept, simulate_plainly(asked)):
            assert found.latency_s.tolist() == pytest.approx(expected, abs=1e-9)


def test_a_query_goes_through_its_gateway_by_hand() -> None:
    """Two devices of one gateway of one slot: the second waits, and goes on to the cloud."""
    group = Group(
        devices=2,
        arrivals=[1.0],
        period_s=100.0,
        device_s=(0.5,),
        gateway=0,
        gateway_s=(2.0,),
        near_up_s=(0.25,),
        near_down_s=(0.125,),
        cloud_s=(4.0,),
        up_s=(1.0,),
        down_s=(0.5,),
        outages_beyond=[(0.0, 200.0)],
    )
    for goes_on, out, expected in (
        (False, False, 0.5 + 0.25 + 2.0 + 0.125),
        (True, False, 0.5 + 0.25 + 2.0 + 1.0 + 4.0 + 0.5 + 0.125),
        (True, True, 0.5 + 0.25 + 2.0 + 0.125),
    ):
        asked = replace(
            group, goes_on=(goes_on,), outages_beyond=group.outages_beyond if out else ()
        )
        model = model_of(
            [asked], gateways=gateways_of([asked], [1]), replicas=9, seconds=100.0, deadline_s=0.0
        )
        found = simulate(model, windows=1, threads=1, keep=True)
        assert found.kept is not None
        plain = simulate_plainly(model)
        assert found.kept.latency_s.tobytes() == plain.latency_s.tobytes()
        waited_s = sorted(found.kept.latency_s - expected)
        assert waited_s[0] == pytest.approx(0.0, abs=1e-9)
        assert -1e-9 <= waited_s[1] <= 2.0 + 1e-9
        outcome = AT_GATEWAY if not goes_on else DEGRADED if out else DEFERRED
        assert found.kept.outcome.tolist() == [outcome] * 2
        assert found.gateways_s.tolist() == pytest.approx([4.0])


def test_a_place_at_a_gateway_is_held_until_the_cloud_has_answered() -> None:
    """By hand: the second of two queries finds the only place taken while the cloud works.

    It is told to come back after 0.1 s, no query having been timed, and gives up after 1 s.
    """
    group = Group(
        arrivals=[10.0, 13.0],
        period_s=100.0,
        gateway=0,
        gateway_s=(1.0,),
        near_up_s=(0.25,),
        near_down_s=(0.125,),
        cloud_s=(8.0,),
        past_up_s=(0.5,),
        past_down_s=(0.25,),
    )
    for queue, goes_past, outcome in (
        (0, False, DEGRADED),
        (0, True, DEFERRED),
        (1, False, DEFERRED),
    ):
        asked = replace(group, goes_past=goes_past)
        near = gateways_of([asked], [1], queues=[queue])
        model = model_of([asked], gateways=near, replicas=9, seconds=100.0, deadline_s=1.0)
        found = simulate(model, windows=1, threads=1, keep=True)
        plain = simulate_plainly(model)
        assert found.kept is not None
        assert found.kept.latency_s.tobytes() == plain.latency_s.tobytes()
        first_s, second_s = found.kept.latency_s
        assert first_s == pytest.approx(0.25 + 1.0 + 8.0 + 0.125)
        assert found.kept.outcome.tolist() == [DEFERRED, outcome]
        came, refused, past, turned_away = at_gateways(found.tally)
        assert (past, turned_away) == (goes_past, outcome == DEGRADED)
        assert came == refused + (2 if queue else 1)
        if queue:
            assert refused == 0
            assert second_s == pytest.approx(first_s)
        else:  # it hears of each refusal 0.375 s after it called, and first waits 0.1 s
            assert refused == 2
            past_s = 0.5 + 8.0 + 0.25 if goes_past else 0.0
            assert second_s == pytest.approx(2 * 0.375 + 0.1 + past_s)


def test_a_gateway_dials_the_cloud_for_its_first_call_and_after_an_idle_time() -> None:
    """By hand, as for devices."""
    group = Group(
        arrivals=[10.0, 10.5, 12.0, 18.0],
        period_s=100.0,
        gateway=0,
        cloud_s=(0.0,),
        up_s=(0.125,),
        down_s=(0.125,),
        beyond_open_s=(1.0,),
        beyond_first_up_s=(0.25,),
    )
    for idle_s, queues, expected in (
        (3.0, (), [1.375, 0.75, 0.25, 1.375]),
        (3.0, (9,), [1.375, 0.75, 0.25, 1.375]),
        (None, (), [0.25] * 4),
    ):
        near = gateways_of([group], [1], queues=queues, idle_s=idle_s)
        model = model_of([group], gateways=near, replicas=9, seconds=100.0)
        kept = simulate(model, windows=1, threads=1, keep=True).kept
        assert kept is not None
        for found in (kept, simulate_plainly(model)):
            assert found.latency_s.tolist() == pytest.approx(expected, abs=1e-9)
