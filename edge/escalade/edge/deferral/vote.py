"""The vote of an ensemble: who wins, how sure that is, and when it is decided; knows no model.

The deferral rule of Revisiting Cascaded Ensembles (section 3.2, equation 3): a query is
deferred where too few members give the answer that most of them give.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from escalade.edge.deferral.rules import defers

#: The name of the rule, in cascade files, traces and on the command line.
VOTE = "vote"


class Vote(NamedTuple):
    """The answer of most, and the deferral score: the share of members that gave another."""

    text: str
    score: float


def vote_share(answers: Sequence[str]) -> Vote:
    """The rule: most votes win, and among equals the answer that was given first.

    An answer counts as it is written. An empty one is an answer too: members that fail alike
    agree.

    Args:
        answers: of all members, in their order, K >= 1.

    Raises:
        ValueError: there is no answer.
    """
    return Vote(_leader(answers), _score(max(Counter(answers).values()), len(answers)))


def vote_bounds(answers: Sequence[str], members: int) -> tuple[float, float]:
    """Between what the score of all K members must lie, after k of them answered.

    With c votes for the answer that leads, the winner will have at least c, for votes are not
    taken back, and at most c + K - k; both can be had: the others may all give answers of
    their own, if c >= 1, or all the leading one. More votes make a lower score, in floating
    point too, since division keeps order when it rounds.

    Args:
        answers: of the first k members, 1 <= k <= K.
        members: K.

    Raises:
        ValueError: there is no answer, or more than `members`.
    """
    if not 1 <= len(answers) <= members:
        raise ValueError(f"answers must be 1 to {members}, got {len(answers)}")
    most = max(Counter(answers).values())
    return _score(most + members - len(answers), members), _score(most, members)


def is_settled(answers: Sequence[str], members: int, *, in_order: bool = True) -> bool:
    """Whether no vote to come can make another answer win.

    Another answer of v votes ends with at most v + K - k. It wins with more than the leader
    has, or with as many if it was given first.

    Args:
        answers: of k members, 1 <= k <= K.
        members: K.
        in_order: they are the first k; members that run side by side end in any order, and one
            that stands before another may yet give its answer.

    Raises:
        ValueError: as `vote_bounds`.
    """
    vote_bounds(answers, members)
    votes, rest = Counter(answers), members - len(answers)
    leader = _leader(answers)
    if not in_order:
        second = max((votes[one] for one in votes if one != leader), default=0)
        return rest == 0 or second + rest < votes[leader]
    others = [(votes[one], answers.index(one)) for one in votes if one != leader]
    others.append((0, len(answers)))  # one that nobody has given yet
    return all(
        (count + rest, -first) < (votes[leader], -answers.index(leader)) for count, first in others
    )


def is_decided(
    answers: Sequence[str],
    members: int,
    threshold: float,
    *,
    can_defer: bool = True,
    in_order: bool = True,
) -> bool:
    """Whether the members not yet asked can change neither the decision nor what is answered.

    Args:
        answers: as above.
        members: K.
        threshold: defer at this score or above.
        can_defer: whether a tier above answers what is deferred. The winner matters only
            where it does not.
        in_order: see `is_settled`.

    Raises:
        ValueError: as `vote_bounds`.
    """
    least, most = vote_bounds(answers, members)
    if defers(least, threshold):
        return can_defer or is_settled(answers, members, in_order=in_order)
    return not defers(most, threshold) and is_settled(answers, members, in_order=in_order)


def _leader(answers: Sequence[str]) -> str:
    votes = Counter(answers)
    if not votes:
        raise ValueError("answers must be 1 or more, got 0")
    return max(votes, key=lambda one: votes[one])  # the first of equals: a Counter keeps order


def _score(votes: int, members: int) -> float:
    # Rounded once, to the double nearest to the share: 1 of 5 is the 0.2 that a user types.
    return (members - votes) / members


def vote_levels(members: int) -> tuple[float, ...]:
    """The scores that a vote may have, rising: thresholds between two of them decide alike."""
    return tuple(_score(votes, members) for votes in range(members, 0, -1))


def asked_at_levels(answers: Sequence[str]) -> tuple[int, ...]:
    """How many members answer at each level of the threshold, one after the other.

    Args:
        answers: of all K members, in the order they are asked.

    Returns:
        K + 1 numbers: at the thresholds `vote_levels(K)`, and above them all.
    """
    return _asked_at_levels(_agreement(answers))


def asked_until_settled(answers: Sequence[str]) -> int:
    """How many members answer where nothing can be deferred; arguments as above."""
    return _asked_until_settled(_agreement(answers))


def _agreement(answers: Sequence[str]) -> tuple[str, ...]:
    """Who agrees with whom: each answer by the place where it was first given."""
    return tuple(str(answers.index(answer)) for answer in answers)


# A vote of 8 has 4140 patterns (Bell's number).
@lru_cache(1 << 14)
def _asked_at_levels(answers: tuple[str, ...]) -> tuple[int, ...]:
    members = len(answers)
    return tuple(
        next(k for k in range(1, members + 1) if is_decided(answers[:k], members, threshold))
        for threshold in (*vote_levels(members), math.inf)
    )


@lru_cache(1 << 14)
def _asked_until_settled(answers: tuple[str, ...]) -> int:
    members = len(answers)
    return next(k for k in range(1, members + 1) if is_settled(answers[:k], members))
