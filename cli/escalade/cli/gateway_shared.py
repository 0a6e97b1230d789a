"""The turns that a gateway's clients take at its models; knows no tier."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

from escalade.cli.gateway_turns import FairLock
from escalade.cloud.backends import NOBODY

#: Whose query it is that this thread answers.
CLAIM = ContextVar("CLAIM", default=NOBODY)


class ClientTurns:
    """A `FairLock` by the client whose query a thread answers."""

    def __init__(self) -> None:
        self._lock = FairLock()

    def acquire(self, cancelled: Callable[[], bool] | None = None) -> bool:
        """See `Turns`."""
        return self._lock.acquire(CLAIM.get(), cancelled)

    def release(self) -> None:
        """See `Turns`."""
        self._lock.release()

    def __len__(self) -> int:
        """See `Turns`."""
        return len(self._lock)
