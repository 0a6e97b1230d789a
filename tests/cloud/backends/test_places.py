"""A bounded queue: who finds a place, and when a refused client should come back."""

from __future__ import annotations

import pytest

from escalade.cloud.backends.places import Places
from escalade.cloud.errors import QueueFullError


def refusal(places: Places) -> QueueFullError:
    with (
        places.take(),
        places.take(),
        pytest.raises(QueueFullError, match="1 requests wait already") as refused,
        places.take(),
    ):
        pass
    return refused.value


def test_a_place_that_is_left_in_anger_is_free() -> None:
    places = Places(1, "requests")
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), places.take():
            raise ZeroDivisionError
    refusal(places)


def test_a_refused_client_is_told_when_a_place_was_last_free() -> None:
    places = Places(1, "requests")
    assert refusal(places).retry_after_s == 0.1
    places.note_free_after(4.0)
    assert refusal(places).retry_after_s == 4.0
    places.note_free_after(0.0)
    assert refusal(places).retry_after_s == 1e-3
