"""An answer in text while it comes, cut at its stop texts; knows no tokenizer, no transport.

`Response` of the embedded engines is the same for tokens whose meaning is known.
"""

from __future__ import annotations

from collections.abc import Sequence

from escalade.cloud.backends.query import Answer, Delta, Query
from escalade.v1 import cascade_pb2 as pb
from escalade.v1.stop_text import find_stop, held_back


class TextResponse:
    """Pieces in; deltas and the answer out.

    Args:
        query: its stop texts.
    """

    def __init__(self, query: Query) -> None:
        self._stops = query.stop_texts
        self._text = ""
        # How much of it can no longer be cut off, and how much was taken.
        self._sure = self._taken = 0
        #: Whether a stop text has come; nothing comes after it.
        self.ended = False

    def add(self, piece: str) -> None:
        """Go on by a piece."""
        if self.ended:
            return
        self._text += piece
        waiting = self._text[self._sure :]
        at = find_stop(waiting, self._stops)
        if at is None:
            self._sure += len(waiting) - held_back(waiting, self._stops)
            return
        self._sure += at
        self._text = self._text[: self._sure]
        self.ended = True

    def take(self) -> Delta | None:
        """What has become sure since the last time, if anything has."""
        if self.ended or self._taken == self._sure:
            return None  # the answer says the rest
        more = self._text[self._taken : self._sure]
        self._taken = self._sure
        return Delta(text=more)

    def answer(self, reason: pb.StopReason, prompt_tokens: int, generated_tokens: int) -> Answer:
        """The whole of it, once it has ended."""
        ids: Sequence[int] = ()
        return Answer(
            token_ids=ids,
            logprobs=(),
            margins=(),
            end_id=None,
            text=self._text,
            stop_reason=pb.STOP_REASON_STOP_SEQUENCE if self.ended else reason,
            prompt_tokens=prompt_tokens,
            generated_tokens=generated_tokens,
        )
