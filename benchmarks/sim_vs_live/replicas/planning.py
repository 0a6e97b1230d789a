"""Plans replicas from one that is measured, as a user does; knows no other replica.

`escalade load --fit --rate`, `escalade record` and `escalade fleet --p99-s`, through what is behind
them. Drafts are not sent, for `escalade load` sends none.
"""

from __future__ import annotations

import asyncio
import json
import math
import statistics
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
import numpy as np
from benchmarks.sim_vs_live.replicas.sending import DEADLINE_S, WARM_UP_S, Fewest, callers_of

from escalade.cli.output import progress_bar
from escalade.edge import EdgeClient
from escalade.edge.base import Record
from escalade.edge.trace import read_trace, write_trace
from escalade.simulator.errors import FleetError
from escalade.simulator.fleet import plan_capacity, replica_s, run_fleet
from escalade.simulator.fleet.replicas.capacity import RUNS, Capacity
from escalade.simulator.load import Plan
from escalade.simulator.load.caller import Caller
from escalade.simulator.load.driver import Asked, Driven, drive
from escalade.simulator.load.loaded_fit import LoadedFit, fit_loaded

#: What `escalade serve` computes together at most (docs/serving.md).
_SLOTS = 64
#: Callers of a fleet: so many that hardly one waits for itself.
_DEVICES = 1000
#: Times a device's seconds: calls come from no device here.
_NO_TIME = 1e-6
#: Of either loop of a turn's part of the fit.
_FIT_S = 15.0
_NO_END_S = 1e6
#: Between the turns of a fit: nothing of one is computed beside what is of the next.
_APART_S = 1e3


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Answers of the first replica: N of one client, and M at a load.

    Attributes:
        alone: `(N, 2)` tokens and seconds of each,
        loaded: `(M, 2)` and at a load.
        sent_s: `(M,)` when each of these was sent, rising.
    """

    alone: list[tuple[float, float]]
    loaded: list[tuple[float, float]]
    sent_s: list[float]


def measure(
    addresses: Sequence[str],
    artifact: Path,
    records: Sequence[Record],
    rate: float,
    trace: Path,
    *,
    recorded: Sequence[Record],
    seed: int,
) -> Measured:
    """Measure what the first replica's answers take at a load, and record what they take alone.

    The others are asked as much each all the while: they share a machine and its caches, as
    replicas on machines of their own do not.

    Args:
        addresses: of the replicas.
        artifact: see `_record`.
        records: that they are asked.
        rate: of each replica, calls a second.
        trace: what is recorded,
        recorded: and of which queries.
        seed: of moments and prompts.
    """
    prompts = [one.prompt for one in records]
    plan = Plan(rate=rate, seconds=_FIT_S, warm_up_s=WARM_UP_S, deadline_s=DEADLINE_S, seed=seed)
    alone_plan = msgspec.structs.replace(plan, clients=1, rate=None)

    async def main() -> tuple[Driven, Driven]:
        async with AsyncExitStack() as stack:
            first, *others = await callers_of(addresses, prompts, stack)
            load = asyncio.create_task(_keep_asking(others, len(prompts), rate, seed + 1))
            try:
                alone = await drive(alone_plan, len(prompts), first.ask)
                loaded = await drive(plan, len(prompts), first.ask)
                await asyncio.to_thread(_record, addresses[0], artifact, recorded, trace)
            finally:
                load.cancel()
                await asyncio.wait([load])
        return alone, loaded

    alone, loaded = (_answered(one) for one in asyncio.run(main()))
    return Measured(
        alone=_answers(alone), loaded=_answers(loaded), sent_s=[one.sent_s for one in loaded]
    )


def fitted(turns: Sequence[Measured], rate: float) -> LoadedFit:
    """The model of a fleet's replica, by all turns together.

    Args:
        turns: see `measure`.
        rate: calls a second.
    """
    sent_s: list[float] = []
    for turn in turns:
        begins_s = sent_s[-1] + _APART_S if sent_s else 0.0
        sent_s += [begins_s + one - turn.sent_s[0] for one in turn.sent_s]
    alone = np.array([each for turn in turns for each in turn.alone], np.float64)
    loaded = np.array([each for turn in turns for each in turn.loaded], np.float64)
    return fit_loaded(alone, np.array(sent_s), loaded, rate=rate, queue=replica_s)


def joined(traces: Sequence[Path], out: Path) -> Path:
    """One trace of all turns' queries; returns its path."""
    read = [read_trace(one) for one in traces]
    write_trace(out, read[0].header, [each for one in read for each in one.records])
    return out


async def _keep_asking(callers: Sequence[Caller], prompts: int, rate: float, seed: int) -> None:
    if callers:
        total = rate * len(callers)
        plan = Plan(rate=total, seconds=_NO_END_S, deadline_s=DEADLINE_S, seed=seed)
        await drive(plan, prompts, Fewest(callers).ask)


def _answered(driven: Driven) -> list[Asked]:
    """What was measured and answered, as it was sent."""
    measured = [one for one in driven.asked if one.due_s >= driven.from_s and not one.said.reason]
    return sorted(measured, key=lambda one: one.sent_s)


def _answers(asked: Sequence[Asked]) -> list[tuple[float, float]]:
    return [(one.said.tokens, one.ended_s - one.sent_s) for one in asked]


def _record(address: str, artifact: Path, records: Sequence[Record], out: Path) -> None:
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

    def planned(self, goal_s: float, *, seed: int) -> Capacity | None:
        """Replicas that answer 99 of 100 calls within a time; None where no number does."""
        try:
            return plan_capacity(self._written(1), goal_s, seed=seed)
        except FleetError:
            return None

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
