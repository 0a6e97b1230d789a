"""A lock that threads hold in an order that somebody else keeps; knows no tier and no client."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Lock
from typing import Generic, Protocol, TypeVar

K = TypeVar("K")
K_contra = TypeVar("K_contra", contravariant=True)


class Turns(Protocol):
    """A lock that threads hold in an order of its own."""

    def acquire(self, cancelled: Callable[[], bool] | None = None) -> bool:
        """Wait for a turn; False where the query was cancelled first, and has none."""
        ...

    def release(self) -> None:
        """Give the next its turn."""
        ...

    def __len__(self) -> int:
        """How many wait."""
        ...


class Line(Protocol[K_contra]):
    """Those that wait, in the order in which they are let in."""

    def push(self, key: K_contra, item: Event, /) -> None:
        """Add one, for whoever the key names."""
        ...

    def pop(self) -> Event:
        """Take the next."""
        ...

    def discard(self, key: K_contra, item: Event, /) -> None:
        """Take one out, if it is there."""
        ...

    def __len__(self) -> int:
        """How many there are."""
        ...


class TurnLock(Generic[K]):
    """Held by one thread; `threading.Lock` goes to any of those that wait."""

    def __init__(self, line: Line[K], key: Callable[[], K], *, notice_s: float) -> None:
        """Be free.

        Args:
            line: of those that wait; nobody else's.
            key: for whom a thread waits, asked in that thread.
            notice_s: seconds for which one that waits may not notice that it is cancelled.
        """
        self._lock = Lock()
        self._waiting, self._key, self._notice_s = line, key, notice_s
        self._taken = False

    def __len__(self) -> int:
        """See `Turns`."""
        return len(self._waiting)

    def acquire(self, cancelled: Callable[[], bool] | None = None) -> bool:
        """See `Turns`."""
        key = self._key()
        with self._lock:
            if not self._taken:
                self._taken = True
                return True
            turn = Event()
            self._waiting.push(key, turn)
        while not turn.wait(self._notice_s):
            if cancelled is not None and cancelled():
                with self._lock:
                    self._waiting.discard(key, turn)
                if turn.is_set():  # it was given meanwhile
                    self.release()
                return False
        return True

    def release(self) -> None:
        """See `Turns`."""
        with self._lock:
            if len(self._waiting):
                self._waiting.pop().set()
            else:
                self._taken = False


class _Queue:
    """A line of those that came first."""

    def __init__(self) -> None:
        self._items: deque[Event] = deque()

    def push(self, _: None, item: Event, /) -> None:
        self._items.append(item)

    def pop(self) -> Event:
        return self._items.popleft()

    def discard(self, _: None, item: Event, /) -> None:
        with suppress(ValueError):
            self._items.remove(item)

    def __len__(self) -> int:
        return len(self._items)


def in_order() -> Turns:
    """Turns in the order in which threads came."""
    return TurnLock(_Queue(), lambda: None, notice_s=0.2)
