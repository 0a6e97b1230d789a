"""Whose turn it is: round robin between hosts, between a host's connections, and none is lost."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.cloud.backends.fair_order import Claim, FairOrder

claims = st.builds(Claim, st.sampled_from("ABC"), st.sampled_from("12"))


def test_who_sends_much_waits_for_himself() -> None:
    order: FairOrder[str] = FairOrder()
    for number in range(4):
        order.push(Claim("much", "1"), f"much {number}")
    order.push(Claim("little", "1"), "little")
    order.push(Claim("much", "2"), "much, by another connection")
    got = [order.pop() for _ in range(len(order))]
    assert got == [
        "much 0",
        "little",
        "much, by another connection",
        "much 1",
        "much 2",
        "much 3",
    ]
    with pytest.raises(IndexError, match="nobody waits"):
        order.pop()


@given(st.lists(st.one_of(claims, st.none(), st.integers(0, 99))))
def test_turns_are_fair_and_nothing_is_lost(steps: list[Claim | int | None]) -> None:
    """A claim pushes, None pops, a number takes that item out."""
    order: FairOrder[int] = FairOrder()
    waiting: dict[int, Claim] = {}
    for number, step in enumerate(steps):
        if isinstance(step, Claim):
            order.push(step, number)
            waiting[number] = step
        elif isinstance(step, int):
            order.discard(waiting.pop(step, Claim("D", "1")), step)
        elif waiting:
            taken = order.pop()
            claim = waiting.pop(taken)
            # First come, first served within a connection.
            assert all(taken < other for other, its in waiting.items() if its == claim)
        assert len(order) == len(waiting)
    # Served to the end, no host is ever more than one turn ahead of another that still waits.
    turns: Counter[str] = Counter()
    while waiting:
        host = waiting.pop(order.pop()).host
        turns[host] += 1
        assert all(turns[host] <= turns[its.host] + 1 for its in waiting.values())
