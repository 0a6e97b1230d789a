"""Threads take turns in order, and who is cancelled has none."""

from __future__ import annotations

from turn_taking import turns_taken

from escalade.edge.tiers import in_order


def test_in_the_order_they_came_but_for_who_left() -> None:
    lock = in_order()
    assert lock.acquire()
    assert turns_taken(lock, ["first", "gone", "second"], 1) == ["first", "second"]
    assert lock.acquire()
