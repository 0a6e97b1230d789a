"""Mean-score voting: how probable the answer of most is, on average; knows no model.

s(x; H) of Revisiting Cascaded Ensembles (section 3.2): the average score of the majority's
prediction.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from escalade.edge.deferral.agreement.agreement import (
    Agreement,
    Outcome,
    Voice,
    check_voices,
    share_of,
    spoken,
)
from escalade.edge.deferral.agreement.vote import Vote
from escalade.edge.deferral.rules import mean_nll


class MeanScore(Vote):
    """Most votes win; the deferral score is 1 - s, s the winner's mean probability over all K.

    A classifier says how probable it holds every label, so that each member's probability of the
    winning label counts, whatever it voted for. A model that writes says so of its own text alone:
    exp of the mean log-probability of its tokens counts where it gave the winner, and 0 where it
    gave another text or failed. Its probability of the winner is not known then, and 0 is the least
    that it can be: the mean is never overrated. Averaged over all K, s lies in [0, 1] whatever K
    is; of texts it is at most the share of votes, and 1 - s is the vote's score where every member
    is certain. Unlike -log s it stays finite where a probability is 0.

    Bounds: a member's probability p lies in [0, 1]. If the answer a wins in the end, each member
    that is yet to come adds w p to its sum, which is at least 0 and at most w: the sum ends between
    what it is now and that plus the rest. The score is bounded by the least and the largest of
    these over all answers that may win (`Tally.may_win`). One that nobody has given yet has nothing
    so far, or what classifiers said of it.
    """

    _kind = "mean-score"
    reads_logprobs = True

    def outcome(self, voices: Sequence[Voice], weights: Sequence[float]) -> Outcome:
        """See `Agreement`."""
        tally = self.tally(voices, weights)
        support = self._support(voices, check_voices(voices, weights), tally.leader)
        return Outcome(tally.first[tally.leader], share_of(tally.total - support, tally.total))

    def bounds(self, voices: Sequence[Voice], weights: Sequence[float]) -> tuple[float, float]:
        """See `Agreement`, and above."""
        tally, whole = self.tally(voices, weights), check_voices(voices, weights)
        sums = [self._support(voices, whole, one) for one in tally.votes if tally.may_win(one)]
        if tally.may_win(None):
            labels = {label for voice in voices for label in voice.classes or ()}
            new = {self.key_of(label) for label in labels} - tally.votes.keys()
            sums += [Fraction(0), *(self._support(voices, whole, one) for one in new)]
        least, most = min(sums), max(sums) + tally.rest
        return (
            share_of(tally.total - most, tally.total),
            share_of(tally.total - least, tally.total),
        )

    def _support(self, voices: Sequence[Voice], whole: Sequence[int], key: str) -> Fraction:
        """The weighted sum of the probabilities of an answer, of those that spoke."""
        parts = (whole[one.member] * self._probability(one, key) for one in spoken(voices))
        return sum(parts, Fraction(0))

    def _probability(self, voice: Voice, key: str) -> Fraction:
        if voice.classes is not None:
            likely = (
                math.exp(p) for label, p in voice.classes.items() if self.key_of(label) == key
            )
            return min(Fraction(1), Fraction(math.fsum(likely)))
        # Without log-probabilities, which a server may not give, it is not known either.
        if self.key_of(voice.text or "") != key or not voice.logprobs:
            return Fraction(0)
        return min(Fraction(1), Fraction(math.exp(-mean_nll(voice.logprobs))))

    # More than who agrees with whom counts, so that what `Vote` remembers of that does not serve.
    is_decided = Agreement.is_decided
    so_far = Agreement.so_far
    prefixes = Agreement.prefixes
