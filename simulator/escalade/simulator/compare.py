"""Compares two cascades over the same queries at equal cost; knows no network and no plot."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from escalade.edge.trace import Trace
from escalade.simulator.answers import Answers, answers_of
from escalade.simulator.curves import group_ends
from escalade.simulator.errors import SimulatorError

#: Percentile interval of the bootstrap: 95 %.
_QUANTILES = (0.025, 0.975)


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """Quality of cascade a less that of cascade b, with its 95 % interval."""

    difference: float
    low: float
    high: float
    quality_a: float
    quality_b: float
    deferral_rate_a: float
    deferral_rate_b: float
    queries: int
    resamples: int


def paired_difference(
    trace_a: Trace,
    trace_b: Trace,
    *,
    deferral_rate: float | None = None,
    flops_per_token: float | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Difference:
    """Quality of a less quality of b at one deferral rate, or at one cost per token.

    A percentile bootstrap over queries: a resample draws query ids with replacement, the
    same ids for both traces, and reads both resampled deferral curves at the given cost
    (linear between operating points). The threshold is thus set anew in each resample.

    Args:
        trace_a: one cascade, recorded in shadow mode.
        trace_b: another cascade over the same query ids, in any order.
        deferral_rate: the rate in [0, 1] at which to read both curves; or else
        flops_per_token: the cost, on the paper's axis, at which to read both curves.
        resamples: how many bootstrap resamples, >= 1.
        seed: same seed, same interval.

    Raises:
        SimulatorError: neither or both costs given, a cost out of reach of one of the
            cascades, or traces over different queries.
    """
    if (deferral_rate is None) == (flops_per_token is None):
        raise SimulatorError("give one of deferral_rate and flops_per_token, not both or neither")
    if resamples < 1:
        raise SimulatorError(f"resamples must be >= 1; got {resamples}")
    ids = [record.id for record in trace_a.records]
    a, b = _Sweep.of(trace_a, ids), _Sweep.of(trace_b, ids)
    rate_a = a.rate_for(flops_per_token) if deferral_rate is None else _in_reach(deferral_rate)
    rate_b = b.rate_for(flops_per_token) if deferral_rate is None else _in_reach(deferral_rate)

    n = len(ids)
    once = np.ones(n, dtype=np.int64)
    quality_a, quality_b = a.quality(once, rate_a), b.quality(once, rate_b)
    rng = np.random.default_rng(seed)
    differences = np.empty(resamples)
    for k in range(resamples):
        times_drawn = np.bincount(rng.integers(0, n, n), minlength=n)
        differences[k] = a.quality(times_drawn, rate_a) - b.quality(times_drawn, rate_b)
    low, high = np.quantile(differences, _QUANTILES)
    return Difference(
        difference=quality_a - quality_b,
        low=float(low),
        high=float(high),
        quality_a=quality_a,
        quality_b=quality_b,
        deferral_rate_a=rate_a,
        deferral_rate_b=rate_b,
        queries=n,
        resamples=resamples,
    )


@dataclass(frozen=True)
class _Sweep:
    """A trace sorted once, so that each resample costs no more than two running sums.

    Attributes:
        order: `(N,)` from the k-th highest score to the query's place in the common ids.
        ends: `(K,)` how many queries each distinct threshold defers.
    """

    answers: Answers
    order: NDArray[np.intp]
    ends: NDArray[np.intp]
    small_correct: NDArray[np.float64]
    gain: NDArray[np.float64]

    @staticmethod
    def of(trace: Trace, ids: list[str]) -> _Sweep:
        place = {id_: k for k, id_ in enumerate(ids)}
        own = [record.id for record in trace.records]
        if len(place) != len(ids) or len(own) != len(ids) or place.keys() != set(own):
            raise SimulatorError(
                "a paired difference needs the same query ids, each once, in both traces;"
                f" {len(place.keys() ^ set(own))} of {len(place.keys() | set(own))} are in one only"
            )
        answers = answers_of(trace)
        falling = np.argsort(-answers.score, kind="stable")
        small = answers.small_correct[falling].astype(np.float64)
        return _Sweep(
            answers=answers,
            order=np.array([place[id_] for id_ in own], dtype=np.intp)[falling],
            ends=group_ends(answers.score[falling]),
            small_correct=small,
            gain=answers.large_correct[falling] - small,
        )

    def rate_for(self, flops_per_token: float | None) -> float:
        """The deferral rate that spends `flops_per_token`."""
        c_s, c_l = self.answers.small_flops_per_token, self.answers.large_flops_per_token
        if flops_per_token is None or not c_s <= flops_per_token <= c_s + c_l:
            raise SimulatorError(
                f"flops_per_token must be in [{c_s:g}, {c_s + c_l:g}] to be in reach of both"
                f" cascades; got {flops_per_token}"
            )
        return (flops_per_token - c_s) / c_l

    def quality(self, times_drawn: NDArray[np.int64], rate: float) -> float:
        """Quality at `rate` when query k counts `times_drawn[k]` times; the counts sum to N."""
        n = len(self.order)
        weight = times_drawn[self.order]
        deferred = np.concatenate([[0], np.cumsum(weight)])[self.ends] / n
        gained = np.concatenate([[0.0], np.cumsum(weight * self.gain)])[self.ends] / n
        alone = float(weight @ self.small_correct) / n
        return alone + float(np.interp(rate, deferred, gained))


def _in_reach(deferral_rate: float) -> float:
    if not 0 <= deferral_rate <= 1:
        raise SimulatorError(f"deferral_rate must be in [0, 1]; got {deferral_rate}")
    return deferral_rate
