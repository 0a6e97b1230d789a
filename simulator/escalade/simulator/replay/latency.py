"""A latency distribution in brief; knows no trace and no network."""

from __future__ import annotations

import msgspec
import numpy as np

from escalade.simulator.recorded import Floats


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """A latency distribution in brief, seconds; quantiles interpolate linearly."""

    p50_s: float
    p95_s: float
    mean_s: float


def latency_of(seconds: Floats) -> Latency:
    """Median, 95th percentile and mean of latencies `(N,)` in seconds."""
    p50_s, p95_s = np.quantile(seconds, (0.5, 0.95))
    return Latency(p50_s=float(p50_s), p95_s=float(p95_s), mean_s=float(seconds.mean()))
