"""A lock that threads hold in the order they came; knows no tier."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from threading import Event, Lock

# How long a query that waits does not notice that nobody wants it any more.
_NOTICE_S = 0.2


class InOrder:
    """Held by one thread; `threading.Lock` goes to any of those that wait."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: deque[Event] = deque()
        self._taken = False

    def __len__(self) -> int:
        """See `Turns`."""
        return len(self._waiting)

    def acquire(self, cancelled: Callable[[], bool] | None = None) -> bool:
        """See `Turns`."""
        with self._lock:
            if not self._taken:
                self._taken = True
                return True
            turn = Event()
            self._waiting.append(turn)
        while not turn.wait(_NOTICE_S):
            if cancelled is not None and cancelled():
                with self._lock:
                    given = turn.is_set()
                    if not given:
                        self._waiting.remove(turn)
                if given:
                    self.release()
                return False
        return True

    def release(self) -> None:
        """See `Turns`."""
        with self._lock:
            if self._waiting:
                self._waiting.popleft().set()
            else:
                self._taken = False
