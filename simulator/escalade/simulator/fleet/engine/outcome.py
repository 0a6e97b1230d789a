"""What came of a run; knows no event."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from escalade.simulator.fleet.engine.model import Floats, Ints
from escalade.simulator.fleet.engine.tally import Tally


@dataclass(frozen=True)
class Kept:
    """Single queries, N of them, by device and then in the order in which they came.

    Attributes:
        key: of a device's query.
        outcome: one of `ANSWERED`, `DEFERRED`, `DEGRADED`, `AT_GATEWAY`.
        latency_s: from when it came to when its answer was there.
    """

    key: Ints
    outcome: Ints
    latency_s: Floats

    @staticmethod
    def of(kept: Ints) -> Kept:
        """Of `Tally.kept`, in any order."""
        key, outcome, bits = kept[:, np.argsort(kept[0])]
        return Kept(key, outcome, bits.view(np.float64))


@dataclass(frozen=True)
class Outcome:
    """A run of G groups, told in W bins of time.

    Attributes:
        tally: what became of the queries, those too that end after the run's time.
        used_s: `(W,)` seconds of slots in use,
        waited_s: `(W,)` of queries that wait in the cloud,
        paid_s: `(W,)` of replicas that are paid.
        gateways_s: `(K,)` seconds of slots in use, by kind of gateway.
        busiest: `(G,)` queries that 99 of 100 devices have at most.
        kept: single queries; None where nobody asked for them.
    """

    tally: Tally
    used_s: Floats
    waited_s: Floats
    paid_s: Floats
    gateways_s: Floats
    busiest: Ints
    kept: Kept | None
