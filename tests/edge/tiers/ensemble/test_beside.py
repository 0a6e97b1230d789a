"""Calls in threads that whoever is free does: taken back, dropped, waited for, failing."""

from __future__ import annotations

import gc
import threading

import pytest

from escalade.edge.tiers.ensemble.beside import Calls, Threads


def names() -> set[str]:
    return {one.name for one in threading.enumerate() if one.name.startswith("member")}


def where(number: int) -> tuple[int, int]:
    return number, threading.get_ident()


def test_what_no_thread_has_begun_is_done_by_who_asks() -> None:
    threads, busy, free = Threads(1), threading.Event(), threading.Event()

    def hold() -> None:
        busy.set()
        free.wait(30)

    threads.offer(hold)
    assert busy.wait(30)
    calls = Calls(where, threads)
    calls.begin(7)
    calls.begin(8)
    assert calls.go_on(where) == [(7, threading.get_ident())]
    assert list(calls.running) == [8]
    free.set()
    threads.offer(busy.clear)
    while busy.is_set():  # after that one, so the thread has done 8 by now, and 7 not again
        threading.Event().wait(0.001)
    assert calls.has_ended
    ((number, ident),) = calls.take()
    assert (number, ident == threading.get_ident()) == (8, False)
    assert not calls.running
    assert not calls.has_ended


def test_who_asks_waits_where_a_thread_has_begun() -> None:
    begun, free = threading.Event(), threading.Event()

    def held(number: int) -> int:
        begun.set()
        free.wait(30)
        return number

    calls = Calls(held, Threads(1))
    calls.begin(3)
    assert begun.wait(30)
    assert calls.take() == []
    calls.drop()
    assert list(calls.running) == [3]  # too late to drop it
    free.set()
    assert calls.go_on(held) == [3]


def test_what_is_dropped_is_never_done() -> None:
    threads, busy, free, done = Threads(1), threading.Event(), threading.Event(), list[int]()

    def hold() -> None:
        busy.set()
        free.wait(30)

    threads.offer(hold)
    assert busy.wait(30)
    calls = Calls(done.append, threads)
    calls.begin(1)
    calls.begin(2)
    calls.end()
    assert not calls.running
    after = threading.Event()
    free.set()
    threads.offer(after.set)
    assert after.wait(30)
    assert done == []


def test_what_a_call_raises_is_raised_where_it_is_taken() -> None:
    def fails(number: int) -> int:
        raise LookupError(str(number))

    calls, again = Calls(fails, Threads(1)), Calls(fails, Threads(1))
    for one in (calls, again):
        one.begin(5)
        while not one.has_ended:
            threading.Event().wait(0.001)
    with pytest.raises(LookupError, match="5"):
        calls.take()
    assert not calls.running
    again.end()  # nobody wants it
    assert not again.running


def test_no_more_threads_than_asked_for_and_they_end_with_who_had_them() -> None:
    before = names()
    threads = Threads(2)
    for _ in range(4):
        calls = Calls(where, threads)
        for number in range(3):
            calls.begin(number)
        calls.end()
    mine = [one for one in threading.enumerate() if one.name in names() - before]
    assert len(mine) <= 2
    del threads, calls
    gc.collect()
    for one in mine:
        one.join(30)
    assert not any(one.is_alive() for one in mine)
