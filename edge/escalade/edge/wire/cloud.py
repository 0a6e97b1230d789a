"""Asks a server one query, whole or as a stream; knows no artifact, no rule.

A query that fails in a way that may pass is asked again with the same request id: the
server computes a repeated id once. What comes back is held against what can be: a server is
another program, perhaps of another version.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import grpc

from escalade.edge.base import Clock
from escalade.edge.wire.checks import check_answer, check_info, check_verdict
from escalade.edge.wire.connection import Connection
from escalade.edge.wire.streaming import KEEP_S, AnswerStream, read_answer
from escalade.v1 import cascade_pb2 as pb
from escalade.v1 import cascade_pb2_grpc

# How long a cancelled call may go on unnoticed.
_CANCEL_S = 0.05


class CloudAnswer(NamedTuple):
    """What a server said and what the call cost."""

    response: pb.GenerateResponse
    attempts: int
    round_trip_s: float
    bytes_up: int
    draft_bytes: int
    bytes_down: int


class CloudClient:
    """A server of `escalade.v1`, seen from the device."""

    def __init__(
        self,
        address: str,
        *,
        deadline_s: float = 10.0,
        ca_cert: Path | None = None,
        plaintext: bool | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Open the channel, see `Connection`; `deadline_s` is for one query.

        Raises:
            CloudError: see `Connection`.
        """
        self.address = address
        self.deadline_s = deadline_s
        self._connection = Connection(
            address,
            deadline_s=deadline_s,
            ca_cert=ca_cert,
            plaintext=plaintext,
            clock=clock,
            rng=rng,
        )
        self._clock = self._connection.clock
        #: Of the tokenizers that are known, by their fingerprint.
        self.vocabulary_sizes: dict[str, int] = {}

    def model_info(self) -> pb.GetModelInfoResponse:
        """Who is serving.

        Raises:
            CloudError: it does not answer, or names no model.
        """
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

    def generate(
        self,
        request: pb.GenerateRequest,
        *,
        deadline_s: float | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> CloudAnswer | None:
        """Ask a query.

        Args:
            request: without an id, which it is given here.
            deadline_s: for this query, all attempts included; None takes the client's.
            cancelled: asked while it waits; the call is then cancelled at the server too.

        Returns:
            None where it was cancelled.

        Raises:
            CloudError: it refused, did not answer within the deadline, or gave what can be no
                answer.
        """
        request.request_id = uuid.uuid4().hex
        started = self._clock.now_s()
        answered, attempts = self._connection.call(
            lambda stub, timeout: _attempt(stub, request, timeout, cancelled), deadline_s
        )
        if answered is None:
            return None
        round_trip_s = self._clock.now_s() - started
        check_answer(request, answered, self.address, self.vocabulary_sizes)
        return CloudAnswer(
            answered,
            attempts=attempts,
            round_trip_s=round_trip_s,
            bytes_up=request.ByteSize(),
            draft_bytes=_draft_bytes(request),
            bytes_down=answered.ByteSize(),
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
        return read_answer(
            self._connection,
            request,
            deadline_s=deadline_s,
            keep_s=keep_s,
            vocabulary_sizes=self.vocabulary_sizes,
        )

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
        response, _ = self._connection.call(
            lambda stub, timeout: stub.Verify(request, timeout=timeout), deadline_s
        )
        check_verdict(request, response, self.address, self.vocabulary_sizes)
        return response

    def close(self) -> None:
        """Close the channel."""
        self._connection.close()


def _draft_bytes(request: pb.GenerateRequest) -> int:
    """How many bytes of a request are its draft."""
    if not request.HasField("draft"):
        return 0
    return pb.GenerateRequest(draft=request.draft).ByteSize()


def _attempt(
    stub: cascade_pb2_grpc.CascadeServiceStub,
    request: pb.GenerateRequest,
    timeout: float,
    cancelled: Callable[[], bool] | None,
) -> pb.GenerateResponse | None:
    if cancelled is None:
        return stub.Generate(request, timeout=timeout)
    if cancelled():
        return None
    future = stub.Generate.future(request, timeout=timeout)
    while True:
        try:
            return future.result(timeout=_CANCEL_S)
        except grpc.FutureTimeoutError:
            if cancelled():
                future.cancel()
                return None
