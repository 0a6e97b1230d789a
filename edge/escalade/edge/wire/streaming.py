"""An answer as it comes, over as many calls as it takes; knows no cascade, no rule.

A stream that is cut is asked for again with what has come of it, and goes on there: the server
computes a request once, and on for a while where nobody reads. What has come is never taken back: a
server whose answer begins otherwise refuses to go on, and what does not add up is no answer.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from collections.abc import Generator, Mapping

import grpc

from escalade.edge.policy import Permit
from escalade.edge.wire.checks import bad_answer, check_answer, check_chunk
from escalade.edge.wire.connection import Connection
from escalade.v1 import cascade_pb2 as pb

#: The back-off's longest wait and a new connection's handshakes over a slow link.
KEEP_S = 5.0
# Of bytes that are no UTF-8.
_REPLACEMENT = "\ufffd"

#: Chunks as they come, then the whole response, which they begin.
AnswerStream = Generator[pb.TokenChunk, None, pb.GenerateResponse]


def read_answer(
    connection: Connection,
    request: pb.GenerateRequest,
    *,
    deadline_s: float | None,
    keep_s: float,
    vocabulary_sizes: Mapping[str, int],
    permit: Permit,
) -> AnswerStream:
    """See `CloudClient.stream`; the request has its id, and the permit is for it."""
    asked = pb.GenerateStreamRequest(request=request, keep_s=keep_s)
    received = _Received(asked, connection.address, vocabulary_sizes)
    attempts = connection.attempts(deadline_s=deadline_s)
    while True:
        try:
            with connection.line() as line:
                permit.attempt()
                call = line.stub.GenerateStream(asked, timeout=attempts.begin())
                try:
                    for sequence, message in enumerate(call):
                        line.heard += 1
                        if message.sequence != sequence:
                            raise received.wrong(
                                f"message {sequence} is numbered {message.sequence}"
                            )
                        if message.WhichOneof("event") == "final":
                            return received.whole(message)
                        yield received.chunk(message)
                    raise received.wrong("the stream ended without its answer")
                finally:
                    call.cancel()
                    del call  # see `Attempts.wait`: this frame goes on
        except grpc.RpcError as error:
            attempts.wait(error)
            asked.resume_from.CopyFrom(received.point())


class _Received:
    """What has come of an answer."""

    def __init__(
        self, asked: pb.GenerateStreamRequest, address: str, vocabulary_sizes: Mapping[str, int]
    ) -> None:
        self._request, self._address = asked.request, address
        self._sizes = vocabulary_sizes
        self._ids = array("I")
        self._text = ""

    def wrong(self, what: str) -> Exception:
        return bad_answer(self._address, what)

    def chunk(self, message: pb.GenerateStreamResponse) -> pb.TokenChunk:
        """Take one.

        Raises:
            CloudError: of reason BAD_ANSWER.
        """
        self._check_offset(message)
        check_chunk(self._request, message.chunk, self._address, self._sizes)
        self._ids.extend(message.chunk.token_ids)
        self._text += message.chunk.text
        return message.chunk

    def whole(self, message: pb.GenerateStreamResponse) -> pb.GenerateResponse:
        """Take the end.

        Raises:
            CloudError: of reason BAD_ANSWER.
        """
        self._check_offset(message)
        response = message.final
        check_answer(self._request, response, self._address, self._sizes)
        if list(response.token_ids) != list(self._ids):
            raise self.wrong("the tokens of the stream are not those of the answer")
        if response.text != self._text and _REPLACEMENT not in response.text:
            raise self.wrong("the text of the stream is not that of the answer")
        return response

    def point(self) -> pb.ResumePoint:
        words = self._ids[:]
        if sys.byteorder == "big":
            words.byteswap()
        return pb.ResumePoint(
            token_offset=len(words), text_offset=len(self._text), token_crc32=zlib.crc32(words)
        )

    def _check_offset(self, message: pb.GenerateStreamResponse) -> None:
        if message.token_offset != len(self._ids):
            raise self.wrong(f"token {message.token_offset} came, {len(self._ids)} is due")
