"""Plans replicas from one that is measured, as a user does; knows no other replica.

`escalade load --fit --rate`, `escalade record` and `escalade fleet --p99-s`, through what is behind
them.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.sim_vs_live.replicas.sending import DEADLINE_S, WARM_UP_S

from escalade.cli.output import progress_bar
from escalade.edge import EdgeClient
from escalade.edge.base import Record
from escalade.edge.trace import write_trace
from escalade.simulator.errors import FleetError
from escalade.simulator.fleet import plan_capacity, replica_s, run_fleet
from escalade.simulator.fleet.capacity import RUNS, Capacity
from escalade.simulator.load import Plan, Target, fit_load_at
from escalade.simulator.load.loaded_fit import LoadedFit

#: What `escalade serve` computes together at most (docs/serving.md).
_SLOTS = 64
#: Callers of a fleet: so many that hardly one waits for itself.
_DEVICES = 1000
#: Times a device's seconds: calls come from no device here.
_NO_TIME = 1e-6


def fit(
    address: str, prompts: Sequence[str], rate: float, seconds: float, *, seed: int
) -> LoadedFit:
    """What a replica's answers take at a load.

    Args:
        address: of the replica.
        prompts: that it is asked.
        rate: calls a second.
        seconds: of one client, and then of the load.
        seed: of moments and prompts.
    """
    target = Target(address=address, prompts=prompts)
    plan = Plan(rate=rate, seconds=seconds, warm_up_s=WARM_UP_S, deadline_s=DEADLINE_S, seed=seed)
    return fit_load_at(target, plan, replica_s)


def record(address: str, artifact: Path, records: Sequence[Record], out: Path) -> None:
    """Record what a replica takes for queries that nothing is beside.

    Args:
        address: of the replica.
        artifact: of a model on a device, which sends all of them up, and no draft of them.
        records: the queries.
        out: the trace; its cascade is beside it.
    """
    cascade = out.with_suffix(".toml")
    cascade.write_text(
        f"""[[tiers]]
name = "device"
members = [{json.dumps(str(artifact))}]
gate = {{ rule = "mean", threshold = 0.0 }}

[[tiers]]
name = "cloud"
address = "{address}"
deadline_s = {DEADLINE_S}
send = "text"
"""
    )
    with EdgeClient.open(cascade) as client, progress_bar("recording") as tick:
        recorded = []
        for one in records:
            recorded.append(client.trace_record(one, shadow=True))
            tick(len(recorded), len(records))
        write_trace(out, client.trace_header(), recorded)


class Fleet:
    """A fleet's file of so many calls a second, and what is planned and run with it."""

    def __init__(self, trace: Path, fitted: LoadedFit, rate: float, many: int) -> None:
        """Nothing is written yet.

        Args:
            trace: of a replica; the file will be beside it.
            fitted: to the same replica.
            rate: calls a second.
            many: of a run, after as long a warm-up as live.
        """
        self._trace, self._fitted = trace, fitted
        self._rate, self._many = rate, many

    def planned(self, goal_s: float, *, seed: int) -> Capacity:
        """Replicas that answer 99 of 100 calls within a time."""
        return plan_capacity(self._written(1), goal_s, seed=seed)

    def p99_s(self, replicas: int, *, seed: int) -> float:
        """Within which time so many answer 99 of 100: the median of a plan's runs."""
        try:
            runs = [run_fleet(self._written(replicas), seed=seed + k) for k in range(RUNS)]
        except FleetError:  # too few: what waits would grow for ever
            return math.inf
        found = [one.report.together.latency for one in runs]
        return statistics.median(math.inf if one is None else one.p99 for one in found)

    def _written(self, replicas: int) -> Path:
        fitted, path = self._fitted, self._trace.with_name(f"fleet-{self._rate:g}.toml")
        path.write_text(
            f"""seconds = {WARM_UP_S + self._many / self._rate}
warm_up_s = {WARM_UP_S}

[cloud]
replicas = {replicas}
slots = {_SLOTS}
slowdown = {fitted.slowdown}
beside_s = {fitted.beside_s}

[[groups]]
name = "callers"
count = {_DEVICES}
profile = "free"
trace = {json.dumps(self._trace.name)}
scale = {_NO_TIME}
arrivals = {{ kind = "poisson", per_hour = {3600 * self._rate / _DEVICES} }}
"""
        )
        return path
