"""A response as it is generated: steps become text, and text may end it; knows no model.

A response ends in one of five ways (`StopReason`):

    end         the model chose an end-of-sequence token; or it is a classifier, and named a label
    length      `max_new_tokens` were generated
    stop        a stop text came up; the text before it is the response. It may spell
                special tokens, which are no text otherwise
    cancelled   the caller said so, or another response was begun on the same artifact
    stopped_early     `stop_when` said so; `Generation.resume` takes that back

Its log-probabilities are those of every token that was generated: the end-of-sequence
token's and, after a stop text, those of its tokens up to the one that completed it.
Stopping there was a choice of the model too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal, NamedTuple, TypeGuard

from tokenizers import Tokenizer

from escalade.edge.runtimes import Step
from escalade.v1.growing_text import GrowingText, speller

StopReason = Literal["end", "length", "stop", "cancelled", "stopped_early"]
StopWhen = Callable[[Sequence[float]], bool]

#: Nothing follows these; `resume` takes back the others.
_AT_END = frozenset({"end", "length", "cancelled"})


class Delta(NamedTuple):
    """What one step added."""

    #: None where nothing was generated any more: cancelled.
    step: Step | None
    #: May be empty: half of a character, or what may yet become a stop text, is held back.
    text: str
    #: On the last piece.
    stop: StopReason | None


class Generation:
    """An iterator over the pieces of one response that remembers what it gave.

    The pieces' texts together are the response. That is `Artifact.decode` of its tokens, up
    to the stop text. Bytes that are no UTF-8 are the exception: with byte fallback, a later
    token may turn a character that was given into replacement characters. The pieces then go on
    with what replaced it; `text` is `Artifact.decode` even so, once the response has ended.
    """

    def __init__(
        self,
        steps: Iterator[Step],
        tokenizer: Tokenizer,
        max_new_tokens: int,
        *,
        stop: Sequence[str] = (),
        stop_when: StopWhen | None = None,
        classifies: bool = False,
    ) -> None:
        """Begin; nothing is generated before the first piece is asked for.

        Args:
            steps: at most `max_new_tokens` of them.
            tokenizer: what the token ids mean.
            max_new_tokens: at least 1.
            stop: texts that end the response, wherever tokens divide them.
            stop_when: asked after each token with all log-probabilities so far.
            classifies: the token that ends it is text too: a label.

        Raises:
            ValueError: a stop text is empty.
        """
        if not all(stop):
            raise ValueError("a stop text must have at least 1 character, got ''")

        def decode(ids: Sequence[int]) -> str:
            text: str = tokenizer.decode(ids, skip_special_tokens=True)
            return text

        self._source = steps
        self._decode, self._stops, self._tokenizer = decode, stop, tokenizer
        # There from the first piece on.
        self._text: GrowingText | None = None
        self._whole: str | None = None
        self._max_new_tokens = max_new_tokens
        self._stop_when, self._classifies = stop_when, classifies
        self._given: list[str] = []
        #: What was generated so far.
        self.steps: list[Step] = []
        #: Natural logarithms, one for each step.
        self.logprobs: list[float] = []
        #: None until the response has ended.
        self.stop: StopReason | None = None

    @property
    def text(self) -> str:
        """The response so far; whole where it has ended."""
        return "".join(self._given) if self._whole is None else self._whole

    @property
    def ids(self) -> list[int]:
        """The tokens so far, but for one that ends it: an end-of-sequence token, or a label."""
        return [step.token_id for step in self.steps if not step.ended]

    def resume(self) -> None:
        """Take back a giving up: iterate again for the rest, from where the model stands."""
        self._stop_when = None
        if self.stop == "stopped_early":
            self.stop = None

    def __iter__(self) -> Iterator[Delta]:
        return self

    def __next__(self) -> Delta:
        if self.stop is not None:
            raise StopIteration
        growing = self._text
        if growing is None:
            growing = self._text = GrowingText(self._decode, self._stops, speller(self._tokenizer))
            for one in self._text_ids():
                growing.hold(one)
        step = next(self._source, None)
        reason = self._take(step)
        if self._is_text(step):
            growing.add(step.token_id)
        ends = growing.stopped or reason in _AT_END
        text = self._end(growing) if ends else growing.take()[1]
        self._given.append(text)
        return Delta(step, text, self.stop)

    def run(self) -> None:
        """Generate to the end and give no pieces: text is decoded once, not at each token."""
        if self._stops or self._stop_when is not None or self._text is not None:
            for _ in self:
                pass
            return
        if self.stop is not None:
            return
        try:
            self.steps += self._source
        finally:
            self.logprobs = [step.logprob for step in self.steps]
        last = self.steps[-1] if self.steps else None
        self.stop = self._reason(last) or "cancelled"
        self._whole = self._decode(self._text_ids())

    def _take(self, step: Step | None) -> StopReason | None:
        """Go on by a step, if there is one; and whether that ends it."""
        if step is not None:
            self.steps.append(step)
            self.logprobs.append(step.logprob)
        self.stop = self._reason(step)
        return self.stop

    def _is_text(self, step: Step | None) -> TypeGuard[Step]:
        return step is not None and (self._classifies or not step.ended)

    def _text_ids(self) -> list[int]:
        return [step.token_id for step in self.steps if self._is_text(step)]

    def _end(self, growing: GrowingText) -> str:
        """What of the text had not been given."""
        self._whole, _, rest = growing.end()
        self._source = iter(())
        if growing.stopped:
            self.stop = "stop"
        return rest

    def _reason(self, step: Step | None) -> StopReason | None:
        if step is None:
            return "cancelled"
        if step.ended:
            return "end"
        if len(self.steps) == self._max_new_tokens:
            return "length"
        if self._stop_when is not None and self._stop_when(self.logprobs):
            return "stopped_early"
        return None
