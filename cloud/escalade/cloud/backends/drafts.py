"""A draft held against what a model says at each of its places; knows no model, no torch.

A token stands where it is the model's own choice. With an acceptance rule it may stand where it is
not: a speculative cascade (Narasimhan et al., "Faster Cascades via Speculative Decoding", ICLR
2025), in which a rule decides for each token whether the small model's is good enough. Here the
draft is whole when it is judged, and is judged once: from the first token that does not stand, the
model goes on alone. Both models choose their likeliest token.

What comes behind a token that does not stand may yet be what the model says a little later, and is
read ahead in a few tokens at a time: it makes passes fewer, and never changes a token.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from escalade.cloud.backends.query import Query, Scores, TopRow, Verdict
from escalade.v1 import cascade_pb2 as pb

#: Whether a rule with alpha lets a token stand: its probability under the small model and under the
#: model, and that of the model's own choice.
_Rule = Callable[[float, float, float, float], bool]
#: Whether a token stands that is not the model's own choice: its place in the draft, its
#: log-probability, and that of the model's own choice.
LetsStand = Callable[[int, float, float], bool]

_RULES = MappingProxyType[int, _Rule](
    {
        pb.ACCEPTANCE_RULE_CHOW: lambda q, p, best, alpha: q >= 1.0 - alpha,
        pb.ACCEPTANCE_RULE_DIFF: lambda q, p, best, alpha: q >= best - alpha,
        pb.ACCEPTANCE_RULE_TOKEN_V2: lambda q, p, best, alpha: p >= best - alpha,
        pb.ACCEPTANCE_RULE_TOKEN_V3: lambda q, p, best, alpha: p >= (1.0 - alpha) * best,
    }
)
#: Every rule there is.
ACCEPTANCE_RULES = frozenset(_RULES)
#: Those that ask how sure the small model was.
RULES_OF_THE_DRAFT = frozenset({pb.ACCEPTANCE_RULE_CHOW, pb.ACCEPTANCE_RULE_DIFF})

#: Tokens of a draft's rest that are read with one of the response, at most. More are seldom right,
#: and a pass costs more the more it reads: `benchmarks.cloud.drafts` says how much.
MOST_AHEAD = 8


class Choice(NamedTuple):
    """A token, and how sure the model is of it."""

    token: int
    #: Natural logarithm of its probability.
    logprob: float
    #: Of it above the best other; below 0 where it is not the model's own choice.
    margin: float
    #: The likeliest tokens, where they were asked for.
    top: TopRow | None = None
    #: Whether it is the model's own choice; else a rule let the draft's token stand.
    own: bool = True


class Reading(NamedTuple):
    """What a model says at each place of a draft of D tokens, and after it, in one pass."""

    #: `(D + 1,)`, the likeliest tokens.
    own: Sequence[Choice]
    #: `(D,)` natural logarithms of the draft's own tokens.
    draft_logprobs: Sequence[float]

    def choices(
        self, draft_ids: Sequence[int], lets_stand: LetsStand | None = None
    ) -> Iterator[Choice]:
        """What stands of the draft, and the model's own choice after that.

        Args:
            draft_ids: `(D,)`, those that were read.
            lets_stand: None lets nothing stand but the model's own choices.
        """
        pairs = zip(draft_ids, self.draft_logprobs, strict=True)
        for place, (own, (drafted, logprob)) in enumerate(zip(self.own, pairs, strict=False)):
            choice = choice_at(place, own, drafted, logprob, lets_stand)
            yield choice
            if choice.token != drafted:
                return
        yield self.own[-1]


class Rest:
    """What a draft says of the tokens to come, once the response has gone another way.

    Like a reference that is copied from where the response agrees with it (Yang et al., "Inference
    with Reference: Lossless Acceleration of Large Language Models", 2023); but in order. It stands
    where the draft has the beginning that is nearest to it by edit distance: a token in another's
    place, one more, one less. Of several that are as near, one that ends with the same token as
    the response, and then the next behind where it stood before.

    Args:
        draft_ids: `(D,)`.
        said: the response so far, of which all but the last token is how the draft begins.
    """

    def __init__(self, draft_ids: Sequence[int], said: Sequence[int]) -> None:
        self._ids = np.array(draft_ids, dtype=np.int64)
        self._said = list(said[:-1])
        self._place = len(self._said)
        self._places = np.arange(len(draft_ids) + 1)
        # Of the response to each beginning of the draft, the empty one first.
        self._distances = abs(self._places - self._place)
        self._expected: int | None = None
        # In a row, how often it was wrong with the first token that it said would come.
        self._misses = 0
        self.take(said[-1])

    def take(self, token: int) -> None:
        """Go on by a token of the response."""
        if self._expected is not None:
            self._misses = 0 if token == self._expected else self._misses + 1
            self._expected = None
        same = self._ids == token
        distances = self._distances + 1
        np.minimum(distances[1:], self._distances[:-1] + ~same, out=distances[1:])
        # Any number of the draft's tokens may be left out.
        self._distances = np.minimum.accumulate(distances - self._places) + self._places
        rank = 2 * self._distances
        rank[1:] -= same
        nearest = np.flatnonzero(rank == rank.min())
        self._said.append(token)
        self._place = int(nearest[abs(nearest - self._place - 1).argmin()])

    def next(self, most: int) -> list[int]:
        """The tokens that are worth reading; the response becomes no longer by them than D.

        As many of the response's last tokens must be the draft's too as it was wrong in a row: a
        draft that says something else altogether is soon read no more.

        Args:
            most: how many, at most.
        """
        place, said, misses = self._place, len(self._said), self._misses
        if self._ids[max(0, place - misses) : place].tolist() != self._said[said - misses :]:
            return []
        most = max(0, min(most, len(self._ids) - said))
        ahead: list[int] = self._ids[place : place + most].tolist()
        self._expected = ahead[0] if ahead else None
        return ahead


def choice_at(
    place: int, own: Choice, drafted: int, logprob: float, lets_stand: LetsStand | None
) -> Choice:
    """The draft's token where a rule lets it stand, the model's own choice otherwise."""
    if drafted == own.token or lets_stand is None or not lets_stand(place, logprob, own.logprob):
        return own
    return Choice(drafted, logprob, logprob - own.logprob, own.top, own=False)


def lenience_of(draft: pb.Draft) -> LetsStand | None:
    """What a checked draft's acceptance lets stand; None where that is equality."""
    alpha = draft.acceptance.alpha
    if not alpha:
        return None
    rule = _RULES[draft.acceptance.rule]
    asked = draft.acceptance.rule in RULES_OF_THE_DRAFT
    small = list(draft.logprobs) if asked else []

    def lets_stand(place: int, logprob: float, best: float) -> bool:
        q = math.exp(small[place]) if asked else math.nan
        return rule(q, math.exp(logprob), math.exp(best), alpha)

    return lets_stand


def draft_of(query: Query) -> pb.Draft:
    """A query's draft; an empty one where there is none."""
    return pb.Draft() if query.draft is None else query.draft


def with_ids(draft: pb.Draft, ids: Sequence[int]) -> pb.Draft:
    """A draft that came as text, and the ids that it became, `(D,)`."""
    read = pb.Draft()
    read.CopyFrom(draft)
    read.tokens.ids.extend(ids)
    return read


def reading_of(scores: Scores) -> Reading:
    """The reading of a draft, by the best two at its places and at one more."""
    best = zip(scores.argmax.tolist(), scores.top_logprobs.tolist(), strict=True)
    return Reading(
        [Choice(token, first, first - second) for token, (first, second) in best],
        scores.response_logprobs[:-1].tolist(),
    )


def verdict_of(reading: Reading, draft: pb.Draft, end_ids: Collection[int]) -> Verdict:
    """How far a draft stands, without where the time went.

    Args:
        reading: of the draft's tokens.
        draft: checked, of at least one token.
        end_ids: tokens that end a response: nothing stands behind one.
    """
    lets_stand = lenience_of(draft)
    accepted = lenient = 0
    ended = False
    choices = reading.choices(draft.tokens.ids, lets_stand)
    for drafted, choice in zip(draft.tokens.ids, choices, strict=False):
        if choice.token != drafted:
            break
        accepted += 1
        lenient += not choice.own
        if ended := drafted in end_ids:
            break
    correction = reading.own[accepted]
    return Verdict(
        accepted=accepted,
        correction_id=None if ended else correction.token,
        margin=0.0 if ended else correction.margin,
        logprobs=reading.draft_logprobs,
        lenient=None if lets_stand is None else lenient,
    )
