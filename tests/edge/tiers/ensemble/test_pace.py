"""Which way members are asked: both are tried, the quicker goes on, the other is tried again."""

from __future__ import annotations

import pytest

from escalade.edge.tiers.ensemble.pace import Pace


def answers(pace: Pace, count: int, *, in_threads_s: float, in_one_s: float) -> list[bool]:
    ways = []
    for number in range(count):
        way, tokens = pace.in_threads(), 1 + number % 7
        pace.note((in_threads_s if way else in_one_s) * tokens, tokens, in_threads=way)
        ways.append(way)
    return ways


def test_both_are_tried_by_turns_threads_first() -> None:
    assert answers(Pace(), 6, in_threads_s=9.0, in_one_s=1.0) == [True, False] * 3


@pytest.mark.parametrize("threads_win", [True, False])
def test_the_quicker_goes_on_and_the_other_is_tried_now_and_then(threads_win: bool) -> None:
    pace = Pace()
    times = {"in_threads_s": 1.0 if threads_win else 2.0, "in_one_s": 1.5}
    answers(pace, 6, **times)
    ways = answers(pace, 96, **times)
    assert ways.count(not threads_win) == 3


def test_one_slow_answer_changes_nothing_and_a_machine_that_does_is_followed() -> None:
    pace = Pace()
    answers(pace, 6, in_threads_s=1.0, in_one_s=1.5)
    pace.note(100.0, 1, in_threads=True)
    assert all(answers(pace, 20, in_threads_s=1.0, in_one_s=1.5))
    # Another program takes the second core.
    ways = answers(pace, 400, in_threads_s=8.0, in_one_s=1.5)
    assert sum(ways[-32:]) == 1
    ways = answers(pace, 400, in_threads_s=1.0, in_one_s=1.5)
    assert sum(ways[-32:]) == 31


def test_where_nothing_is_noted_the_same_way_is_tried_again() -> None:
    pace = Pace()
    assert pace.in_threads()
    assert pace.in_threads()
