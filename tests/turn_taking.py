"""Threads that wait for a lock one after the other, of which one leaves; knows no order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Event, Thread

from escalade.edge.tiers.turns import Turns


def turns_taken(
    lock: Turns,
    names: Sequence[str],
    leaver: int,
    begin: Callable[[str], object] = lambda name: None,
) -> list[str]:
    """Who had a turn, in which order.

    Args:
        lock: held by the caller, who gives it up here once all wait and one has left.
        names: of those that come, in this order.
        leaver: the place of the one that leaves.
        begin: called with a name in its thread, first.
    """
    order, leaves, stays = list[str](), Event(), Event()

    def take(name: str, gone: Event) -> None:
        begin(name)
        if lock.acquire(gone.is_set):
            order.append(name)
            lock.release()

    threads: list[Thread] = []
    for place, name in enumerate(names):
        thread = Thread(target=take, args=(name, leaves if place == leaver else stays))
        thread.start()
        while len(lock) == len(threads):
            pass
        threads.append(thread)
    leaves.set()
    threads[leaver].join(60)
    assert not threads[leaver].is_alive()
    assert len(lock) == len(names) - 1
    lock.release()
    for thread in threads:
        thread.join(60)
    return order
