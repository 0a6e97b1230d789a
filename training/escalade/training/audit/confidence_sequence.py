"""An interval for how many kept queries disagree, from those audited; knows no expert.

Which kept queries are audited is decided by coins that nobody else tosses, and that is all the
randomness the interval needs: agreements are whatever they are. They may rise while the cascade
learns, fall when the stream shifts, and depend on earlier audits, from which the cascade learned.

Let D_i be 1 where kept query i disagrees, B_i where it is audited, with probability q_i. Given
the past and D_i, `1 + b (B_i / q_i - 1)` has mean 1 for any fixed b: it is what a bet on the coin
makes of a capital of 1 (Waudby-Smith and Ramdas 2024, Estimating means of bounded random
variables by betting, JRSS-B 86:1-27). Multiplied over the disagreeing queries,

    M_n(b) = (1 - b)^(N_n - K_n)  *  product over the K_n audited ones of (1 + b (1/q_i - 1))

is a martingale of which nothing but `N_n`, how many of the n kept queries disagree, is unknown; and
so is its mixture over b. By Ville's inequality `P(some n: M_n >= 1/alpha) <= alpha`: those N with
`M_n(N) < 1/alpha` are a confidence sequence for N_n (Howard et al. 2021, Time-uniform,
nonparametric, nonasymptotic confidence sequences, Annals of Statistics 49:1055-1080). `1 - N_n/n`
is the realised agreement over all kept queries so far, a running mean, and no i.i.d. assumption
was made. Neither the hedged capital of a constant mean nor an asymptotic sequence could say so.

An audit that the expert does not answer is of unknown D. Bets with b > 0, which rule out a small N,
take it for an agreement, those with b < 0 for a disagreement, and so for all that is kept while
the expert is down: `M_n(N)` only gets smaller by that, and the bounds wider.

Only disagreements tell anything of N, so that the interval is narrow where they are rare: its
width goes with sqrt(1 - agreement) and not with sqrt(agreement (1 - agreement)), which is 5 % more
at an agreement of 0.9 and 41 % at 0.5.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from escalade.training.audit.mixture import LOG_WEIGHTS, TILTS, Floats, log_sum_exp

#: More queries than any stream has; `bisect_left` wants an end.
_MOST = 1 << 40


class Interval(NamedTuple):
    """Agreement with the expert, over all kept queries so far.

    `low` and `high` hold at all times at once, with probability `1 - alpha`. `estimate` is
    Horvitz and Thompson's (1952, JASA 47:663-685), each audited disagreement weighed by 1/q:
    unbiased at any fixed time, but for being moved into the interval. None before the first audit.
    """

    low: float
    estimate: float | None
    high: float


class SequenceState(msgspec.Struct, forbid_unknown_fields=True):
    """What a confidence sequence has seen, in plain numbers."""

    kept: int = 0
    audited: int = 0
    disagreed: int = 0
    #: The sum of 1/q over audited disagreements.
    weighted: float = 0.0
    #: Audits without an answer.
    lost: int = 0
    #: For each bet, the sum of log((1 + b (1/q - 1)) / (1 - b)) over audited disagreements.
    log_capital: list[float] = []
    #: Bounds of N, over all times so far.
    least: int = 0
    most: int = 0


class ConfidenceSequence:
    """Bounds for the number of kept queries that disagree, whenever one looks.

    Args:
        alpha: the probability that the bounds are wrong at any time, in (0, 1).
        least_share: no query is audited with a smaller probability, in (0, 1].
        state: of an earlier one with the same arguments.
    """

    def __init__(
        self, alpha: float, least_share: float, state: SequenceState | None = None
    ) -> None:
        self._limit = -math.log(alpha)
        # Where all are audited, nothing is unknown and any bets do.
        share = min(least_share, 0.5)
        tilts = np.concatenate([TILTS, -TILTS])
        tilted = share / (share + (1.0 - share) * np.exp(-tilts))
        #: In (-q/(1-q), 1), so that no capital is ever negative.
        self._bets: Floats = (tilted - share) / (1.0 - share)
        self._log_weights: Floats = np.concatenate([LOG_WEIGHTS, LOG_WEIGHTS]) - math.log(2.0)
        #: Of what an unaudited disagreement costs each bet.
        self._log_losses: Floats = np.log1p(-self._bets)
        self.state = state or SequenceState(log_capital=[0.0] * len(self._bets))
        self._bounds = self._solve()

    def add(self, share: float, disagrees: bool | None) -> None:
        """One more kept query.

        Args:
            share: the probability with which it was to be audited.
            disagrees: whether the cascade's answer is another than the expert's; None where it
                was not audited.
        """
        seen = self.state
        seen.kept += 1
        if disagrees is not None:
            seen.audited += 1
        if disagrees:
            seen.disagreed += 1
            seen.weighted += 1.0 / share
            self._gain(share, np.ones_like(self._bets))
        self._tighten(0 if disagrees is None else int(disagrees), int(disagrees is not False))

    def lose(self, share: float) -> None:
        """One more kept query, which was to be audited, and of which the expert said nothing."""
        self.state.kept += 1
        self.state.lost += 1
        self._gain(share, self._bets < 0.0)
        self._tighten(0, 1)

    def interval(self) -> Interval:
        """Of the agreement over all kept queries so far."""
        seen = self.state
        if seen.kept == 0:
            return Interval(0.0, None, 1.0)
        low, high = 1.0 - seen.most / seen.kept, 1.0 - seen.least / seen.kept
        if seen.audited == 0:
            return Interval(low, None, high)
        estimate = 1.0 - seen.weighted / seen.kept
        return Interval(low, min(max(estimate, low), high), high)

    def _gain(self, share: float, which: NDArray[np.floating | np.bool_]) -> None:
        """What an audited disagreement brings to some of the bets."""
        gained = np.log1p(self._bets * (1.0 / share - 1.0)) - self._log_losses
        self.state.log_capital = (np.array(self.state.log_capital) + which * gained).tolist()
        self._bounds = self._solve()

    def _tighten(self, least: int, most: int) -> None:
        """N has grown by one of these: bounds of earlier still bind."""
        seen, (low, high) = self.state, self._bounds
        unseen = seen.kept - seen.audited
        seen.least = min(max(low, seen.least + least), seen.disagreed + unseen)
        seen.most = max(min(high, seen.most + most), seen.least)

    def _solve(self) -> tuple[int, int]:
        """The least and the greatest N whose capital has not reached 1/alpha.

        The capital is a sum of exponentials of N, hence convex. It changes with audited
        disagreements and lost audits only. Where no N is left, which happens with probability
        alpha at most, the likeliest one is.
        """
        found = self.state.disagreed
        fixed = self._log_weights + np.array(self.state.log_capital)

        def log_capital(n: int) -> float:
            return float(log_sum_exp(fixed + n * self._log_losses))

        def rises(n: int) -> bool:
            return log_capital(n + 1) >= log_capital(n)

        likeliest = bisect_left(range(_MOST), True, lo=found, key=rises)
        low = bisect_left(
            range(likeliest), True, lo=found, key=lambda n: log_capital(n) < self._limit
        )
        high = bisect_left(
            range(_MOST), True, lo=likeliest, key=lambda n: log_capital(n + 1) >= self._limit
        )
        return low, high
