"""What stands of a draft, by each rule; what equality and alpha 0 say is one."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest

from escalade.cloud.backends.drafts import (
    ACCEPTANCE_RULES,
    Choice,
    Reading,
    Rest,
    lenience_of,
    verdict_of,
)
from escalade.v1 import cascade_pb2 as pb


def distance(one: Sequence[int], other: Sequence[int]) -> int:
    """Levenshtein's, by its definition."""
    row = list(range(len(other) + 1))
    for count, left in enumerate(one, 1):
        before, row[0] = row[0], count
        for at, right in enumerate(other, 1):
            before, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, before + (left != right))
    return row[-1]


CHOW, DIFF = pb.ACCEPTANCE_RULE_CHOW, pb.ACCEPTANCE_RULE_DIFF
V2, V3 = pb.ACCEPTANCE_RULE_TOKEN_V2, pb.ACCEPTANCE_RULE_TOKEN_V3


def drawn(draw: random.Random) -> tuple[pb.Draft, Reading]:
    """A draft of up to 8 tokens of 5, and a reading of it, ends of the sequence (0) included."""
    count = draw.randint(1, 8)
    own, logprobs, ids = [], [], []
    for _ in range(count + 1):
        weights = [draw.random() ** 3 for _ in range(5)]
        p = [weight / sum(weights) for weight in weights]
        best = max(range(5), key=p.__getitem__)
        second = max(p[n] for n in range(5) if n != best)
        own.append(Choice(best, math.log(p[best]), math.log(p[best] / second)))
        ids.append(best if draw.random() < 0.6 else draw.randrange(5))
        logprobs.append(math.log(p[ids[-1]]))
    draft = pb.Draft(
        tokens=pb.TokenSequence(ids=ids[:count]),
        logprobs=[math.log(1 - draw.random()) for _ in range(count)],
    )
    return draft, Reading(own, logprobs[:count])


def test_alpha_0_is_equality_whatever_the_rule() -> None:
    draw = random.Random(1)
    for _ in range(500):
        draft, reading = drawn(draw)
        exact = verdict_of(reading, draft, {0})
        assert exact.lenient is None
        for rule in ACCEPTANCE_RULES:
            draft.acceptance.rule = rule
            draft.acceptance.alpha = 0.0
            assert verdict_of(reading, draft, {0}) == exact


@pytest.mark.parametrize("rule", sorted(ACCEPTANCE_RULES))
def test_a_larger_alpha_lets_more_stand_and_1_lets_all(rule: int) -> None:
    draw = random.Random(2)
    grew = 0
    for _ in range(300):
        draft, reading = drawn(draw)
        draft.acceptance.rule = rule  # type: ignore[assignment] # an enum is an int
        ids = list(draft.tokens.ids)
        whole = ids.index(0) + 1 if 0 in ids else len(ids)
        before = -1
        for alpha in (1e-6, 0.1, 0.3, 0.7, 1.0):
            draft.acceptance.alpha = alpha
            verdict = verdict_of(reading, draft, {0})
            assert verdict.lenient is not None
            assert verdict.accepted >= before
            grew += before >= 0 and verdict.accepted > before
            assert verdict.lenient == sum(
                token != own.token
                for token, own in zip(ids[: verdict.accepted], reading.own, strict=False)
            )
            before = verdict.accepted
        assert before == whole
    assert grew > 30


@pytest.mark.parametrize(
    ("rule", "q", "p", "best", "alpha", "stands"),
    [
        (CHOW, 0.81, 0.1, 0.9, 0.2, True),
        (CHOW, 0.79, 0.1, 0.9, 0.2, False),
        (DIFF, 0.71, 0.1, 0.9, 0.2, True),
        (DIFF, 0.69, 0.1, 0.9, 0.2, False),
        (V2, 0.9, 0.21, 0.4, 0.2, True),
        (V2, 0.9, 0.19, 0.4, 0.2, False),
        (V3, 0.9, 0.33, 0.4, 0.2, True),
        (V3, 0.9, 0.31, 0.4, 0.2, False),
    ],
)
def test_each_rule_at_its_threshold(
    rule: pb.AcceptanceRule, q: float, p: float, best: float, alpha: float, *, stands: bool
) -> None:
    draft = pb.Draft(logprobs=[math.log(q)], acceptance=pb.Acceptance(rule=rule, alpha=alpha))
    lets_stand = lenience_of(draft)
    assert lets_stand is not None
    assert lets_stand(0, math.log(p), math.log(best)) is stands


def test_a_rest_goes_on_from_the_nearest_beginning_and_never_beyond_the_draft() -> None:
    draw = random.Random(3)
    offered = 0
    for _ in range(300):
        draft = draw.choices(range(6), k=draw.randint(1, 12))
        said = [*draft[: draw.randrange(len(draft))], draw.randrange(6, 8)]
        rest = Rest(draft, said)
        for token in draw.choices(range(8), k=10):
            ahead = rest.next(4)
            assert len(ahead) <= min(4, max(0, len(draft) - len(said)))
            if ahead:
                offered += 1
                distances = [distance(said, draft[:at]) for at in range(len(draft) + 1)]
                nearest = [at for at, one in enumerate(distances) if one == min(distances)]
                assert ahead in [draft[at : at + len(ahead)] for at in nearest]
            rest.take(token)
            said.append(token)
    assert offered > 300


def test_a_rest_that_was_wrong_must_agree_again_before_it_is_read() -> None:
    rest = Rest([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], [1, 20])
    assert rest.next(2) == [3, 4]
    rest.take(21)  # wrong once: one token must agree
    assert rest.next(2) == []
    rest.take(4)
    assert rest.next(2) == [5, 6]
    rest.take(22)  # twice: two must
    rest.take(6)
    assert rest.next(2) == []
    rest.take(7)
    assert rest.next(2) == [8, 9]
    rest.take(8)  # right: none must
    rest.take(23)
    assert rest.next(2) == [10, 11]
