"""Where a stream that was cut goes on, and how long that is waited for; knows no computation.

Chunks are merged for slow readers, so that a message's number says nothing of what was in it. What
a client has is counted in tokens and characters: what comes after them is all it lacks, however it
was and will be cut.
"""

from __future__ import annotations

import array
import sys
import zlib
from collections.abc import Sequence
from typing import NamedTuple

from escalade.cloud.errors import OptionOutOfRangeError, StreamChangedError
from escalade.v1 import cascade_pb2 as pb

#: Of `keep_s`. So long may a place in the queue be held for nobody.
MOST_KEEP_S = 60.0


class Received(NamedTuple):
    """How much of an answer a client has; nothing of it by default."""

    tokens: int = 0
    characters: int = 0
    #: See `ResumePoint` in cascade.proto; None is not held against the answer.
    crc32: int | None = None

    def begins(self, ids: Sequence[int], text: str) -> bool:
        """Whether so much of an answer is there yet.

        Raises:
            StreamChangedError: it is, and begins with other tokens.
        """
        if self.tokens > len(ids) or self.characters > len(text):
            return False
        if self.crc32 is not None and crc32_of(ids[: self.tokens]) != self.crc32:
            raise StreamChangedError(
                f"resume_from.token_crc32: the answer's first {self.tokens} tokens are others than"
                " those of the stream that was cut; ask anew"
            )
        return True

    def check_begins(self, ids: Sequence[int], text: str) -> None:
        """Refuse a client that has more than there is, or something else.

        Raises:
            StreamChangedError: it does.
        """
        if not self.begins(ids, text):
            raise StreamChangedError(
                f"resume_from: must be within the answer's {len(ids)} tokens and {len(text)}"
                f" characters, got {self.tokens} and {self.characters}; ask anew"
            )


NOTHING = Received()


def received_of(request: pb.GenerateStreamRequest) -> Received:
    """What the client has already.

    Raises:
        OptionOutOfRangeError: there is no id to know the answer by.
    """
    if not request.HasField("resume_from"):
        return NOTHING
    _check_id(request, "resume_from")
    point = request.resume_from
    return Received(
        point.token_offset,
        point.text_offset,
        point.token_crc32 if point.HasField("token_crc32") else None,
    )


def keep_s_of(request: pb.GenerateStreamRequest) -> float:
    """Seconds that the answer is computed on for a client that has gone.

    Raises:
        OptionOutOfRangeError: not in 0..`MOST_KEEP_S`, or there is no id to ask for it by.
    """
    if not 0 <= request.keep_s <= MOST_KEEP_S:
        raise OptionOutOfRangeError(
            "keep_s", f"must be in 0..{MOST_KEEP_S:g}, got {request.keep_s:g}"
        )
    if request.keep_s:
        _check_id(request, "keep_s")
    return request.keep_s


def crc32_of(ids: Sequence[int]) -> int:
    """As `ResumePoint.token_crc32`."""
    words = array.array("I", ids)
    if sys.byteorder == "big":
        words.byteswap()
    return zlib.crc32(words)


def _check_id(request: pb.GenerateStreamRequest, field: str) -> None:
    if not request.request.request_id:
        raise OptionOutOfRangeError(field, "must come with a request_id, got none")
