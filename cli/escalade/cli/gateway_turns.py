"""A lock that threads hold in their clients' turns; knows no tier, no gRPC."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Lock

from escalade.cloud.backends import Claim, FairOrder

# How long a query that waits does not notice that nobody wants it any more.
_NOTICE_S = 0.05


class FairLock:
    """Held by one thread; `threading.Lock` goes to any of those that wait."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: FairOrder[Event] = FairOrder()
        self._taken = False

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def acquire(self, claim: Claim, cancelled: Callable[[], bool] | None = None) -> bool:
        """Wait for a turn; False where the query was cancelled first, and has none."""
        with self._lock:
            if not self._taken:
                self._taken = True
                return True
            turn = Event()
            self._waiting.push(claim, turn)
        while not turn.wait(_NOTICE_S):
            if cancelled is not None and cancelled():
                with self._lock:
                    self._waiting.discard(claim, turn)
                if turn.is_set():  # it was given meanwhile
                    self.release()
                return False
        return True

    def release(self) -> None:
        """Give the next its turn."""
        with self._lock:
            if len(self._waiting):
                self._waiting.pop().set()
            else:
                self._taken = False
