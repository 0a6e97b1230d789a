"""A draft held against what a model says at each of its places; knows no model, no torch.

A token stands where it is the model's own choice. With an acceptance rule it may stand where it is
not: a speculative cascade (Narasimhan et al., "Faster Cascades via Speculative Decoding", ICLR
2025), in which a rule decides for each token whether the small model's is good enough. Here the
draft is whole when it is judged, and is judged once: from the first token that does not stand, the
model goes on alone. Both models choose their likeliest token.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from types import MappingProxyType
from typing import NamedTuple

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
