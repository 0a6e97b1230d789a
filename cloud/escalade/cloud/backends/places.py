"""A bounded queue in front of whatever computes; knows no backend."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from escalade.cloud.errors import QueueFullError

# Said to a refused client before any answer has been timed.
_FIRST_RETRY_S = 0.1
_LEAST_RETRY_S = 1e-3


class Places:
    """The bounded queue: one may have its turn, and so many may wait.

    Args:
        capacity: how many may wait, at least 1.
        kind: what they are, for messages.
    """

    def __init__(self, capacity: int, kind: str) -> None:
        self._capacity = capacity
        self._kind = kind
        self._taken = 0
        self._retry_after_s = _FIRST_RETRY_S

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold a place.

        Raises:
            QueueFullError: all are taken.
        """
        if self._taken > self._capacity:
            raise QueueFullError(
                f"queue: {self._capacity} {self._kind} wait already, which is its capacity",
                self._retry_after_s,
            )
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1

    def note_free_after(self, seconds: float) -> None:
        """Say how long it lately took until a place became free."""
        self._retry_after_s = max(seconds, _LEAST_RETRY_S)
