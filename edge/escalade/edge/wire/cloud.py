"""Asks a server one query, whole or as a stream; knows no artifact, no rule.

A query that fails in a way that may pass is asked again with the same request id: the
server computes a repeated id once. What comes back is held against what can be: a server is
another program, perhaps of another version.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from escalade.edge.base import Clock, SystemClock
from escalade.edge.errors import CloudError
from escalade.edge.policy import Guard, Leaving, Permit
from escalade.edge.wire.admission import admitted, note_spent
from escalade.edge.wire.checks import check_info, check_verdict
from escalade.edge.wire.connection import (
    FAILURES_BEFORE_OPEN,
    NO_FILES,
    Breaker,
    ClientFiles,
    Connection,
    Through,
)
from escalade.edge.wire.hedged_calls import HedgedCalls
from escalade.edge.wire.hedging import Hedge
from escalade.edge.wire.sending import CloudAnswer, Sending
from escalade.edge.wire.streaming import KEEP_S, AnswerStream, read_answer
from escalade.v1 import cascade_pb2 as pb
from escalade.v1 import cascade_pb2_grpc


class CloudClient:
    """A server of `escalade.v1`, seen from the device."""

    def __init__(
        self,
        address: str,
        *,
        deadline_s: float = 10.0,
        ca_cert: Path | None = None,
        plaintext: bool | None = None,
        files: ClientFiles = NO_FILES,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        breaker_after: int = FAILURES_BEFORE_OPEN,
        hedge: Hedge | None = None,
        through: Through | None = None,
        guard: Guard | None = None,
    ) -> None:
        """Open the channel, see `Connection`.

        Args:
            address: see `Connection`.
            deadline_s: for one query.
            ca_cert: see `Connection`; of the hedge's address too, as the next two.
            plaintext: see `Connection`.
            files: see `Connection`.
            clock: see `Connection`.
            rng: see `Connection`.
            breaker_after: failures in a row after which it is not asked for a while (`Breaker`); 0
                asks it always.
            hedge: when a query is asked a second time; None never.
            through: see `Connection`.
            guard: this device's policy, which every call has to pass; None: there is none.

        Raises:
            CloudError: see `Connection`.
        """
        self.address = address
        self.guard = guard
        self.deadline_s = deadline_s
        clock = clock or SystemClock()
        rng = rng or random.Random()  # noqa: S311 - jitter is no secret

        def breaker(of: str) -> Breaker | None:
            return Breaker(of, clock, rng, breaker_after) if breaker_after else None

        def connect(to: str, breaker: Breaker | None) -> Connection:
            return Connection(
                to,
                deadline_s=deadline_s,
                ca_cert=ca_cert,
                plaintext=plaintext,
                files=files,
                clock=clock,
                rng=rng,
                breaker=breaker,
                through=through,
            )

        own = breaker(address)
        self._connection = connect(address, own)
        self._second: Connection | None = None
        if hedge is not None:
            other = hedge.address
            try:
                self._second = connect(other or address, breaker(other) if other else own)
            except CloudError:
                self._connection.close()
                raise
        #: Of the tokenizers that are known, by their fingerprint.
        self.vocabulary_sizes: dict[str, int] = {}
        self._calls = HedgedCalls(
            self._connection,
            None if hedge is None or self._second is None else (hedge, self._second),
            deadline_s=deadline_s,
            clock=clock,
            vocabulary_sizes=self.vocabulary_sizes,
        )

    def model_info(self) -> pb.GetModelInfoResponse:
        """Who is serving.

        Raises:
            CloudError: it does not answer, or names no model.
            PolicyError: the policy lets no question out.
        """
        if self.guard is not None:
            self.guard.check_question(self.address)
        request = pb.GetModelInfoRequest()
        response, _ = self._connection.call(
            lambda stub, timeout: stub.GetModelInfo(request, timeout=timeout)
        )
        check_info(response, self.address)
        if response.vocabulary_size:
            self.knows(response.model.tokenizer_fingerprint, response.vocabulary_size)
        return response

    def knows(self, fingerprint: str, vocabulary_size: int) -> None:
        """Learn how many tokens a tokenizer has; of two models that share it, the wider's rows."""
        known = self.vocabulary_sizes.get(fingerprint, 0)
        self.vocabulary_sizes[fingerprint] = max(known, vocabulary_size)

    def admit(
        self, request: pb.GenerateRequest | pb.VerifyRequest, leaving: Leaving | None = None
    ) -> Permit:
        """Ask this device's policy for leave to send a query, which may ask a person.

        Args:
            request: one without an id is given one here.
            leaving: what of it only its tier knows; None: the request alone says what it holds.

        Raises:
            PolicyError: it stays.
        """
        return admitted(self.guard, request, self.address, leaving)

    def generate(
        self,
        request: pb.GenerateRequest,
        *,
        deadline_s: float | None = None,
        cancelled: Callable[[], bool] | None = None,
        sending: Sending | None = None,
        permit: Permit | None = None,
    ) -> CloudAnswer | None:
        """Ask a query.

        Args:
            request: one without an id is given one here.
            deadline_s: for this query, all attempts included; None takes the client's.
            cancelled: asked while it waits; the call is then cancelled at the server too.
            sending: counts what is sent, whatever comes of it; a new one.
            permit: the policy's leave (`admit`); None asks for it here.

        Returns:
            None where it was cancelled.

        Raises:
            CloudError: it refused, did not answer within the deadline, or gave what can be no
                answer.
            PolicyError: the policy keeps it here.
        """
        request.request_id = request.request_id or uuid.uuid4().hex
        sent = Sending() if sending is None else sending
        with self.admit(request) if permit is None else nullcontext(permit) as leave:
            answered = self._calls.send(request, deadline_s, cancelled, sent, leave)
            if answered is None:
                return None
            response, seconds = answered
            note_spent(leave, response)
        return CloudAnswer(
            response,
            attempts=sent.attempts,
            round_trip_s=seconds,
            bytes_up=sent.bytes_up,
            draft_bytes=sent.draft_bytes,
            bytes_down=response.ByteSize(),
        )

    def stream(
        self,
        request: pb.GenerateRequest,
        *,
        deadline_s: float | None = None,
        keep_s: float = KEEP_S,
    ) -> AnswerStream:
        """Ask a query and give its answer as it comes; a stream that is cut goes on where it was.

        Close the generator to give up; the server then computes for `keep_s` at most.

        Args:
            request: without an id, which it is given here.
            deadline_s: for all of it, every call included; None takes the client's.
            keep_s: seconds for which the server computes on while the stream is cut, 0..60.

        Returns:
            Chunks, which together are the answer; and by `yield from`, the whole response.

        Raises:
            CloudError: see `generate`; of reason STREAM_CHANGED where the server lost the answer
                and a new one begins otherwise.
        """
        request.request_id = uuid.uuid4().hex
        with self.admit(request) as permit:
            response = yield from read_answer(
                self._connection,
                request,
                deadline_s=deadline_s,
                keep_s=keep_s,
                vocabulary_sizes=self.vocabulary_sizes,
                permit=permit,
            )
            note_spent(permit, response)
        return response

    def verify(
        self, request: pb.VerifyRequest, *, deadline_s: float | None = None
    ) -> pb.VerifyResponse:
        """Have a draft held against the server's own choice.

        Args:
            request: without an id, which it is given here.
            deadline_s: for this call, all attempts included; None takes the client's.

        Raises:
            CloudError: it refused, did not answer in time, or said what cannot be.
        """
        request.request_id = uuid.uuid4().hex
        with self.admit(request) as permit:

            def attempt(
                stub: cascade_pb2_grpc.CascadeServiceStub, timeout: float
            ) -> pb.VerifyResponse:
                permit.attempt()
                return stub.Verify(request, timeout=timeout)

            response, _ = self._connection.call(attempt, deadline_s)
        check_verdict(request, response, self.address, self.vocabulary_sizes)
        return response

    def close(self) -> None:
        """Close the channel."""
        self._connection.close()
        if self._second is not None:
            self._second.close()
