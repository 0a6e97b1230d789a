"""Compares two cascades over the same queries at equal cost; knows no network and no plot."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from escalade.edge.trace import Trace
from escalade.simulator.curves.bootstrap import (
    INTERVAL,
    Counts,
    check_resamples,
    draw_queries,
    generator,
)
from escalade.simulator.curves.columns import columns_of, paired_places
from escalade.simulator.curves.costs import flops_of_a_token
from escalade.simulator.curves.sweep import Sweep
from escalade.simulator.errors import SimulatorError


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
    check_resamples(resamples)
    rates = [
        _in_reach(deferral_rate) if flops_per_token is None else _rate_for(trace, flops_per_token)
        for trace in (trace_a, trace_b)
    ]
    sweeps = [
        Sweep.of(columns_of(trace).take(places))
        for trace, places in zip((trace_a, trace_b), _same_queries(trace_a, trace_b), strict=True)
    ]

    def qualities(drawn: Counts | None) -> list[float]:
        curves = [sweep.curve(drawn) for sweep in sweeps]
        return [
            float(np.interp(rate, curve.deferral_rate, curve.quality))
            for curve, rate in zip(curves, rates, strict=True)
        ]

    quality_a, quality_b = qualities(None)
    queries = len(trace_a.records)
    pairs = [qualities(drawn) for drawn in draw_queries(generator(seed), queries, resamples)]
    low, high = np.quantile([a - b for a, b in pairs], INTERVAL)
    return Difference(
        difference=quality_a - quality_b,
        low=float(low),
        high=float(high),
        quality_a=quality_a,
        quality_b=quality_b,
        deferral_rate_a=rates[0],
        deferral_rate_b=rates[1],
        queries=queries,
        resamples=resamples,
    )


def _same_queries(trace_a: Trace, trace_b: Trace) -> list[NDArray[np.intp]]:
    """Where the queries stand in either trace, if they are the same in both."""
    a, b = ({record.id for record in trace.records} for trace in (trace_a, trace_b))
    if a != b:
        raise SimulatorError(
            "a paired difference needs the same query ids, each once, in both traces;"
            f" {len(a ^ b)} of {len(a | b)} are in one only"
        )
    return paired_places([trace_a, trace_b])


def _rate_for(trace: Trace, flops_per_token: float) -> float:
    """The deferral rate that spends `flops_per_token`."""
    c_s, c_l = flops_of_a_token(trace)
    if not c_s <= flops_per_token <= c_s + c_l:
        raise SimulatorError(
            f"flops_per_token must be in [{c_s:g}, {c_s + c_l:g}] to be in reach of both"
            f" cascades; got {flops_per_token}"
        )
    return (flops_per_token - c_s) / c_l


def _in_reach(deferral_rate: float | None) -> float:
    if deferral_rate is None or not 0 <= deferral_rate <= 1:
        raise SimulatorError(f"deferral_rate must be in [0, 1]; got {deferral_rate}")
    return deferral_rate
