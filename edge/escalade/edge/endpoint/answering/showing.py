"""What the reader of a stream has seen of an answer, and what is sent next; asks nobody.

    hold      nothing before it is decided whose answer stands
    replace   a draft as it comes; where another answer stands, an event takes it back
    early     the same, and a draft ends as soon as it is certain not to stand

The last tier's answer is decided before it begins: where that is one model on this device, it comes
piece by piece in every mode.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from escalade.edge.cascade import Cascade
from escalade.edge.endpoint.openai import Finished, StreamMode, Token, Tokens, deferred
from escalade.edge.generation import Delta
from escalade.edge.tiers import Said


class Piece(NamedTuple):
    """More of an answer."""

    text: str
    tokens: Sequence[Token] | None
    #: Of the last of an answer, how it came about.
    decision: dict[str, object] | None = None


class Event(NamedTuple):
    """Something that is no text, see `decision`."""

    what: dict[str, object]
    #: Whether its reader is asked something, and his word waited for.
    asks: bool = False


Shown = Piece | Event | Finished
Show = Callable[[Shown], None]


class Showing:
    """One choice of a stream."""

    def __init__(self, cascade: Cascade, mode: StreamMode, show: Show, *, logprobs: bool) -> None:
        """Begin.

        Args:
            cascade: who answers.
            mode: see the module.
            show: called in the thread that answers.
            logprobs: whether pieces have their tokens.
        """
        self._cascade, self._mode, self._show = cascade, mode, show
        self._logprobs = logprobs
        self._tokens: Tokens | None = None
        # Whose text is seen, and what of it; None: nobody's.
        self._by: int | None = None
        self._seen = ""
        self._seen_tokens: list[Token] = []

    def delta(self, speaking: int, delta: Delta) -> None:
        """Something that a tier on this device has said."""
        if not self._is_shown(speaking):
            return
        if self._by != speaking:
            self._take_back(speaking)
            self._by = speaking
            self._tokens = self._tokens_of(speaking)
        step, taken = delta.step, []
        self._seen += delta.text
        if self._tokens is not None:
            artifact = self._cascade.tiers[speaking].opened[0].artifact
            if step is not None and (artifact.classifies or not step.ended):
                self._tokens.add(step.token_id, step.logprob, step.top)
            ended = delta.stop in {"end", "length"}
            taken = self._tokens.take(self._seen, ended=ended)
            self._seen_tokens += taken
        if delta.text or taken:
            self._show(Piece(delta.text, taken if self._logprobs else None))

    def told(self, index: int, said: Said) -> None:
        """What a tier said, before the next is asked."""
        if said.defers and self._mode != "hold" and index < len(self._cascade.tiers) - 1:
            tier, gate = self._cascade.tiers[index], self._cascade.gates[index]
            self._show(Event(deferred(tier, gate, said)))

    def end(self, finished: Finished) -> None:
        """The answer that stands."""
        answer, tokens = finished.answer, finished.tokens
        same = not self._logprobs or self._by == answer.answered_by
        if not (same and self._are_its(tokens) and answer.text.startswith(self._seen)):
            self._take_back(answer.answered_by)
        rest = answer.text[len(self._seen) :]
        unseen = None if tokens is None else tokens[len(self._seen_tokens) :]
        if rest or unseen:
            self._show(Piece(rest, unseen, finished.decision))
        self._show(finished)

    def _take_back(self, by: int) -> None:
        """Say that what was seen is not the answer, where something was."""
        if self._seen:
            before = None if self._by is None else self._cascade.tiers[self._by].name
            after = self._cascade.tiers[by].name
            self._show(Event({"event": "replaced", "draft_of": before, "by": after}))
        self._seen, self._seen_tokens = "", []

    def _are_its(self, tokens: Sequence[Token] | None) -> bool:
        """Whether the tokens that were seen begin the answer's.

        Where several vote, the one that streams may have failed in the middle, and another have
        won, whose answer begins alike by other probabilities.
        """
        if self._by is None or len(self._cascade.tiers[self._by].opened) == 1:
            return True
        seen = [token.logprob for token in self._seen_tokens]
        return seen == [token.logprob for token in (tokens or ())[: len(seen)]]

    def _is_shown(self, index: int) -> bool:
        decided = index == len(self._cascade.tiers) - 1
        return self._mode != "hold" or (decided and len(self._cascade.tiers[index].opened) == 1)

    def _tokens_of(self, index: int) -> Tokens | None:
        if not self._logprobs:
            return None
        return Tokens(self._cascade.tiers[index].opened[0].artifact.token_texts)
