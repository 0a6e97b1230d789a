"""Threads take turns in order, and who is cancelled has none."""

from __future__ import annotations

from threading import Event, Thread

from escalade.edge.tiers import in_order


def test_in_the_order_they_came_but_for_who_left() -> None:
    lock, order = in_order(), list[str]()
    assert lock.acquire()

    def take(name: str, gone: Event) -> None:
        if lock.acquire(gone.is_set):
            order.append(name)
            lock.release()

    threads: list[Thread] = []
    leaves = Event()
    for name, gone in [("first", Event()), ("gone", leaves), ("second", Event())]:
        thread = Thread(target=take, args=(name, gone))
        thread.start()
        while len(lock) == len(threads):
            pass
        threads.append(thread)
    leaves.set()
    threads[1].join(60)
    assert len(lock) == 2
    lock.release()
    for thread in threads:
        thread.join(60)
    assert order == ["first", "second"]
    assert lock.acquire()
