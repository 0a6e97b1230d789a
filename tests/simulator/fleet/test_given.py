"""Queries at given moments, against a queue worked out one by one."""

from __future__ import annotations

import numpy as np

from escalade.simulator.fleet.given import Given, latencies_of


def _random(many: int, seed: int) -> Given:
    rng = np.random.default_rng(seed)
    return Given(
        came_s=np.cumsum(rng.exponential(0.1, many)),
        device_s=rng.exponential(0.02, many),
        defers=rng.random(many) < 0.7,
        cloud_s=rng.exponential(0.1, many),
        up_s=rng.exponential(0.05, many),
        down_s=rng.exponential(0.05, many),
    )


def test_one_slot_is_a_queue_in_order_of_arrival() -> None:
    given = _random(300, seed=1)
    expected = given.device_s.copy()
    arrived_s = given.came_s + given.device_s + given.up_s
    free_s = 0.0
    for k in np.argsort(arrived_s):
        if given.defers[k]:
            free_s = max(free_s, arrived_s[k]) + given.cloud_s[k]
            expected[k] = free_s + given.down_s[k] - given.came_s[k]
    np.testing.assert_allclose(latencies_of(given, slots=1, slowdown=0.0), expected)


def test_slots_without_a_slowdown_for_all_make_nobody_wait() -> None:
    given = _random(300, seed=2)
    over_the_link = given.up_s + given.cloud_s + given.down_s
    alone_s = given.device_s + np.where(given.defers, over_the_link, 0.0)
    np.testing.assert_allclose(latencies_of(given, slots=300, slowdown=0.0), alone_s)
    # What two at once do to each other: both take half as long again from when the second comes.
    two = Given(
        came_s=np.array([0.0, 1.0]),
        device_s=np.zeros(2),
        defers=np.ones(2, np.bool_),
        cloud_s=np.array([2.0, 2.0]),
        up_s=np.zeros(2),
        down_s=np.zeros(2),
    )
    np.testing.assert_allclose(latencies_of(two, slots=2, slowdown=0.5), [2.5, 2.5])
