"""Resampling: draws, percentile intervals, p-values and seeds; knows no trace and no curve.

Queries are drawn with replacement, the same ones for every cascade, so that differences are
paired. Where a model was trained with several seeds, seeds and queries are crossed (each
seed answers each query), and both are drawn, independently: the pigeonhole bootstrap (Owen
2007, Annals of Applied Statistics 1(2)), which errs towards wide intervals over queries.
With few seeds it errs the other way: n seeds show (n - 1) / n of their variance.
"""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from escalade.simulator.curves import Counts
from escalade.simulator.errors import SimulatorError
from escalade.simulator.recorded import Floats

#: Percentile interval: 95 %.
INTERVAL = (0.025, 0.975)
#: A hundred times the usual: of 10,000 queries these take 4 GB.
MOST_RESAMPLES = 100_000


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """A number over all queries, with its 95 % interval.

    None stands for what does not exist: a cost that no threshold reaches, or a bound past
    which too many resamples have none.
    """

    value: float | None
    low: float | None
    high: float | None


def generator(seed: int, *key: int) -> np.random.Generator:
    """A generator of its own for (seed, key).

    Raises:
        SimulatorError: the seed is negative.
    """
    if seed < 0:
        raise SimulatorError(f"seed must be >= 0; got {seed}")
    return np.random.default_rng([seed, *key])


def check_resamples(resamples: int) -> None:
    """Refuse fewer than one resample, and more than memory is for."""
    if not 1 <= resamples <= MOST_RESAMPLES:
        raise SimulatorError(f"resamples must be in [1, {MOST_RESAMPLES}]; got {resamples}")


def draw_queries(rng: np.random.Generator, queries: int, resamples: int) -> Counts:
    """How often each resample draws each query, `(resamples, queries)`; rows sum to `queries`."""
    counts = np.empty((resamples, queries), dtype=np.int32)
    for row in counts:
        row[:] = np.bincount(rng.integers(0, queries, queries), minlength=queries)
    return counts


def draw_seeds(rng: np.random.Generator, seeds: int, resamples: int) -> NDArray[np.intp]:
    """Which seeds each resample draws, `(resamples, seeds)`."""
    return rng.integers(0, seeds, (resamples, seeds))


def mean_over_seeds(replicates: Floats, drawn: NDArray[np.intp]) -> Floats:
    """Mean over the drawn seeds, `(T, B, ...)` and `(B, T)` to `(B, ...)`."""
    resample = np.arange(len(drawn))[:, None]
    return np.asarray(replicates[drawn, resample].mean(axis=1), dtype=np.float64)


def estimate(value: float, replicates: Floats) -> Estimate:
    """The percentile interval of a number from its `(B,)` resamples.

    Infinite resamples (nothing reaches there) keep their place in the order; those that are
    no number are left out.
    """
    numbers = replicates[~np.isnan(replicates)]
    if not len(numbers):
        return Estimate(value=_finite(value), low=None, high=None)
    # Interpolating beside an infinity would give NaN; a resample's own value does not.
    method = "linear" if np.isfinite(numbers).all() else "inverted_cdf"
    low, high = np.quantile(numbers, INTERVAL, method=method)  # type: ignore[call-overload]
    return Estimate(value=_finite(value), low=_finite(low), high=_finite(high))


def p_value(differences: Floats) -> float | None:
    """Two-sided p-value of a difference of zero from its `(B,)` paired resamples.

    Twice the smaller share of resamples on either side of zero: what the percentile interval
    gives when inverted (Efron and Tibshirani 1993, chapter 13; Koehn 2004, W04-3250, uses one
    side of it for BLEU). One is added to either count, as Davison and Hinkley (1997, section
    4.2) do, so that no finite number of resamples gives 0. Not adjusted for other tests.
    """
    numbers = differences[~np.isnan(differences)]
    if not len(numbers):
        return None
    one_side = min((numbers <= 0).sum(), (numbers >= 0).sum())
    return float(min(1.0, 2 * (one_side + 1) / (len(numbers) + 1)))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
