"""What an agreement is: who wins among members, and how sure that is; knows none by name.

An agreement gives the winner and the deferral score of what K members said; the query is deferred
when the score reaches tau. The score lies in [0, 1] and higher means less agreed, so that tiers of
any K compare.

Members have weights, positive and finite; only their proportions count. Sums are of fractions,
exact, and a score is rounded once, to the double nearest to it: 1 of 5 is the 0.2 that a user
types. Rounding keeps order, so that bounds hold for the numbers too.

A member that failed says nothing. It is a voice that agrees with nobody, and its weight still
counts among all: the score is at least the share of those that failed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import lru_cache
from math import gcd, lcm
from typing import NamedTuple

import msgspec

from escalade.edge.base import listed
from escalade.edge.deferral.rules import defers


class Voice(msgspec.Struct, frozen=True):
    """What one member said."""

    #: Its place among the K members.
    member: int
    #: None where it failed.
    text: str | None
    #: `(N,)` natural logarithms, of the tokens of its text.
    logprobs: Sequence[float] = ()
    #: Of a classifier, the natural logarithm of each label's probability.
    classes: Mapping[str, float] | None = None


class Outcome(NamedTuple):
    """Whose text stands for the tier, as that member wrote it, and the deferral score."""

    winner: int
    score: float


class Prefix(NamedTuple):
    """What is certain after the first k members, asked in order."""

    least: float
    most: float
    settled: bool


class SoFar(NamedTuple):
    """What members that were heard come to, and what of it is certain."""

    outcome: Outcome
    certain: Prefix


class Agreement(ABC):
    """The winner and the score of a tier, and what is certain of them before all have spoken.

    Everywhere `voices` are of k of the K members, each once, in any order, and `weights` are of
    all K. Who is not among the voices may yet say anything, or fail.
    """

    #: No score is lower.
    lowest = 0.0
    #: Whether it asks more of a voice than its text and classes.
    reads_logprobs = False

    @property
    @abstractmethod
    def name(self) -> str:
        """What cascade files and traces call it."""

    @abstractmethod
    def outcome(self, voices: Sequence[Voice], weights: Sequence[float]) -> Outcome:
        """The winner among those that were heard, and the score as if all others had failed.

        Raises:
            ValueError: nobody said anything, or see `check_voices`.
        """

    @abstractmethod
    def bounds(self, voices: Sequence[Voice], weights: Sequence[float]) -> tuple[float, float]:
        """Between what the score of all K members must lie, if any of them says anything.

        Raises:
            ValueError: see `check_voices`.
        """

    @abstractmethod
    def is_settled(self, voices: Sequence[Voice], weights: Sequence[float]) -> bool:
        """Whether nothing that is yet to come can make another text win.

        Raises:
            ValueError: see `check_voices`.
        """

    def is_decided(
        self,
        voices: Sequence[Voice],
        weights: Sequence[float],
        threshold: float,
        *,
        can_defer: bool = True,
    ) -> bool:
        """Whether those not yet heard can change neither the decision nor what is answered.

        Never before somebody has spoken, who answers where no tier above does.

        Args:
            voices: see above.
            weights: see above.
            threshold: defer at this score or above.
            can_defer: whether a tier above answers what is deferred. The winner matters only
                where it does not.

        Raises:
            ValueError: see `check_voices`.
        """
        if all(voice.text is None for voice in voices):
            return False
        least, most = self.bounds(voices, weights)
        if defers(least, threshold):
            return can_defer or self.is_settled(voices, weights)
        return not defers(most, threshold) and self.is_settled(voices, weights)

    def so_far(self, voices: Sequence[Voice], weights: Sequence[float]) -> SoFar:
        """The outcome, the bounds and whether it is settled, in one.

        Raises:
            ValueError: see `outcome`.
        """
        certain = Prefix(*self.bounds(voices, weights), self.is_settled(voices, weights))
        return SoFar(self.outcome(voices, weights), certain)

    def prefixes(self, voices: Sequence[Voice], weights: Sequence[float]) -> list[Prefix]:
        """What is certain after 1, 2, ... K members.

        Args:
            voices: of all K, in the order they are asked.
            weights: see above.
        """
        found = []
        for k in range(1, len(voices) + 1):
            heard = voices[:k]
            if all(voice.text is None for voice in heard):
                # Nothing is decided yet, whatever the threshold (`is_decided`).
                found.append(Prefix(float("-inf"), float("inf"), False))
            else:
                settled = self.is_settled(heard, weights)
                found.append(Prefix(*self.bounds(heard, weights), settled))
        return found


def check_voices(voices: Sequence[Voice], weights: Sequence[float]) -> tuple[int, ...]:
    """The members' weights as whole numbers of the same proportions.

    Raises:
        ValueError: a voice is of no member, or of one that was heard already; or a weight is not
            positive and finite.
    """
    places = [voice.member for voice in voices]
    if len(set(places)) < len(places) or not all(0 <= one < len(weights) for one in places):
        raise ValueError(f"voices must be of members 0 to {len(weights) - 1}, once each: {places}")
    return _whole(tuple(weights))


def spoken(voices: Sequence[Voice]) -> list[Voice]:
    """Those that said something, in the order of the members."""
    return sorted((one for one in voices if one.text is not None), key=lambda one: one.member)


def silent(voices: Sequence[Voice], weights: Sequence[float]) -> list[int]:
    """The members that have not been heard yet, in order."""
    heard = {voice.member for voice in voices}
    return [member for member in range(len(weights)) if member not in heard]


def share_of(part: int | Fraction, whole: int) -> float:
    """A share, rounded once."""
    return float(Fraction(part) / whole)


@lru_cache(64)
def _whole(weights: tuple[float, ...]) -> tuple[int, ...]:
    if not all(0.0 < weight < float("inf") for weight in weights):
        raise ValueError(f"weights must be above 0 and finite, got {listed(weights)}")
    exact = [Fraction(weight) for weight in weights]
    scale = lcm(*(one.denominator for one in exact))
    whole = [int(one * scale) for one in exact]
    divisor = gcd(*whole)
    return tuple(one // divisor for one in whole)
