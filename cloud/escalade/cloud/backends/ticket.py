"""How long a request may be computed; knows no gRPC, no backend."""

from __future__ import annotations

import math
from collections.abc import Callable

from escalade.cloud.backends.fair_order import NOBODY, Claim
from escalade.cloud.errors import DeadlineError, DrainingError
from escalade.v1 import cascade_pb2 as pb

#: Seconds, monotonic.
Clock = Callable[[], float]


class Ticket:
    """The right of one request to be computed: until its deadline, or until cancelled.

    The event loop writes, any thread reads; each write is one attribute.

    Args:
        deadline_s: on `clock`; infinite where the client set none.
        clock: seconds, monotonic.
        claim: whose it is, and how large.
    """

    def __init__(self, deadline_s: float, clock: Clock, claim: Claim = NOBODY) -> None:
        self._deadline_s = deadline_s
        self._clock = clock
        self._cancelled = False
        self.claim = claim
        #: Of its prompt, said by a backend as its model begins to read it; 0 where not known.
        self.prompt_tokens = 0

    def extend(self, deadline_s: float) -> None:
        """Keep the later of two deadlines: another client waits for the same answer."""
        self._deadline_s = max(self._deadline_s, deadline_s)

    def cancel(self) -> None:
        """Stop at the next token, or before the next batch of scores."""
        self._cancelled = True

    def remaining_s(self) -> float:
        """Seconds until the deadline, at least 0; infinite where there is none.

        What is handed on to another server should be a little less, so that there is time to
        answer without it.
        """
        return max(0.0, self._deadline_s - self._clock())

    def should_stop(self) -> pb.StopReason | None:
        """Why to stop now, or None to go on."""
        if self._cancelled:
            return pb.STOP_REASON_CANCELLED
        if self._clock() >= self._deadline_s:
            return pb.STOP_REASON_DEADLINE
        return None

    def check(self) -> None:
        """Return where there is time to go on.

        Raises:
            DeadlineError: the deadline has passed.
            DrainingError: it was cancelled. Only a server that shuts down tells a client so: who
                has gone away hears nothing.
        """
        refuse_half(self.should_stop())


def refuse_half(reason: pb.StopReason | None) -> None:
    """Refuse what ended for want of time: half an answer is none.

    Raises:
        DeadlineError: `reason` is the deadline.
        DrainingError: `reason` is that it was cancelled.
    """
    if reason == pb.STOP_REASON_DEADLINE:
        raise DeadlineError("deadline: passed before the answer was whole")
    if reason == pb.STOP_REASON_CANCELLED:
        raise DrainingError


def deadline_after(remaining_s: float | None, clock: Clock) -> float:
    """The moment on `clock` when `remaining_s` will have passed; infinite for None."""
    return math.inf if remaining_s is None else clock() + remaining_s
