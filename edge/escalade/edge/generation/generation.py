"""A response as it is generated: steps become text, and text may end it; knows no model.

A response ends in one of five ways (`StopReason`):

    end         the model chose an end-of-sequence token
    length      `max_new_tokens` were generated
    stop        a stop sequence came up; the text before it is the response
    cancelled   the caller said so, or another response was begun on the same artifact
    stopped_early     `stop_when` said so; `Generation.resume` takes that back

Its log-probabilities are those of every token that was generated: the end-of-sequence
token's and, after a stop sequence, those of its tokens up to the one that completed it.
Stopping there was a choice of the model too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import takewhile
from typing import Literal, NamedTuple

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from escalade.edge.runtimes import Step
from escalade.v1.stop_text import find_stop, held_back

StopReason = Literal["end", "length", "stop", "cancelled", "stopped_early"]
StopWhen = Callable[[Sequence[float]], bool]


class Delta(NamedTuple):
    """What one step added."""

    #: None where nothing was generated any more: cancelled.
    step: Step | None
    #: May be empty: half of a character, or what may yet become a stop sequence, is held back.
    text: str
    #: On the last piece.
    stop: StopReason | None


class Generation:
    """An iterator over the pieces of one response that remembers what it gave.

    The pieces' texts together are the response. That is `Artifact.decode` of its tokens, up
    to the stop sequence. Bytes that are no UTF-8 are the exception: with byte fallback, a later
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
    ) -> None:
        """Begin; nothing is generated before the first piece is asked for.

        Args:
            steps: at most `max_new_tokens` of them.
            tokenizer: what the token ids mean.
            max_new_tokens: at least 1.
            stop: texts that end the response, wherever tokens divide them.
            stop_when: asked after each token with all log-probabilities so far.

        Raises:
            ValueError: a stop sequence is empty.
        """
        self._source = steps
        self._text = _HeldText(tokenizer, stop)
        self._max_new_tokens = max_new_tokens
        self._stop_when = stop_when
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
        return "".join(self._given) if self._text.final is None else self._text.final

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
        step = next(self._source, None)
        if step is not None:
            self.steps.append(step)
            self.logprobs.append(step.logprob)
            if not step.ended:
                self._text.add(step.token_id)
        self.stop = self._reason(step)
        text = self._text.take(everything=self.stop in {"end", "length", "cancelled"})
        if self._text.stopped:
            self.stop = "stop"
        if self.stop not in {None, "stopped_early"}:
            self._source = iter(())
        self._given.append(text)
        return Delta(step, text, self.stop)

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


class _HeldText:
    """Text out of tokens; what may not be shown yet is held back."""

    def __init__(self, tokenizer: Tokenizer, stop: Sequence[str]) -> None:
        if not all(stop):
            raise ValueError("a stop sequence must have at least 1 character, got ''")
        self._tokenizer = tokenizer
        self._stop = stop
        self._stream = DecodeStream(skip_special_tokens=True)
        self._ids: list[int] = []
        # What the tokens mean, as far as the decoder has said; and what a reader is given, who
        # has what a later token has revoked before what it was replaced by.
        self._decoded = self._given = ""
        self._taken = 0
        #: The text once it has ended: what all tokens mean, up to the stop sequence.
        self.final: str | None = None
        #: Whether a stop sequence came up; nothing comes after it.
        self.stopped = False

    def add(self, token_id: int) -> None:
        self._ids.append(token_id)
        try:
            more = self._stream.step(self._tokenizer, token_id) or ""
        except Exception:  # tokenizers raises bare Exception
            # The token changed what earlier ones had become: bytes that are no UTF-8.
            self._revise()
            self._stream = DecodeStream(ids=self._ids, skip_special_tokens=True)
        else:
            self._decoded += more
            self._given += more

    def take(self, *, everything: bool) -> str:
        """What may be shown and was not yet; with `everything`, what was held back too."""
        if everything:
            # The decoder still waits for the rest of a character that will not come.
            self._revise()
        waiting = self._given[self._taken :]
        found = None
        if self._stop:
            found = find_stop(waiting, self._stop)
            self.stopped = found is not None
            if found is None and not everything:
                found = len(waiting) - held_back(waiting, self._stop)
        shown = waiting[:found]
        self._taken += len(shown)
        if self.stopped:
            at = find_stop(self._whole(), self._stop)
            self.final = self._given[: self._taken] if at is None else self._whole()[:at]
        elif everything:
            self.final = self._decoded
        return shown

    def _whole(self) -> str:
        text: str = self._tokenizer.decode(self._ids, skip_special_tokens=True)
        return text

    def _revise(self) -> None:
        """Take what all tokens mean together; give what of it differs from what they meant."""
        whole = self._whole()
        both = zip(self._decoded, whole, strict=False)
        same = sum(1 for _ in takewhile(lambda two: two[0] == two[1], both))
        self._given += whole[same:]
        self._decoded = whole
