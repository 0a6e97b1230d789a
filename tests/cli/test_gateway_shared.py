"""Threads that wait for a model: clients in turns, and who is cancelled has none."""

from __future__ import annotations

from turn_taking import turns_taken

from escalade.cli.serving.shared import CLAIM, client_turns
from escalade.cloud.backends import Claim


def test_clients_have_turns_and_who_is_cancelled_has_none() -> None:
    lock = client_turns()
    assert lock.acquire()
    names = ["much", "much", "gone", "little"]
    order = turns_taken(lock, names, names.index("gone"), lambda name: CLAIM.set(Claim(name)))
    assert order == ["much", "little", "much"]
    assert lock.acquire()
