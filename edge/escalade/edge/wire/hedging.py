"""Asks a second time before the first has answered, and takes who is first; knows no channel.

Dean and Barroso, "The Tail at Scale" (2013): a hedged request.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Generic, NamedTuple, TypeVar

from escalade.edge.errors import CloudError

R = TypeVar("R")
#: Asks, and looks from time to time whether nobody wants the answer any more; None then.
Leg = Callable[[Callable[[], bool]], R | None]


class Hedge(NamedTuple):
    """When a query is asked a second time, and where."""

    #: Seconds without an answer.
    after_s: float
    #: `HOST:PORT` of another replica; None takes another connection to the same, which computes a
    #: query that it knows once.
    address: str | None = None


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
            one = ended.get(timeout=hedge.after_s)
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
