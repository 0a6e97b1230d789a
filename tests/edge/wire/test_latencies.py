"""A percentile of what came lately: by nearest rank, of so many at most, and not of too few."""

from __future__ import annotations

import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.edge.wire.hedging import Latencies

SECONDS = st.floats(0.0, 1e6)


@given(st.integers(1, 99), st.lists(SECONDS, max_size=400))
def test_so_many_of_the_last_took_no_longer(percent: int, seen: list[float]) -> None:
    latencies = Latencies(percent)
    least = math.ceil(100 / (100 - percent))
    for count, seconds in enumerate(seen, 1):
        latencies.note(seconds)
        found = latencies.percentile()
        last = seen[:count][-10 * least :]
        if count < least:
            assert found is None
            continue
        assert found in last
        assert sum(one <= found for one in last) * 100 >= percent * len(last)
        assert sum(one < found for one in last) * 100 < percent * len(last)


@pytest.mark.parametrize(
    ("percent", "least", "kept"), [(50, 2, 20), (95, 20, 200), (99, 100, 1000)]
)
def test_it_follows_a_link_that_has_changed(percent: int, least: int, kept: int) -> None:
    latencies = Latencies(percent)
    for _ in range(kept):
        latencies.note(0.1)
    needed = 0
    while latencies.percentile() == 0.1:
        latencies.note(2.0)
        needed += 1
    assert needed <= kept // least + 1
    for _ in range(kept):
        latencies.note(0.1)
    assert latencies.percentile() == 0.1


def test_threads_may_ask_while_others_note() -> None:
    latencies = Latencies(50)

    def note() -> None:
        for number in range(2000):
            latencies.note(float(number))

    threads = [threading.Thread(target=note) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        latencies.percentile()
    for thread in threads:
        thread.join()
    assert latencies.percentile() is not None
