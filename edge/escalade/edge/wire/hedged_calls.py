"""Sends one query over a server's connection, and over a second where the first is slow.

Knows no policy's rule: it shows a permit before each attempt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import grpc

from escalade.edge.base import Clock
from escalade.edge.policy import Permit
from escalade.edge.wire.checks import check_answer
from escalade.edge.wire.connection import Connection
from escalade.edge.wire.hedging import Hedge, Latencies, race
from escalade.edge.wire.sending import Sending
from escalade.edge.wire.trace_context import trace_metadata
from escalade.v1 import cascade_pb2 as pb
from escalade.v1 import cascade_pb2_grpc

# How long a cancelled call may go on unnoticed.
_CANCEL_S = 0.05


class HedgedCalls:
    """A server's connections; several threads may send."""

    def __init__(
        self,
        first: Connection,
        hedge: tuple[Hedge, Connection] | None,
        *,
        deadline_s: float,
        clock: Clock,
        vocabulary_sizes: Mapping[str, int],
    ) -> None:
        """Take connections that are open; they are closed by who opened them.

        Args:
            first: is asked first.
            hedge: when a query is asked over another; None never.
            deadline_s: for one query.
            clock: see `Clock`.
            vocabulary_sizes: of the tokenizers that are known, by their fingerprint.
        """
        self._first, self._second = first, hedge
        self._deadline_s, self._clock = deadline_s, clock
        self._vocabulary_sizes = vocabulary_sizes
        percent = None if hedge is None else hedge[0].percent
        self._latencies = None if percent is None else Latencies(percent)

    def send(
        self,
        request: pb.GenerateRequest,
        deadline_s: float | None,
        cancelled: Callable[[], bool] | None,
        sent: Sending,
        permit: Permit,
    ) -> tuple[pb.GenerateResponse, float] | None:
        """The answer and the seconds it took, see `CloudClient.generate`."""
        started_s = self._clock.now_s()

        def elapsed_s() -> float:
            return self._clock.now_s() - started_s

        if self._second is None:
            response = self._ask(self._first, request, deadline_s, cancelled, sent, permit)
        else:
            hedge, second = self._second
            whole_s = self._deadline_s if deadline_s is None else deadline_s

            def again(given_up: Callable[[], bool]) -> pb.GenerateResponse | None:
                return self._ask(second, request, whole_s - elapsed_s(), given_up, sent, permit)

            response = race(
                lambda given_up: self._ask(
                    self._first, request, deadline_s, given_up, sent, permit
                ),
                again,
                hedge._replace(after_s=self._after_s(hedge)),
                cancelled or (lambda: False),
            )
        if response is None:
            return None
        seconds = elapsed_s()
        if self._latencies is not None:
            self._latencies.note(seconds)
        return response, seconds

    def _after_s(self, hedge: Hedge) -> float:
        seen = None if self._latencies is None else self._latencies.percentile()
        return hedge.after_s if seen is None else seen

    def _ask(
        self,
        connection: Connection,
        request: pb.GenerateRequest,
        deadline_s: float | None,
        cancelled: Callable[[], bool] | None,
        sent: Sending,
        permit: Permit,
    ) -> pb.GenerateResponse | None:
        """Ask over a connection, each attempt counted."""

        def attempt(
            stub: cascade_pb2_grpc.CascadeServiceStub, timeout: float
        ) -> pb.GenerateResponse | None:
            permit.attempt()
            sent.sends(request, connection)
            return _attempt(stub, request, timeout, cancelled)

        response, _ = connection.call(attempt, deadline_s)
        if response is not None:
            check_answer(request, response, connection.address, self._vocabulary_sizes)
        return response


def _attempt(
    stub: cascade_pb2_grpc.CascadeServiceStub,
    request: pb.GenerateRequest,
    timeout: float,
    cancelled: Callable[[], bool] | None,
) -> pb.GenerateResponse | None:
    metadata = trace_metadata()
    if cancelled is None:
        return stub.Generate(request, timeout=timeout, metadata=metadata)
    if cancelled():
        return None
    future = stub.Generate.future(request, timeout=timeout, metadata=metadata)
    while True:
        try:
            return future.result(timeout=_CANCEL_S)
        except grpc.FutureTimeoutError:
            if cancelled():
                future.cancel()
                return None
