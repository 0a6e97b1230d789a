"""A response while its tokens come: what is sure of it, what it is at last; knows no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from escalade.cloud.backends.backend import BackendInfo
from escalade.cloud.backends.drafts import LetsStand, lenience_of
from escalade.cloud.backends.query import Answer, Delta, Query, TopRow
from escalade.v1 import cascade_pb2 as pb
from escalade.v1.growing_text import GrowingText, Spell


class Response:
    """Tokens in; deltas and the answer out.

    Args:
        query: with ids.
        info: where they end, and how many there may be.
        decode: token ids to text.
        spell: see `GrowingText`.
        streamed: whether deltas are taken before the end.
    """

    def __init__(
        self,
        query: Query,
        info: BackendInfo,
        decode: Callable[[Sequence[int]], str],
        spell: Spell,
        *,
        streamed: bool,
    ) -> None:
        self._draft, self._draws = query.draft, query.sampling is not None
        self._prompt_tokens = len(query.prompt_ids)
        #: Of the prompt, those that were there already.
        self.cached_prompt_tokens = 0
        #: Seconds that it waited for its first step, where it is one of many.
        self.queue_s = 0.0
        self._ends = info.end_of_sequence_ids
        room = info.context_length - self._prompt_tokens
        #: Tokens that it may have, the end-of-sequence token included.
        self.longest = min(query.max_new_tokens, room)
        self._decode = decode
        # Text that nobody reads before the end is decoded at the end.
        self._text = (
            GrowingText(decode, query.stop_texts, spell) if streamed or query.stop_texts else None
        )
        self._ids, self._logprobs, self._margins = list[int](), list[float](), list[float]()
        self._top: list[TopRow] = []
        self._end_id: int | None = None
        self._reason = (
            pb.STOP_REASON_MAX_TOKENS
            if query.max_new_tokens <= room
            else pb.STOP_REASON_CONTEXT_LIMIT
        )
        # Where tokens are not the model's own choices; None where none is let stand.
        self._lent: list[int] | None = None
        #: Whether an end of sequence or a stop text has come; nothing comes after it.
        self.ended = False

    @property
    def left(self) -> int:
        """Tokens that may yet come."""
        return 0 if self.ended else self.longest - len(self._logprobs)

    def read_draft(self) -> tuple[Sequence[int], LetsStand | None]:
        """How it may begin, and what of that stands; for whoever looks at it, before all else.

        No more of it is given than leaves the model one token to choose, and nothing where tokens
        are drawn: it is no help there.
        """
        if self._draft is None or self._draft.start or self._draws:
            return (), None
        lets_stand = lenience_of(self._draft)
        if lets_stand is not None:
            self._lent = []
        return self._draft.tokens.ids[: self.longest - 1], lets_stand

    def add(
        self,
        token: int,
        logprob: float,
        margin: float | None = None,
        top: TopRow | None = None,
        own: bool = True,
    ) -> None:
        """Go on by a token.

        Args:
            token: its id.
            logprob: natural logarithm of its probability.
            margin: see `Answer`; given for the first tokens, or for all.
            top: the likeliest tokens in its place; given for all, or for none.
            own: whether it is the model's own choice.
        """
        if not own and self._lent is not None:
            self._lent.append(len(self._logprobs))
        self._logprobs.append(logprob)
        if top is not None:
            self._top.append(top)
        if margin is not None:
            self._margins.append(margin)
        if token in self._ends:
            self._end_id, self._reason = token, pb.STOP_REASON_END_OF_SEQUENCE
            self.ended = True
            return
        self._ids.append(token)
        if self._text is not None:
            self._text.add(token)
            self.ended = self._text.stopped

    def take(self) -> Delta | None:
        """What has become sure since the last time, if anything has."""
        if self._text is None or self.ended:
            return None  # the answer says the rest
        sure, more = self._text.take()
        if not self._ids[sure] and not more:
            return None
        return Delta(self._ids[sure], self._logprobs[sure], more, top=self._top[sure])

    def answer(self, stopped: pb.StopReason | None = None) -> Answer:
        """The whole of it, once it has ended.

        Args:
            stopped: why it was stopped before its end, if it was.
        """
        reason, end_id = stopped or self._reason, self._end_id
        generated = len(self._logprobs)
        if self._text is None:
            kept, count = self._decode(self._ids), len(self._ids)
        else:
            kept, count = self._text.end()[:2]
        if self._text is not None and self._text.stopped:
            end_id, reason = None, pb.STOP_REASON_STOP_SEQUENCE
            for column in (self._ids, self._logprobs, self._margins, self._top):
                del column[count:]
        lent = None if self._lent is None else sum(at < len(self._logprobs) for at in self._lent)
        text_draft = self._draft is not None and self._draft.text
        return Answer(
            token_ids=self._ids,
            logprobs=self._logprobs,
            margins=self._margins,
            end_id=end_id,
            text=kept,
            stop_reason=reason,
            prompt_tokens=self._prompt_tokens,
            generated_tokens=generated,
            cached_prompt_tokens=self.cached_prompt_tokens,
            draft_ids=tuple(self._draft.tokens.ids) if self._draft and text_draft else (),
            lenient=lent,
            top=self._top,
        )
