"""Asks a second time before the first has answered, and takes who is first; knows no channel.

Dean and Barroso, "The Tail at Scale" (2013): a hedged request.
"""

from __future__ import annotations

import math
import queue
import threading
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Generic, NamedTuple, TypeVar

from escalade.edge.errors import CloudError

# Of the answers that are remembered, so many lie beyond the percentile: with fewer it jumps about,
# with more it is late to follow a link that has changed.
_BEYOND = 10

R = TypeVar("R")
#: Asks, and looks from time to time whether nobody wants the answer any more; None then.
Leg = Callable[[Callable[[], bool]], R | None]


class Hedge(NamedTuple):
    """When a query is asked a second time, and where."""

    #: Seconds without an answer; by default for ever.
    after_s: float = math.inf
    #: `HOST:PORT` of another replica; None takes another connection to the same, which computes a
    #: query that it knows once.
    address: str | None = None
    #: Of the last answers' seconds, 1..99: takes the place of `after_s` as soon as enough are
    #: known.
    percent: int | None = None


class Latencies:
    """A percentile of the last answers' seconds; several threads may ask.

    Args:
        percent: which, 1..99.
    """

    def __init__(self, percent: int) -> None:
        self._percent = percent
        # Among so many one lies beyond it: among fewer there is no such percentile.
        self._least = -(-100 // (100 - percent))
        self._seen: deque[float] = deque(maxlen=_BEYOND * self._least)
        self._lock = threading.Lock()

    def note(self, seconds: float) -> None:
        """Remember an answer; the oldest is forgotten."""
        with self._lock:
            self._seen.append(seconds)

    def percentile(self) -> float | None:
        """By nearest rank (Hyndman and Fan 1996, definition 1); None where too few have come."""
        with self._lock:
            seen = sorted(self._seen)
        if len(seen) < self._least:
            return None
        return seen[-(-self._percent * len(seen) // 100) - 1]


class _Ended(NamedTuple, Generic[R]):
    leg: int
    answer: R | None
    error: BaseException | None


def race(first: Leg[R], second: Leg[R], hedge: Hedge, cancelled: Callable[[], bool]) -> R | None:
    """Ask the first, and after a delay the second too.

    Where the second is somebody else it is asked at once if the link to the first is at fault.

    Args:
        first: in a thread of its own, as the second.
        second: see `hedge`.
        hedge: when.
        cancelled: asked while both wait.

    Returns:
        What came first; the other is told that nobody wants it. None where it was cancelled.

    Raises:
        CloudError: neither answered; what the first said of it.
    """
    over = threading.Event()
    ended: queue.SimpleQueue[_Ended[R]] = queue.SimpleQueue()

    def given_up() -> bool:
        return over.is_set() or cancelled()

    def run(number: int, leg: Leg[R]) -> None:
        try:
            ended.put(_Ended(number, leg(given_up), None))
        except BaseException as error:  # raised where the answer is waited for
            ended.put(_Ended(number, None, error))

    def start(number: int, leg: Leg[R]) -> None:
        # A daemon: who lost may be waiting for its next attempt, and nobody waits for it. The span
        # of the application is a context's, which a thread does not inherit.
        work = copy_context().run
        threading.Thread(target=work, args=(run, number, leg), name="hedge", daemon=True).start()

    try:
        start(0, first)
        failed: dict[int, BaseException] = {}
        try:
            one = ended.get(timeout=min(hedge.after_s, threading.TIMEOUT_MAX))
        except queue.Empty:
            pass
        else:
            if one.error is None or not (hedge.address and _is_out_of_reach(one.error)):
                return _answer(one)
            failed[0] = one.error
        start(1, second)
        while len(failed) < 2:  # noqa: PLR2004 - both legs
            one = ended.get()
            if one.error is None:
                return _answer(one)
            failed[one.leg] = one.error
        raise failed[0]
    finally:
        over.set()


def _is_out_of_reach(error: BaseException) -> bool:
    return isinstance(error, CloudError) and error.cause != "query"


def _answer(one: _Ended[R]) -> R | None:
    if one.error is not None:
        raise one.error
    return one.answer
