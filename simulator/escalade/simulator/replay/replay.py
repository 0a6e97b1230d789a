"""Replays a trace over a named network in virtual time; knows no clock, no socket, no plot.

For each query the trace holds what the device and the server took; the network between
them comes from the same `DelayLine` that drives the live proxy. Queries do not contend:
each has an idle line of its own, as in the single-instance setup of Revisiting Cascaded
Ensembles (section 4.2, figure 5).

The baseline, cloud only, makes the same recorded call for every query, without the draft.
Record over loopback: a network between the tiers at recording time would count twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from escalade.edge.trace import Trace
from escalade.simulator.curves import Bools, Floats, large_answers, scores_of
from escalade.simulator.errors import SimulatorError
from escalade.simulator.network import DelayLine, Profile

#: What gRPC adds to the messages of a call on a warm connection, TCP/IP headers excluded:
#: midpoints of +66-104 B up and +64-98 B down, measured for this project over loopback.
#: A first call adds 385 B and 242 B; a replay takes every connection as warm.
GRPC_BYTES_UP = 85
GRPC_BYTES_DOWN = 81

_MAX_SEED = 2**64 - 1


class Latency(msgspec.Struct, frozen=True, kw_only=True):
    """A latency distribution in brief, seconds; quantiles interpolate linearly."""

    p50_s: float
    p95_s: float
    mean_s: float


@dataclass(frozen=True)
class Replay:
    """One trace on one network at one threshold; arrays are `(N,)`, in the trace's order.

    Attributes:
        deferred: whether the large model answers the query.
        cascade_s: latency of the cascade's answer.
        cloud_only_s: latency of the large model's answer, were every query sent to it.
        call_bytes_up: bytes a call for the query sends, gRPC framing and draft included.
        draft_bytes: how many of them are the draft.
        call_bytes_down: bytes it receives.
    """

    profile: Profile
    threshold: float
    seed: int
    deferred: Bools
    cascade_s: Floats
    cloud_only_s: Floats
    call_bytes_up: NDArray[np.int64]
    draft_bytes: NDArray[np.int64]
    call_bytes_down: NDArray[np.int64]

    @property
    def queries(self) -> int:
        """How many queries; a cloud-only system makes as many calls."""
        return len(self.deferred)

    @property
    def calls(self) -> int:
        """How many calls the cascade makes."""
        return int(self.deferred.sum())

    @property
    def bytes_up(self) -> int:
        """Bytes the cascade sends."""
        return int(self.call_bytes_up[self.deferred].sum())

    @property
    def bytes_down(self) -> int:
        """Bytes the cascade receives."""
        return int(self.call_bytes_down[self.deferred].sum())

    @property
    def cloud_only_bytes_up(self) -> int:
        """Bytes a cloud-only system sends: it has no draft to send along."""
        return int((self.call_bytes_up - self.draft_bytes).sum())

    @property
    def cloud_only_bytes_down(self) -> int:
        """Bytes a cloud-only system receives."""
        return int(self.call_bytes_down.sum())

    @property
    def calls_saved(self) -> float:
        """Share of the cloud-only calls that the cascade does not make."""
        return 1 - self.calls / self.queries

    @property
    def bytes_saved(self) -> float:
        """Share of the cloud-only bytes, both ways, that the cascade does not move."""
        everything = self.cloud_only_bytes_up + self.cloud_only_bytes_down
        return 1 - (self.bytes_up + self.bytes_down) / everything


def replay(trace: Trace, profile: Profile, threshold: float, *, seed: int) -> Replay:
    """Replay every query of a trace recorded in shadow mode.

    A call takes `network up + server_s + (round_trip_s - server_s) + network down`, the
    bracket being the recorded loopback overhead; the cascade takes `generate_s`, plus the
    call where `r(x) >= threshold`; cloud-only is the call alone, without the draft.

    Args:
        trace: both answers to every query.
        profile: the network.
        threshold: tau; infinity defers no query.
        seed: in [0, 2**64). The generator of a query is keyed by (seed, its place in the
            trace), so its network does not depend on any other query, profile or threshold.

    Raises:
        SimulatorError: large answers are missing, or the seed or threshold is out of range.
    """
    if np.isnan(threshold):
        raise SimulatorError("threshold must be a number; got nan")
    large = large_answers(trace)
    bytes_up = np.array([answer.bytes_up for answer in large], dtype=np.int64) + GRPC_BYTES_UP
    bytes_down = np.array([answer.bytes_down for answer in large], dtype=np.int64) + GRPC_BYTES_DOWN
    draft_bytes = np.array([answer.draft_bytes for answer in large], dtype=np.int64)

    def call_s(k: int, up: int) -> float:
        # Made anew from (seed, k): the call with and without draft meet the same network.
        rng = _generator(seed, k)
        at_server_s = DelayLine(profile, "up", rng).release_s(0.0, up)
        # A server clock that ran ahead of the device's may report more than the round trip.
        answered_s = at_server_s + max(large[k].round_trip_s, large[k].server_s)
        return DelayLine(profile, "down", rng).release_s(answered_s, int(bytes_down[k]))

    calls = range(len(large))
    with_draft_s = np.array([call_s(k, int(bytes_up[k])) for k in calls])
    cloud_only_s = np.array([call_s(k, int(bytes_up[k] - draft_bytes[k])) for k in calls])
    deferred = ~(scores_of(trace) < threshold)
    generate_s = np.array([record.small.generate_s for record in trace.records], dtype=np.float64)
    return Replay(
        profile=profile,
        threshold=threshold,
        seed=seed,
        deferred=deferred,
        cascade_s=generate_s + np.where(deferred, with_draft_s, 0.0),
        cloud_only_s=cloud_only_s,
        call_bytes_up=bytes_up,
        draft_bytes=draft_bytes,
        call_bytes_down=bytes_down,
    )


def latency_of(seconds: Floats) -> Latency:
    """Median, 95th percentile and mean of latencies `(N,)` in seconds."""
    p50_s, p95_s = np.quantile(seconds, (0.5, 0.95))
    return Latency(p50_s=float(p50_s), p95_s=float(p95_s), mean_s=float(seconds.mean()))


def _generator(seed: int, index: int) -> np.random.Generator:
    """A counter-based generator, keyed by (seed, query)."""
    if not 0 <= seed <= _MAX_SEED:
        raise SimulatorError(f"seed must be in [0, {_MAX_SEED}]; got {seed}")
    return np.random.Generator(np.random.Philox(key=np.array([seed, index], dtype=np.uint64)))
