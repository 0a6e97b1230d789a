"""Keeps calls from a server that does not answer: a circuit breaker; knows no channel.

Closed, every call goes out. After some failures in a row it is open: calls end at once, so that a
cloud that is gone costs a deadline now and then, and not one for each query. When a back-off is
over one call goes out to see, alone; if it is answered all do again, else the back-off doubles.

A failure counts where it speaks of the link or of a server that is not there. Failures are in a row
where each is of a call that began after the one before had ended: what fails side by side fails
of one cause. Any answer, a refusal too, ends the row.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from escalade.edge.base import Clock, counted
from escalade.edge.errors import CloudError, PolicyError

#: Failures in a row after which a server is left alone: one may be a restart, two a bad minute.
FAILURES_BEFORE_OPEN = 3
#: The reason of a call that did not go out.
CIRCUIT_OPEN = "CIRCUIT_OPEN"
# Doubling, with the jitter that gRPC dials with ("GRPC Connection Backoff Protocol"); at most a
# minute, for somebody may be waiting at the device when the cloud is back.
_FIRST_S, _MOST_S, _JITTER = 1.0, 60.0, 0.2
# A call that had less than a round trip of the slowest profile (edge) could not be answered there:
# that it ran out of time says nothing.
_TELLING_S = 1.0


class Trial:
    """A call that went out."""

    def __init__(self, began_s: float) -> None:
        self.began_s = began_s
        #: Set by who made the call; one that was given up is not.
        self.answered = False


class Breaker:
    """Of one address; several threads may ask."""

    _row: int
    _failed_s: float
    #: None while it is closed.
    _open_until_s: float | None
    _backoff_s: float
    #: The call that is out to see, once the back-off is over.
    _probe: Trial | None

    def __init__(
        self,
        address: str,
        clock: Clock,
        rng: random.Random,
        failures: int = FAILURES_BEFORE_OPEN,
    ) -> None:
        """Begin closed.

        Args:
            address: whose calls they are, for messages.
            clock: see `Clock`.
            rng: for the jitter of the back-off.
            failures: in a row, after which it opens; at least 1.
        """
        self._address, self._clock, self._rng = address, clock, rng
        self._most = failures
        self._lock = threading.Lock()
        self._close()

    @contextmanager
    def trial(self, deadline_s: float) -> Iterator[Trial]:
        """One call, which the block makes.

        Args:
            deadline_s: the seconds that it has.

        Raises:
            CloudError: it is not to go out: of reason CIRCUIT_OPEN. Or what the block raises.
        """
        trial = self._enter()
        try:
            yield trial
        except CloudError as error:
            self._ended(trial, error, telling=deadline_s >= _TELLING_S)
            raise
        finally:
            with self._lock:
                if trial.answered:
                    self._close()
                elif self._probe is trial:
                    self._probe = None

    def _enter(self) -> Trial:
        with self._lock:
            now_s = self._clock.now_s()
            trial = Trial(now_s)
            if self._open_until_s is None:
                return trial
            left_s = self._open_until_s - now_s
            if left_s > 0 or self._probe is not None:
                when = f"again in {left_s:.1f} s" if left_s > 0 else "just now by another query"
                raise CloudError(
                    CIRCUIT_OPEN,
                    f"cloud {self._address}: not asked: {counted(self._row, 'call')} in a row"
                    f" failed; it is tried {when}",
                    cause="link",
                )
            self._probe = trial
            return trial

    def _ended(self, trial: Trial, error: CloudError, *, telling: bool) -> None:
        """Count how a call failed."""
        if error.reason == "CLOSED" or isinstance(error, PolicyError):  # here, and not there
            return
        if error.cause != "link":
            trial.answered = True
            return
        with self._lock:
            if not telling:
                return
            if self._open_until_s is not None:
                if trial is self._probe:
                    self._row += 1
                    self._open()
            elif trial.began_s >= self._failed_s:
                self._row += 1
                self._failed_s = self._clock.now_s()
                if self._row >= self._most:
                    self._open()

    def _open(self) -> None:
        jitter = self._rng.uniform(1 - _JITTER, 1 + _JITTER)
        self._open_until_s = self._clock.now_s() + self._backoff_s * jitter
        self._backoff_s = min(2 * self._backoff_s, _MOST_S)

    def _close(self) -> None:
        self._row = 0
        self._failed_s = float("-inf")
        self._open_until_s = None
        self._backoff_s = _FIRST_S
        self._probe = None
