"""The fast engine beside what queueing theory has a formula for, within its standard error."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small_fleets import Group, gateways_of, model_of

from escalade.simulator.fleet.demand.queries import exponential_parts
from escalade.simulator.fleet.engine import Outcome
from escalade.simulator.fleet.engine.fast import simulate
from escalade.simulator.fleet.engine.tally import ANSWERED, DEFERRED, DEGRADED

_SEEDS = range(1, 13)
#: How many standard errors a mean of 12 runs may be off: one in 2,000 is (Student's t, 11 degrees).
_MOST = 4.8

#: Its mean is 1 exactly, and its second moment a little under 2.
EXPONENTIAL = exponential_parts(4096)
_SQUARE = float((EXPONENTIAL**2).mean())


def erlang_b(servers: int, load: float) -> float:
    """The share of calls that find all servers busy where none may wait."""
    blocked = 1.0
    for k in range(1, servers + 1):
        blocked = load * blocked / (k + load * blocked)
    return blocked


def erlang_c(servers: int, load: float) -> float:
    """The share that waits where all may."""
    blocked = erlang_b(servers, load)
    return blocked / (1 - load / servers * (1 - blocked))


def runs(group: Group, **changes: Any) -> list[Outcome]:
    return [
        simulate(
            model_of([group], seed=seed, seconds=4000.0, warm_up_s=400.0, **changes),
            windows=1,
            threads=2,
        )
        for seed in _SEEDS
    ]


def means(found: list[Outcome], outcome: int) -> np.ndarray:
    return np.array(
        [one.tally.sums[0, outcome] / one.tally.histogram[0, outcome].sum() for one in found]
    )


def check(measured: np.ndarray, expected: float) -> None:
    error = measured.std(ddof=1) / math.sqrt(len(measured))
    assert error < expected / 10, "too few to tell"
    assert abs(measured.mean() - expected) < _MOST * error


def cloud(cloud_s: Any, rate: float, devices: int = 50) -> Group:
    many = len(cloud_s)
    return Group(
        devices=devices,
        rate=rate / devices,
        device_s=(0.0,) * many,
        defers=(True,) * many,
        cloud_s=cloud_s,
    )


@pytest.mark.parametrize(("servers", "load"), [(1, 0.7), (4, 3.2), (16, 14.0)])
def test_the_mean_wait_of_several_servers_is_that_of_erlang_c(servers: int, load: float) -> None:
    found = runs(cloud(EXPONENTIAL, load), replicas=servers)
    check(means(found, DEFERRED), 1 + erlang_c(servers, load) / (servers - load))


def test_a_constant_time_waits_as_pollaczek_and_khinchin_say_in_the_cloud() -> None:
    rho = 0.75
    found = runs(cloud([1.0], rho))
    check(means(found, DEFERRED), 1 + rho / (2 * (1 - rho)))


@pytest.mark.parametrize(("times", "square"), [([1.0], 1.0), (EXPONENTIAL, _SQUARE)])
def test_a_device_waits_as_pollaczek_and_khinchin_say(times: Any, square: float) -> None:
    rho, many = 0.6, len(times)
    group = Group(2, rho, times, (False,) * many, (0.0,) * many)
    check(means(runs(group), ANSWERED), 1 + rho * square / (2 * (1 - rho)))


@pytest.mark.parametrize("times", [[1.0], [0.5, 0.5, 0.5, 2.5]])
def test_a_replica_that_shares_itself_takes_as_long_whatever_the_spread(times: list[float]) -> None:
    """Processor sharing: the mean is that of M/M/1 for any distribution (Kleinrock 1976, 4.4)."""
    rho = 0.5
    found = runs(cloud(times, rho), slots=64, slowdown=1.0)
    check(means(found, DEFERRED), 1 / (1 - rho))


def test_slots_without_slowdown_are_servers() -> None:
    found = runs(cloud(EXPONENTIAL, 3.2), slots=4, slowdown=0.0)
    check(means(found, DEFERRED), 1 + erlang_c(4, 3.2) / 0.8)


@pytest.mark.parametrize(("slots", "load"), [(1, 0.7), (4, 3.2)])
def test_gateways_wait_as_erlang_c_says_and_the_cloud_behind_as_if_they_were_none(
    slots: int, load: float
) -> None:
    """What leaves an M/M/c queue is a Poisson process again (Burke 1956), so that both add up."""
    group = replace(
        cloud(EXPONENTIAL, 2 * load, devices=80),
        gateway=0,
        gateway_s=np.random.default_rng(0).permutation(EXPONENTIAL),
        goes_on=(True,) * len(EXPONENTIAL),
    )
    near = gateways_of([group], [2], slots)
    found = runs(group, gateways=near, replicas=20)
    wait_s = erlang_c(slots, load) / (slots - load)
    behind_s = erlang_c(20, 2 * load) / (20 - 2 * load)
    check(means(found, DEFERRED), 2 + wait_s + behind_s)
    check(np.array([one.gateways_s.sum() / 4000.0 for one in found]), 2 * load)


def test_without_a_queue_as_many_are_turned_away_as_erlang_b_says() -> None:
    found = runs(cloud(EXPONENTIAL, 3.0), replicas=4, queue=0, deadline_s=1e-9)
    counts = [one.tally.histogram[0].sum(axis=1) for one in found]
    check(np.array([of[DEGRADED] / of.sum() for of in counts]), erlang_b(4, 3.0))


def test_the_share_of_slots_in_use_is_the_load() -> None:
    found = runs(cloud(EXPONENTIAL, 3.0), replicas=4)
    check(np.array([one.used_s.sum() / 4000.0 for one in found]), 3.0)
    assert all(one.paid_s.sum() == pytest.approx(16000.0) for one in found)
