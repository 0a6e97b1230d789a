"""What a call of one query cost, counted also where nothing comes back; knows no channel."""

from __future__ import annotations

from typing import NamedTuple

from escalade.v1 import cascade_pb2 as pb


class CloudAnswer(NamedTuple):
    """What a server said and what the call cost."""

    response: pb.GenerateResponse
    attempts: int
    round_trip_s: float
    bytes_up: int
    draft_bytes: int
    bytes_down: int


class Sending:
    """The attempts of one query, over one connection or several; any thread may count."""

    def __init__(self) -> None:
        self._over: list[object] = []
        self._bytes = self._draft_bytes = 0

    def sends(self, request: pb.GenerateRequest, connection: object) -> None:
        """Count an attempt."""
        self._bytes, self._draft_bytes = request.ByteSize(), _draft_bytes(request)
        self._over.append(connection)

    @property
    def attempts(self) -> int:
        """How often it was sent."""
        return len(self._over)

    @property
    def bytes_up(self) -> int:
        """Of the message; once for each connection, for one server computes it once."""
        return len(set(self._over)) * self._bytes

    @property
    def draft_bytes(self) -> int:
        """How many of them are the draft."""
        return len(set(self._over)) * self._draft_bytes


def _draft_bytes(request: pb.GenerateRequest) -> int:
    """How many bytes of a request are its draft."""
    if not request.HasField("draft"):
        return 0
    return pb.GenerateRequest(draft=request.draft).ByteSize()
