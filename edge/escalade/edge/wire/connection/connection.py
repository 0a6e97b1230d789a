"""A connection to one server, dialled anew where it has died in silence; knows no question."""

from __future__ import annotations

import math
import random
import threading
from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar, cast

import grpc

from escalade.edge.base import Clock, SystemClock
from escalade.edge.errors import CloudError
from escalade.edge.wire.connection.attempts import Attempts
from escalade.edge.wire.connection.breaker import Breaker
from escalade.edge.wire.connection.client_files import NO_FILES, ClientFiles
from escalade.edge.wire.connection.dialling import Through, dial_to
from escalade.v1 import cascade_pb2_grpc
from escalade.v1.channel import DIAL_WITHIN_S

R = TypeVar("R")


class Line:
    """One gRPC channel of a connection, and the calls on it."""

    def __init__(self, channel: grpc.Channel, dialled_s: float) -> None:
        self.stub = cascade_pb2_grpc.CascadeServiceStub(channel)
        self.dialled_s = dialled_s
        self.calls = 0
        #: Answers, and messages of streams, that have come over it.
        self.heard = 0
        self.close = channel.close


class Connection:
    """Speaks to one server; several threads may.

    gRPC mends a connection that ends, and by pings finds one that is dead (`escalade.v1.channel`).
    What a call has waited for in vain is not trusted either: the next one goes over a new line. So
    a connection that has died in silence costs one deadline at most.
    """

    def __init__(
        self,
        address: str,
        *,
        deadline_s: float,
        ca_cert: Path | None = None,
        plaintext: bool | None = None,
        files: ClientFiles = NO_FILES,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        breaker: Breaker | None = None,
        through: Through | None = None,
    ) -> None:
        """Nothing is sent before the first call.

        Args:
            address: `HOST:PORT`.
            deadline_s: seconds for one call, all attempts included.
            ca_cert: see `dial_to`, as the next two.
            plaintext: see there.
            files: see there.
            clock: see `Clock`.
            rng: for the jitter of the back-off.
            breaker: what keeps calls from a server that does not answer; None asks it always.
            through: given each channel that is dialled, gives the one that is asked; None is that.

        Raises:
            CloudError: an argument is malformed or out of range.
        """
        if not 0 < deadline_s < math.inf:
            raise CloudError(
                "BAD_OPTION", f"deadline must be > 0 seconds and finite, got {deadline_s}"
            )
        self._dialled = dial_to(address, ca_cert=ca_cert, plaintext=plaintext, files=files)
        self.address = address
        self.deadline_s = deadline_s
        self.clock = clock or SystemClock()
        self._rng = rng or random.Random()  # noqa: S311 - jitter is no secret
        self._breaker = breaker
        self._through = through
        self._lock = threading.Lock()
        self._closed = False
        self._line = self._dial()

    def attempts(
        self, may_pass: Container[grpc.StatusCode] = (), deadline_s: float | None = None
    ) -> Attempts:
        """Begin a call that may take `deadline_s`; None takes the connection's."""
        seconds = self.deadline_s if deadline_s is None else deadline_s
        return Attempts(self.address, self.clock, self._rng, seconds, may_pass)

    def call(
        self,
        attempt: Callable[[cascade_pb2_grpc.CascadeServiceStub, float], R],
        deadline_s: float | None = None,
    ) -> tuple[R, int]:
        """Try until it answers, refuses, or the deadline is over; gives the attempts made.

        Args:
            attempt: makes the call, given a stub and its timeout in seconds.
            deadline_s: for all attempts; None takes the connection's.

        Raises:
            CloudError: it refused, did not answer within the deadline, or is not asked for a while
                because of calls before.
        """
        attempts = self.attempts(deadline_s=deadline_s)
        if self._breaker is None:
            return self._until_answered(attempts, attempt)
        with self._breaker.trial(attempts.deadline_s) as trial:
            answer, count = self._until_answered(attempts, attempt)
            trial.answered = answer is not None  # or the caller gave up
            return answer, count

    def _until_answered(
        self,
        attempts: Attempts,
        attempt: Callable[[cascade_pb2_grpc.CascadeServiceStub, float], R],
    ) -> tuple[R, int]:
        while True:
            try:
                with self.line() as line:
                    answer = attempt(line.stub, attempts.begin())
                    line.heard += answer is not None  # or the caller gave up
                    return answer, attempts.count
            except grpc.RpcError as error:
                attempts.wait(error)

    @contextmanager
    def line(self) -> Iterator[Line]:
        """The line for one attempt, which counts what it hears.

        Raises:
            CloudError: the connection is closed.
        """
        with self._lock:
            line = self._line
            line.calls += 1
        before = line.heard
        try:
            if self._closed:
                raise self._is_closed()
            yield line
        except grpc.RpcError as error:
            if self._closed:  # which ends what is under way as CANCELLED
                raise self._is_closed() from error
            if _was_silent(error) and line.heard == before:
                self._replace(line)
            raise
        except ValueError as error:  # gRPC's word for a channel that was closed meanwhile
            if self._closed:
                raise self._is_closed() from error
            raise
        finally:
            self._release(line)

    def close(self) -> None:
        """Close every line; what is under way ends with a `CloudError`."""
        with self._lock:
            self._closed = True
        self._line.close()

    def _dial(self) -> Line:
        channel = self._dialled.channel()
        if self._through is not None:
            channel = self._through(self.address, channel)
        return Line(channel, self.clock.now_s())

    def _replace(self, line: Line) -> None:
        """Let later calls go over a new line; those on the old one end as they may.

        Not where the old one has never said anything and may still be dialling: over a slow link a
        short deadline would else never see a connection made.
        """
        with self._lock:
            age_s = self.clock.now_s() - line.dialled_s
            fresh = not line.heard and age_s < DIAL_WITHIN_S
            if line is self._line and not fresh and not self._closed:
                self._line = self._dial()

    def _release(self, line: Line) -> None:
        with self._lock:
            line.calls -= 1
            left = line is not self._line and line.calls == 0
        if left:
            line.close()

    def _is_closed(self) -> CloudError:
        return CloudError("CLOSED", f"cloud {self.address}: the connection was closed here")


def _was_silent(error: grpc.RpcError) -> bool:
    return cast(grpc.Call, error).code() is grpc.StatusCode.DEADLINE_EXCEEDED
