"""The vote: the answer of most wins, by weight; knows no model.

The deferral rule of Revisiting Cascaded Ensembles (section 3.2, equation 3): a query is
deferred where too few members give the answer that most of them give.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from escalade.edge.deferral.agreement.agreement import (
    Agreement,
    Outcome,
    Prefix,
    SoFar,
    Voice,
    check_voices,
    share_of,
    silent,
    spoken,
)
from escalade.edge.deferral.agreement.normalisers import EXACT, NORMALISERS


@dataclass(frozen=True)
class Tally:
    """Who has how many votes, in whole weights, and what may yet come."""

    #: By what is compared, in the order it was first given.
    votes: dict[str, int]
    #: The first member that gave each.
    first: dict[str, int]
    #: Of all K members, and of those not heard yet.
    total: int
    rest: int
    #: The first member not heard yet; above all places where there is none.
    earliest: float

    @property
    def leader(self) -> str:
        """The answer of most votes, and among equals the one that was given first.

        Raises:
            ValueError: nobody said anything.
        """
        if not self.votes:
            raise ValueError("no member said anything")
        return max(self.votes, key=lambda one: (self.votes[one], -self.first[one]))

    def may_win(self, answer: str | None) -> bool:
        """Whether an answer may win in the end; None stands for one that nobody has given yet.

        The leader may, for all others may fail. Another answer of v votes ends with at most
        v + rest, and has them where all the rest give it. It wins with more than the leader has,
        or with as many if it was given first.
        """
        if not self.votes:
            return True
        leader = self.leader
        if answer == leader:
            return True
        most = self.rest if answer is None else self.votes[answer] + self.rest
        first = self.earliest if answer is None else min(self.first[answer], self.earliest)
        return (most, -first) > (self.votes[leader], -self.first[leader])


class Vote(Agreement):
    """Most votes win; the deferral score is the share of votes that went elsewhere.

    An empty answer is an answer too: members that fail alike agree. With members of one weight
    the score is `(K - votes) / K`.

    Bounds: with c votes for the answer that leads, the winner will have at least c, for votes are
    not taken back, and at most c + rest. Both can be had: all the others may fail, or give the
    leading one. Where nobody has spoken yet, the winner has at least the least weight that is left.
    """

    _kind = "vote"

    def __init__(self, normaliser: str = EXACT) -> None:
        """Take what is compared.

        Args:
            normaliser: a key of `NORMALISERS`.
        """
        self.normaliser = normaliser
        self._key = NORMALISERS[normaliser]

    @property
    def name(self) -> str:
        """See `Agreement`."""
        kind = self._kind
        return kind if self.normaliser == EXACT else f"{kind}:{self.normaliser}"

    def outcome(self, voices: Sequence[Voice], weights: Sequence[float]) -> Outcome:
        """See `Agreement`."""
        return _outcome(self._pattern(voices), tuple(weights))

    def bounds(self, voices: Sequence[Voice], weights: Sequence[float]) -> tuple[float, float]:
        """See `Agreement`, and above."""
        certain = _certain(self._pattern(voices), tuple(weights))
        return certain.least, certain.most

    def is_settled(self, voices: Sequence[Voice], weights: Sequence[float]) -> bool:
        """See `Agreement`; `Tally.may_win` says why."""
        return _certain(self._pattern(voices), tuple(weights)).settled

    def is_decided(
        self,
        voices: Sequence[Voice],
        weights: Sequence[float],
        threshold: float,
        *,
        can_defer: bool = True,
    ) -> bool:
        """See `Agreement`; who agrees with whom is looked at once."""
        return _is_decided(self._pattern(voices), tuple(weights), threshold, can_defer)

    def so_far(self, voices: Sequence[Voice], weights: Sequence[float]) -> SoFar:
        """See `Agreement`."""
        return _so_far(self._pattern(voices), tuple(weights))

    def key_of(self, text: str) -> str:
        """What is compared of a text."""
        return self._key(text)

    def tally(self, voices: Sequence[Voice], weights: Sequence[float]) -> Tally:
        """Count the votes so far."""
        whole, left = check_voices(voices, weights), silent(voices, weights)
        votes: dict[str, int] = {}
        first: dict[str, int] = {}
        for voice in spoken(voices):
            key = self.key_of(voice.text or "")
            votes[key] = votes.get(key, 0) + whole[voice.member]
            first.setdefault(key, voice.member)
        rest = sum(whole[member] for member in left)
        return Tally(votes, first, sum(whole), rest, min(left, default=math.inf))

    def prefixes(self, voices: Sequence[Voice], weights: Sequence[float]) -> list[Prefix]:
        """See `Agreement`; of a vote only who agrees with whom counts."""
        return list(_prefixes(self._pattern(voices), tuple(weights)))

    def _pattern(self, voices: Sequence[Voice]) -> _Pattern:
        """Who agrees with whom."""
        keys: dict[str, int] = {}
        return tuple(
            [
                (one.member, None)
                if one.text is None
                else (one.member, keys.setdefault(self._key(one.text), len(keys)))
                for one in voices
            ]
        )


#: Members, and which of the answers each gave; None where it failed.
_Pattern = tuple[tuple[int, int | None], ...]


def _voices(pattern: _Pattern) -> list[Voice]:
    return [Voice(member, None if key is None else str(key)) for member, key in pattern]


# They are asked while a query waits. A vote of 8 has 4140 patterns in one order (Bell's number).
@lru_cache(1 << 14)
def _certain(pattern: _Pattern, weights: tuple[float, ...]) -> Prefix:
    voices = _voices(pattern)
    tally, whole = Vote().tally(voices, weights), check_voices(voices, weights)
    left = [whole[member] for member in silent(voices, weights)]
    votes = max(tally.votes.values(), default=0)
    others = [None, *(one for one in tally.votes if one != tally.leader)] if votes else []
    return Prefix(
        least=share_of(tally.total - votes - tally.rest, tally.total),
        most=share_of(tally.total - (votes or min(left, default=0)), tally.total),
        settled=bool(votes) and not any(tally.may_win(one) for one in others),
    )


@lru_cache(1 << 14)
def _outcome(pattern: _Pattern, weights: tuple[float, ...]) -> Outcome:
    tally = Vote().tally(_voices(pattern), weights)
    leader = tally.leader
    elsewhere = tally.total - tally.votes[leader]
    return Outcome(tally.first[leader], share_of(elsewhere, tally.total))


@lru_cache(1 << 14)
def _so_far(pattern: _Pattern, weights: tuple[float, ...]) -> SoFar:
    return SoFar(_outcome(pattern, weights), _certain(pattern, weights))


@lru_cache(1 << 14)
def _is_decided(
    pattern: _Pattern, weights: tuple[float, ...], threshold: float, can_defer: bool
) -> bool:
    voices = _voices(pattern)
    return Agreement.is_decided(Vote(), voices, weights, threshold, can_defer=can_defer)


@lru_cache(1 << 14)
def _prefixes(pattern: _Pattern, weights: tuple[float, ...]) -> tuple[Prefix, ...]:
    return tuple(Agreement.prefixes(Vote(), _voices(pattern), weights))
