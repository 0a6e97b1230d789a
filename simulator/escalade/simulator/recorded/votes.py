"""How many members a vote asks under a threshold; knows no model and no cost.

What members say matters only by who agrees with whom, and of a threshold only which scores
reach it: a vote of M members has M scores, so that M + 1 levels stand for every threshold.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

from escalade.edge.deferral import is_decided, is_settled, vote_share

#: Patterns of agreement kept; a vote of 8 has 4140 (Bell's number).
_CACHED_PATTERNS = 1 << 14


def vote_levels(members: int) -> tuple[float, ...]:
    """The scores that a vote may have, rising; thresholds between two of them decide alike."""
    # `most` members say "0", each of the others something of its own.
    return tuple(
        vote_share([str(max(0, k - most + 1)) for k in range(members)]).score
        for most in range(members, 0, -1)
    )


def asked_at_levels(answers: Sequence[str]) -> tuple[int, ...]:
    """How many members answer at each level of the threshold, one after the other.

    Args:
        answers: of all M members, in the order they are asked.

    Returns:
        M + 1 numbers: at the thresholds `vote_levels(M)`, and above them all.
    """
    return _asked(_pattern(answers))


def asked_until_settled(answers: Sequence[str]) -> int:
    """How many members answer where nothing is deferred: until the winner is certain."""
    return _until_settled(_pattern(answers))


def _pattern(answers: Sequence[str]) -> tuple[str, ...]:
    """Who agrees with whom: each answer by the place where it was first given."""
    return tuple(str(answers.index(answer)) for answer in answers)


@lru_cache(_CACHED_PATTERNS)
def _asked(pattern: tuple[str, ...]) -> tuple[int, ...]:
    members = len(pattern)
    return tuple(
        next(k for k in range(1, members + 1) if is_decided(pattern[:k], members, threshold))
        for threshold in (*vote_levels(members), math.inf)
    )


@lru_cache(_CACHED_PATTERNS)
def _until_settled(pattern: tuple[str, ...]) -> int:
    members = len(pattern)
    return next(k for k in range(1, members + 1) if is_settled(pattern[:k], members))
