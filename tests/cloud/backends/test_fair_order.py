"""Whose turn it is: round robin between hosts, between a host's connections, and none is lost."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.cloud.backends.fair_order import Claim, FairOrder

claims = st.builds(Claim, st.sampled_from("ABC"), st.sampled_from("12"), st.just(0), st.booleans())


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


def test_who_waits_goes_before_his_own_batch_but_not_for_ever() -> None:
    order: FairOrder[str] = FairOrder()
    for number in range(3):
        order.push(Claim("a", "1", batch=True), f"batch {number}")
    for number in range(9):
        order.push(Claim("a", str(number % 2)), f"now {number}")
    got = [order.pop() for _ in range(len(order))]
    assert [one for one in got if one.startswith("now")] == [f"now {n}" for n in range(9)]
    assert [got.index(f"batch {n}") for n in range(3)] == [4, 9, 11]


def test_no_host_gains_a_turn_by_what_it_says_of_its_requests() -> None:
    order: FairOrder[str] = FairOrder()
    for number in range(4):
        order.push(Claim("now", "1"), f"now {number}")
        order.push(Claim("batch", "1", batch=True), f"batch {number}")
    got = [order.pop().split()[0] for _ in range(len(order))]
    assert got == ["now", "batch"] * 4


@given(st.lists(st.one_of(claims, st.none(), st.integers(0, 99))))
def test_turns_are_fair_and_nothing_is_lost(steps: list[Claim | int | None]) -> None:
    """A claim pushes, None pops, a number takes that item out."""
    order: FairOrder[int] = FairOrder()
    waiting: dict[int, Claim] = {}
    passed: Counter[str] = Counter()
    for number, step in enumerate(steps):
        if isinstance(step, Claim):
            order.push(step, number)
            waiting[number] = step
        elif isinstance(step, int):
            order.discard(waiting.pop(step, Claim("D", "1")), step)
        elif waiting:
            taken = order.pop()
            claim = waiting.pop(taken)
            # First come, first served within a connection's kind.
            assert all(taken < other for other, its in waiting.items() if its == claim)
            # What may wait is passed over four times in a row at most.
            mine = [its for its in waiting.values() if its.host == claim.host]
            passed[claim.host] += not claim.batch and any(its.batch for its in mine)
            if claim.batch or not any(its.batch for its in mine):
                passed[claim.host] = 0
            assert passed[claim.host] <= 4
        assert len(order) == len(waiting)
    # Served to the end, no host is ever more than one turn ahead of another that still waits.
    turns: Counter[str] = Counter()
    while waiting:
        host = waiting.pop(order.pop()).host
        turns[host] += 1
        assert all(turns[host] <= turns[its.host] + 1 for its in waiting.values())
