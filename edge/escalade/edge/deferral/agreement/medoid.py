"""Agreement by similarity, for open-ended text: the medoid wins; knows no model.

The answer that agrees most with all of them, as in minimum Bayes risk decoding, where the utility
is a similarity (Eikema and Aziz 2020, arXiv 2005.10283).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from escalade.edge.deferral.agreement.agreement import (
    Agreement,
    Outcome,
    Voice,
    check_voices,
    share_of,
    silent,
    spoken,
)

#: How alike two texts are, in [0, 1]; the same both ways.
Measure = Callable[[str, str], float]

# The pairs of a tier of 16.
_PAIRS = 256


@dataclass(frozen=True)
class _Standing:
    """How far each text that was heard agrees with all that were."""

    #: In the order of the members.
    spoken: list[Voice]
    #: Of each of them: its own weight, and that of every other times their similarity.
    agreement: list[Fraction]
    #: Of each of them, the weight of all that gave the very same text.
    alike: list[int]
    #: Of those that spoke, of those that are yet to come, and of all K.
    said: int
    rest: int
    total: int

    @property
    def leader(self) -> int:
        """The place, among those that spoke, of the first that agrees most.

        Raises:
            ValueError: nobody said anything.
        """
        if not self.spoken:
            raise ValueError("no member said anything")
        return max(range(len(self.spoken)), key=lambda one: (self.agreement[one], -one))


class Medoid(Agreement):
    """The answer that agrees most with those of all members wins; the score is 1 - its mean.

    A member agrees with itself, as its own vote counts in a vote: with a similarity of 0 or 1 by
    equality the two are the same, numbers included. The same text is alike whatever the measure
    says, two empty ones too.

    Bounds: the winner's sum is at least that of the answer that agrees most so far, for
    similarities are not negative; and one that is yet to come may agree with everybody, which is
    at most all that was said and the rest. No triangle is taken for granted: a text may be like
    each of two that are not like one another. So before the last member has spoken it may be
    certain that an answer stands; that it is deferred is certain only by the weight of what failed.
    """

    def __init__(self, name: str, measure: Measure, *, pairs: int | None = _PAIRS) -> None:
        """Take a similarity.

        Args:
            name: what files and traces call it; others read it there where `agreement_named` does.
            measure: of two different texts; what is outside of [0, 1] is cut off.
            pairs: how many of them are remembered; None: all.
        """
        self._name = name
        #: Of two texts, as it was given.
        self.measure = measure
        self._remembered = lru_cache(pairs)(measure)

    @property
    def name(self) -> str:
        """See `Agreement`."""
        return self._name

    def outcome(self, voices: Sequence[Voice], weights: Sequence[float]) -> Outcome:
        """See `Agreement`."""
        standing = self._standing(voices, weights)
        leader = standing.leader
        apart = standing.total - standing.agreement[leader]
        return Outcome(standing.spoken[leader].member, share_of(apart, standing.total))

    def bounds(self, voices: Sequence[Voice], weights: Sequence[float]) -> tuple[float, float]:
        """See `Agreement`, and above."""
        standing, whole = self._standing(voices, weights), check_voices(voices, weights)
        left = [whole[member] for member in silent(voices, weights)]
        # One that spoke agrees at least with itself.
        least = max(standing.agreement, default=Fraction(min(left, default=0)))
        most = standing.said + standing.rest if left else least
        return (
            share_of(standing.total - most, standing.total),
            share_of(standing.total - least, standing.total),
        )

    def is_settled(self, voices: Sequence[Voice], weights: Sequence[float]) -> bool:
        """See `Agreement`.

        Let i lead with the sum a_i; g is the weight of all that gave its text. Against another
        that spoke, each that is yet to come may agree with that one alone, and takes w off the
        distance. One j that is yet to come, alike by x to the text of i, has itself, g x of those,
        and at most all else that was said and the rest; i has a_i and w_j x. The distance
        a_i + w_j x - (w_j + g x + said - g + rest - w_j) is linear in x, so least at 0 or 1. Where
        it is 0 at the least, the first of the two wins.
        """
        standing, whole = self._standing(voices, weights), check_voices(voices, weights)
        if not standing.spoken:
            return False
        leader = standing.leader
        mine, own = standing.agreement[leader], standing.alike[leader]
        winner = standing.spoken[leader]
        for other, agreement in zip(standing.spoken, standing.agreement, strict=True):
            distance = mine - agreement - standing.rest
            if other.text != winner.text and (distance, other.member) <= (0, winner.member):
                return False
        for member in silent(voices, weights):
            distance = mine - (standing.said - own) - standing.rest + min(0, whole[member] - own)
            if (distance, member) <= (0, winner.member):
                return False
        return True

    def _standing(self, voices: Sequence[Voice], weights: Sequence[float]) -> _Standing:
        whole, heard = check_voices(voices, weights), spoken(voices)
        rest = sum(whole[member] for member in silent(voices, weights))
        agreement, alike = [], []
        for voice in heard:
            near = ((whole[one.member], self._similarity(voice, one)) for one in heard)
            agreement.append(sum((weight * Fraction(like) for weight, like in near), Fraction(0)))
            alike.append(sum(whole[one.member] for one in heard if one.text == voice.text))
        said = sum(whole[voice.member] for voice in heard)
        return _Standing(heard, agreement, alike, said, rest, sum(whole))

    def _similarity(self, one: Voice, other: Voice) -> float:
        if one.text == other.text:
            return 1.0
        # Measured one way only, so that it is the same both ways to the last bit.
        return min(1.0, max(0.0, self._remembered(*sorted((one.text or "", other.text or "")))))
