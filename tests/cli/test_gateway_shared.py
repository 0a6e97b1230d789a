"""Threads that wait for a model: clients in turns, and who is cancelled has none."""

from __future__ import annotations

from threading import Event, Thread

from escalade.cli.gateway_shared import CLAIM, client_turns
from escalade.cloud.backends import Claim


def test_clients_have_turns_and_who_is_cancelled_has_none() -> None:
    lock, order = client_turns(), list[str]()
    assert lock.acquire()

    def take(claim: Claim, gone: Event) -> None:
        CLAIM.set(claim)
        if lock.acquire(gone.is_set):
            order.append(claim.host)
            lock.release()

    threads: list[Thread] = []
    leaves = Event()
    for name, gone in [("much", Event()), ("much", Event()), ("gone", leaves), ("little", Event())]:
        thread = Thread(target=take, args=(Claim(name), gone))
        thread.start()
        while len(lock) == len(threads):
            pass
        threads.append(thread)
    leaves.set()
    threads[2].join(60)
    assert not threads[2].is_alive()
    lock.release()
    for thread in threads:
        thread.join(60)
    assert order == ["much", "little", "much"]
    assert lock.acquire()
