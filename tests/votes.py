"""Plain votes of members of one weight, by their texts; knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from escalade.edge.deferral import Voice, Vote

VOTE = Vote()


class Won(NamedTuple):
    """The answer of most, and the share of members that gave another."""

    text: str
    score: float


def voices_of_texts(texts: Sequence[str | None], first: int = 0) -> list[Voice]:
    """Of members in order; None failed."""
    return [Voice(member, text) for member, text in enumerate(texts, start=first)]


def vote_share(texts: Sequence[str]) -> Won:
    """Who wins among all members."""
    winner, score = VOTE.outcome(voices_of_texts(texts), [1.0] * len(texts))
    return Won(texts[winner], score)


def vote_bounds(texts: Sequence[str], members: int) -> tuple[float, float]:
    """Bounds after the first so many of K members."""
    return VOTE.bounds(voices_of_texts(texts), [1.0] * members)


def is_settled(texts: Sequence[str], members: int) -> bool:
    """The same of who wins."""
    return VOTE.is_settled(voices_of_texts(texts), [1.0] * members)


def is_decided(
    texts: Sequence[str], members: int, threshold: float, *, can_defer: bool = True
) -> bool:
    """The same of the decision."""
    return VOTE.is_decided(voices_of_texts(texts), [1.0] * members, threshold, can_defer=can_defer)
