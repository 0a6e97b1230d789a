"""What a backend is asked and what it answers; knows no backend, no gRPC, no torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from escalade.v1 import cascade_pb2 as pb

# Queries and answers are structs, for one of each is made for every request: a frozen dataclass of
# as many fields takes 3 us to make and 5 to change. They hold no reference to themselves.


class Sampling(NamedTuple):
    """How tokens are drawn, as transformers' `generate` does: temperature, top-k, then top-p."""

    #: Above 0 and finite.
    temperature: float
    #: Keep the likeliest; 0 keeps all.
    top_k: int
    #: Keep the fewest whose probabilities sum to at least this; in (0, 1].
    top_p: float
    #: 64 bits.
    seed: int


class TopRow(NamedTuple):
    """The k likeliest tokens of a position, best first, as they travel: little-endian."""

    #: `(k,)` int32.
    ids: bytes
    #: `(k,)` float32, natural logarithms.
    logprobs: bytes


class Query(msgspec.Struct, frozen=True, gc=False):
    """A query x, already checked against `BackendInfo`, but for the length of a text."""

    #: `(P,)` with 1 <= P < context_length, every special token included; empty where the prompt
    #: came as text. Ids of the tokenizer that `BackendInfo.model` names: others are refused.
    prompt_ids: tuple[int, ...]
    #: At least 1.
    max_new_tokens: int
    #: Texts that end the response before them, of at least 1 character; see
    #: `escalade.v1.stop_text`.
    stop_texts: tuple[str, ...] = ()
    #: Without special tokens; empty where the prompt came as ids.
    prompt_text: str = ""
    #: What the tier below said, as it came; its ids are of this tokenizer, or there are none and
    #: its text is to be tokenized.
    draft: pb.Draft | None = None
    #: Instances of the gateways that it came through.
    via: tuple[str, ...] = ()
    #: Whether log-probabilities are wanted; a backend that has them gives them all the same.
    logprobs: bool = False
    #: Whether deltas before the last have a reader. A backend may send none all the same.
    streamed: bool = False
    #: None takes the likeliest token.
    sampling: Sampling | None = None
    #: Entries of each row of `Answer.top`.
    top_logprobs: int = 0

    @property
    def has_text(self) -> bool:
        """Whether there is something to tokenize."""
        return not self.prompt_ids or (self.draft is not None and bool(self.draft.text))


class Answer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A response y, with the end-of-sequence token kept apart.

    Attributes:
        token_ids: `(N,)` without the end-of-sequence token and what a stop text cut off.
        logprobs: natural logarithms, `(N,)`, or `(N + 1,)` where `end_id` was chosen; empty
            where they are not known. The model's own, however the tokens were chosen.
        top: the likeliest tokens, shaped like `logprobs`; empty where nobody asked.
        margins: top-1 minus top-2 log-probability, of the first of `logprobs` or of all.
        end_id: the end-of-sequence token that closed the response, or None.
        text: without what a stop text cut off.
        stop_reason: `DEADLINE` and `CANCELLED` say that this is half an answer, which nobody
            is given.
        prompt_tokens: tokens read.
        generated_tokens: tokens computed, those cut off after a stop text included.
        cached_prompt_tokens: of those read, how many were there already.
        draft_ids: of a draft that came as text.
        lenient: tokens that are not the model's own choices, of a draft that was judged by an
            acceptance rule; None where it was not.
        queue_s: seconds that the query waited for its turn.
        compute_s: seconds that it was computed.
        reports: the tiers that it went through, in order, at least 1.
        degraded: a higher tier was due and did not answer.
        model: who gave it; None is `BackendInfo.model`.
    """

    token_ids: Sequence[int]
    logprobs: Sequence[float]
    margins: Sequence[float]
    end_id: int | None
    text: str
    stop_reason: pb.StopReason
    prompt_tokens: int
    generated_tokens: int
    cached_prompt_tokens: int = 0
    draft_ids: Sequence[int] = ()
    lenient: int | None = None
    queue_s: float = 0.0
    compute_s: float = 0.0
    reports: tuple[pb.TierReport, ...] = ()
    degraded: bool = False
    model: pb.ModelIdentity | None = None
    top: Sequence[TopRow] = ()

    @property
    def chosen_ids(self) -> list[int]:
        """`token_ids` and `end_id`: every choice that `logprobs` speaks of."""
        return [*self.token_ids] if self.end_id is None else [*self.token_ids, self.end_id]


class Delta(NamedTuple):
    """A piece of a stream: what has been generated since the one before.

    All ids together begin the answer's `token_ids`, all texts its `text`. So nothing is in a
    delta that may yet be cut off: text that may become a stop text is held back, and the tokens
    it lies in. What the answer has beyond all deltas counts as given by the last.
    """

    token_ids: Sequence[int] = ()
    #: One for each id.
    logprobs: Sequence[float] = ()
    text: str = ""
    #: On the last delta, and only there.
    answer: Answer | None = None
    #: One for each id where they were asked for.
    top: Sequence[TopRow] = ()


@dataclass(frozen=True, slots=True)
class ScoreQuery:
    """A query x and a given response y, already checked against `BackendInfo`."""

    #: `(P,)`, P >= 1, every special token included.
    prompt_ids: tuple[int, ...]
    #: `(N,)`, N >= 1, with P + N <= context_length.
    response_ids: tuple[int, ...]

    def __len__(self) -> int:
        """Tokens of prompt and response together."""
        return len(self.prompt_ids) + len(self.response_ids)


@dataclass(frozen=True, slots=True)
class Scores:
    """What the model says of one given response, each token after those before it.

    Attributes:
        argmax: `(N,)` int32, the greedy choice; the lowest id where logits tie.
        response_logprobs: `(N,)` float32, natural logarithms, of the response's own tokens.
        top_ids: `(N, k)` int32, best first.
        top_logprobs: `(N, k)` float32.
    """

    argmax: NDArray[np.int32]
    response_logprobs: NDArray[np.float32]
    top_ids: NDArray[np.int32]
    top_logprobs: NDArray[np.float32]


class Verdict(NamedTuple):
    """How far a draft is what the model itself would say, judged in one forward pass."""

    #: Tokens of the draft that stand: the greedy choice after those before them, or let stand.
    accepted: int
    #: The greedy choice after those; None where they end with the end of the sequence.
    correction_id: int | None
    #: Of the correction above the second best, in log-probability.
    margin: float
    #: `(D,)` natural logarithms of the draft's own tokens.
    logprobs: Sequence[float]
    #: Of the tokens that stand, those that are not the greedy choice; None without a rule.
    lenient: int | None = None
    prompt_tokens: int = 0
    #: Of the prompt, those that were there already.
    cached_prompt_tokens: int = 0
    queue_s: float = 0.0
    compute_s: float = 0.0


def agreeing(draft: Iterable[int], chosen: Iterable[int]) -> int:
    """Tokens at the beginning of a draft that are the model's own choices."""
    pairs = zip(draft, chosen, strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


class ScoredBatch(NamedTuple):
    """Scores of the next few queries, in order, and where their time went."""

    scores: Sequence[Scores]
    queue_s: float
    compute_s: float
