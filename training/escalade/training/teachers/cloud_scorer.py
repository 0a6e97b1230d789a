"""Asks the cloud's `Score` RPC what p_L says of given responses; knows no loss, no torch.

A stream that breaks in a way that may pass is opened again, after a back-off, at the first
item that has not come whole (`resume_from`): an item received whole is never asked again,
an item received in part is asked again from its first token. Every stream names the model
it expects, so that a server that comes back with other weights refuses it.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import grpc

from escalade.edge.base import Clock
from escalade.edge.errors import CloudError
from escalade.edge.wire import ClientFiles, Connection, check_info
from escalade.training.errors import TeacherError
from escalade.training.teachers.score_stream import TokenScores, read_scores
from escalade.v1 import cascade_pb2 as pb
from escalade.v1.reasons import reason_of_name

# Half of the 4 MiB that gRPC takes by default.
_REQUEST_BYTES = 2 << 20

_ANOTHER_MODEL = (pb.ERROR_REASON_MODEL_MISMATCH, pb.ERROR_REASON_TOKENIZER_MISMATCH)

Item = tuple[Sequence[int], Sequence[int]]


class CloudScorer:
    """The large model p_L behind the cloud's `Score` RPC; one thread at a time."""

    def __init__(
        self,
        address: str,
        *,
        tokenizer_fingerprint: str,
        deadline_s: float = 60.0,
        ca_cert: Path | None = None,
        plaintext: bool | None = None,
        files: ClientFiles | None = None,
        items_per_request: int = 256,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Open the channel; nothing is sent before the first call.

        Args:
            address: `HOST:PORT`.
            tokenizer_fingerprint: of the student's tokenizer, whose ids will be sent:
                see `escalade.checkpoint.tokenizer_fingerprint`.
            deadline_s: seconds without another whole item before it gives up. The time that
                the caller takes between two items does not count.
            ca_cert: see `Connection`.
            plaintext: see `Connection`.
            files: see `Connection`.
            items_per_request: at most; fewer where their tokens fill a message.
            clock: see `Clock`.
            rng: for the jitter of the back-off.

        Raises:
            TeacherError: an argument is malformed or out of range.
        """
        if items_per_request < 1:
            raise TeacherError(f"items_per_request must be at least 1, got {items_per_request}")
        self._fingerprint = tokenizer_fingerprint
        self._items_per_request = items_per_request
        self._known: pb.GetModelInfoResponse | None = None
        try:
            self._connection = Connection(
                address,
                deadline_s=deadline_s,
                ca_cert=ca_cert,
                plaintext=plaintext,
                files=files or ClientFiles(),
                clock=clock,
                rng=rng,
            )
        except CloudError as error:
            raise TeacherError(f"teacher: {error}") from error

    def info(self) -> pb.GetModelInfoResponse:
        """Ask who is serving, and within which limits.

        Raises:
            TeacherError: the cloud does not answer or offers no Score, its tokenizer is not
                the student's, or it is no longer the model that answered before.
        """
        request = pb.GetModelInfoRequest()
        try:
            info, _ = self._connection.call(
                lambda stub, timeout: stub.GetModelInfo(request, timeout=timeout)
            )
            check_info(info, self._connection.address)
        except CloudError as error:
            raise TeacherError(f"teacher: {error}") from error
        model = info.model
        who = f"teacher {model.name!r} at {self._connection.address}"
        if pb.CAPABILITY_SCORE not in info.capabilities:
            raise TeacherError(f"{who}: this server does not offer Score")
        if not 0 < info.vocabulary_size >= info.max_top_k:
            raise TeacherError(
                f"{who}: BAD_ANSWER: it has {info.vocabulary_size} tokens and offers the"
                f" {info.max_top_k} best of them"
            )
        if model.tokenizer_fingerprint != self._fingerprint:
            raise TeacherError(
                f"{who}: its tokenizer is not the student's: fingerprint"
                f" {model.tokenizer_fingerprint[:12]!r}, the student's is"
                f" {self._fingerprint[:12]!r}"
            )
        if self._known is not None and model != self._known.model:
            before = self._known.model
            raise TeacherError(
                f"{who}: another model answers now: revision {model.revision[:12]!r},"
                f" before it was {before.name!r} {before.revision[:12]!r}"
            )
        self._known = info
        return info

    def score(self, items: Sequence[Item], *, top_k: int) -> Iterator[TokenScores]:
        """Stream the scores of each (prompt ids, response ids), in order.

        Nothing is asked before the first one is taken. A reader that is slow holds the
        server back; one that stops and closes the iterator ends the stream.

        Args:
            items: each with at least one prompt and one response token, special tokens
                included.
            top_k: log-probabilities for each token; 0 gives the argmax and the response's
                own log-probabilities alone.

        Raises:
            TeacherError: while iterating: as `info`; an item or `top_k` is refused; or no
                item has come whole within the deadline.
        """
        info = self._known or self.info()
        if not 0 <= top_k <= info.max_top_k:
            raise TeacherError(f"top_k must be in 0..{info.max_top_k}, got {top_k}")
        first = 0
        for request in self._requests(items, top_k, info.model):
            try:
                yield from self._answers(request, info)
            except CloudError as error:
                where = f" (its items[0] is number {first} here)" if first else ""
                changed = reason_of_name(error.reason) in _ANOTHER_MODEL
                what = "another model answers now: " if changed else ""
                raise TeacherError(f"teacher {info.model.name!r}: {what}{error}{where}") from error
            first += len(request.items)

    def close(self) -> None:
        """Close the channel."""
        self._connection.close()

    def _requests(
        self, items: Iterable[Item], top_k: int, model: pb.ModelIdentity
    ) -> Iterator[pb.ScoreRequest]:
        def empty() -> pb.ScoreRequest:
            return pb.ScoreRequest(request_id=uuid.uuid4().hex, expected_model=model, top_k=top_k)

        request, size = empty(), 0
        for number, (prompt, response) in enumerate(items):
            try:
                item = pb.ScoreItem(prompt=self._tokens(prompt), response=self._tokens(response))
            except (TypeError, ValueError) as error:
                raise TeacherError(
                    f"item {number}: token ids must be in 0..2**32-1: {error}"
                ) from error
            size += item.ByteSize()
            if request.items and (
                size > _REQUEST_BYTES or len(request.items) == self._items_per_request
            ):
                yield request
                request, size = empty(), item.ByteSize()
            request.items.append(item)
        if request.items:
            yield request

    def _tokens(self, ids: Sequence[int]) -> pb.TokenSequence:
        return pb.TokenSequence(ids=ids, tokenizer_fingerprint=self._fingerprint)

    def _answers(
        self, request: pb.ScoreRequest, info: pb.GetModelInfoResponse
    ) -> Iterator[TokenScores]:
        """Every item of a request, over as many streams as it takes."""
        # A stream lives no longer than the deadline, so that one that hangs is noticed; one
        # that was cut while it went on well is opened again.
        attempts = self._connection.attempts((grpc.StatusCode.DEADLINE_EXCEEDED,))
        while True:
            try:
                with self._connection.line() as line:
                    stream = line.stub.Score(request, timeout=attempts.begin())
                    try:
                        for scores in read_scores(stream, request, info):
                            line.heard += 1
                            request.resume_from += 1
                            yield scores
                            attempts.restart()
                        return
                    finally:
                        stream.cancel()
                        del stream  # see `Attempts.wait`: this frame goes on
            except grpc.RpcError as error:
                attempts.wait(error)
