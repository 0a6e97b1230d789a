"""Calls that run in threads, or in who asks for them where no thread has begun; knows no member.

To wake a thread takes as long as a small model's answer. So who asks does not wait for one that is
yet to wake: it takes back what nobody has begun, and does it itself.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Generic, TypeVar

T = TypeVar("T")


class Threads:
    """Threads that take what is offered; they end with the last reference to this."""

    def __init__(self, most: int) -> None:
        """Start none yet.

        Args:
            most: so many of them, >= 1. They are kept: to start one takes longer than a token.
        """
        self._most, self._started = most, 0
        self._offered: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        weakref.finalize(self, _dismiss, self._offered, most)

    def offer(self, work: Callable[[], None]) -> None:
        """Let the first that is free do it; it must not raise."""
        if self._started < self._most:
            name = f"member_{self._started}"
            Thread(target=_serve, args=(self._offered,), name=name, daemon=True).start()
            self._started += 1
        self._offered.put(work)


class Calls(Generic[T]):
    """Calls that one asks for, each known by a number; it belongs to the thread that asks."""

    def __init__(self, call: Callable[[int], T], threads: Threads) -> None:
        """Begin none yet.

        Args:
            call: what is done, by its number; in any thread.
            threads: that may do it.
        """
        self._call, self._threads = call, threads
        self._ended: SimpleQueue[tuple[int, T | None, BaseException | None]] = SimpleQueue()
        #: Those that were begun and not taken yet, each with what whoever does it has acquired.
        self.running: dict[int, Lock] = {}

    def begin(self, number: int) -> None:
        """Let it be done."""
        begun = self.running[number] = Lock()
        self._threads.offer(lambda: self._run(number, begun))

    @property
    def has_ended(self) -> bool:
        """Whether there is one to take."""
        return not self._ended.empty()

    def take(self) -> list[T]:
        """What those have given that have ended since the last time.

        Raises:
            BaseException: what one of them has raised.
        """
        found: list[T] = []
        while not self._ended.empty():
            found += self._next()
        return found

    def go_on(self, call: Callable[[int], T]) -> list[T]:
        """Do one that nobody has begun; where there is none, wait until one has ended.

        Args:
            call: as the one for threads, in this thread.

        Raises:
            BaseException: what one of them has raised.
        """
        for number, begun in self.running.items():
            if begun.acquire(blocking=False):
                del self.running[number]
                return [call(number)]
        return self._next()

    def drop(self) -> None:
        """Forget those that nobody has begun."""
        for number, begun in list(self.running.items()):
            if begun.acquire(blocking=False):
                del self.running[number]

    def end(self) -> None:
        """Forget those that nobody has begun, and wait for the others, whatever they give."""
        self.drop()
        while self.running:
            del self.running[self._ended.get()[0]]

    def _next(self) -> list[T]:
        number, value, error = self._ended.get()
        del self.running[number]
        if error is not None:
            raise error
        return [value]  # type: ignore[list-item]  # it has not failed

    def _run(self, number: int, begun: Lock) -> None:
        if not begun.acquire(blocking=False):
            return
        try:
            ended = (number, self._call(number), None)
        except BaseException as error:
            self._ended.put((number, None, error))
        else:
            self._ended.put(ended)


def _serve(offered: SimpleQueue[Callable[[], None] | None]) -> None:
    while (work := offered.get()) is not None:
        work()
        del work  # or what it knows would live until the next


def _dismiss(offered: SimpleQueue[Callable[[], None] | None], count: int) -> None:
    for _ in range(count):
        offered.put(None)
