"""How many replicas a fleet needs; knows no table.

The goal is of all queries: 99 of 100 are answered by whom their gate meant, within a time. One that
is degraded or dropped is not, however soon that was known, so that a short queue reaches no goal.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import msgspec

from escalade.simulator.devices import Devices, EnergyRow
from escalade.simulator.errors import FleetError
from escalade.simulator.fleet.building import Fleet, build
from escalade.simulator.fleet.description import MOST_REPLICAS, MOST_S, MOST_SLOTS, Spec, read_spec
from escalade.simulator.fleet.energy import energy_of
from escalade.simulator.fleet.engine import (
    ANSWERED,
    AT_GATEWAY,
    DEFERRED,
    Ints,
    Model,
    Outcome,
    quantile,
    simulate,
)
from escalade.simulator.fleet.run import THREADS
from escalade.simulator.network import Profiles

#: Runs of seeds of their own. The median of what runs need lies between the least and the most of
#: six with 97 % (order statistics: all six on one side of it are 2 in 2**6).
RUNS = 6

_SHARE = 0.99
#: Outcomes of a query that is answered by whom its gate meant.
AS_MEANT = [ANSWERED, AT_GATEWAY, DEFERRED]


class Capacity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Replicas for a goal.

    Attributes:
        p99_s: the goal.
        replicas: that are enough in each of the runs.
        least: the fewest that were enough in one,
        median: in half of them,
        most: and in all.
        p99_at_most_s: what that took with so many, in the slowest run.
        price_per_hour: of so many.
        notes: what a reader should know.
        energy: of groups whose devices are named, in a run of the seed with so many; left out where
            none are.
    """

    p99_s: float
    replicas: list[int]
    least: int
    median: int
    most: int
    p99_at_most_s: float
    price_per_hour: float
    notes: list[str]
    energy: list[EnergyRow] = []


def plan_capacity(
    path: Path,
    p99_s: float,
    *,
    seed: int,
    known: Profiles | None = None,
    devices: Devices | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Capacity:
    """The fewest replicas for which 99 of 100 queries are answered within a time.

    Args:
        path: of a fleet's spec; its replicas and its scaling are left aside.
        p99_s: the time.
        seed: of the first run; the others have the next.
        known: networks by name; None is those that come with the package.
        devices: by name; None is likewise.
        progress: called after each run.

    Raises:
        DataError: a trace cannot be read.
        SimulatorError: as `run_fleet`, or no number of replicas is enough.
    """
    if not 0 < p99_s <= MOST_S:
        raise FleetError(f"p99_s must be in (0, {MOST_S:g}]; got {p99_s:g}")
    spec = read_spec(path)
    cloud = msgspec.structs.replace(spec.cloud, replicas=most_replicas(spec), scaling=None)
    spec = msgspec.structs.replace(spec, cloud=cloud)
    fleet_of = partial(build, spec, path.parent, known=known, devices=devices)
    found, worst_s = [], 0.0
    for run in range(RUNS):
        fewest, took_s = _fewest(fleet_of(seed=seed + run), spec, p99_s)
        found.append(fewest)
        worst_s = max(worst_s, took_s)
        progress(run + 1, RUNS)
    ordered = sorted(found)
    first = fleet_of(seed=seed)  # anew: two fleets at a time would take twice the memory
    rows, notes = list[EnergyRow](), list[str]()
    if any(one.device is not None for one in first.built):
        rows, notes = energy_of(spec, run_with(first.model, ordered[-1]), first.built)
    return Capacity(
        p99_s=p99_s,
        replicas=found,
        least=ordered[0],
        median=ordered[RUNS // 2],
        most=ordered[-1],
        p99_at_most_s=worst_s,
        price_per_hour=ordered[-1] * spec.cloud.price_per_hour,
        notes=[*first.notes, *notes],
        energy=rows,
    )


def _fewest(fleet: Fleet, spec: Spec, p99_s: float) -> tuple[int, float]:
    """The fewest replicas that are enough in one run, and what 99 of 100 queries then take."""

    @cache
    def took_s(replicas: int) -> float:
        try:
            outcome = run_with(fleet.model, replicas)
        except FleetError:  # calls pile up: as many come past gateways as those refuse
            return math.inf
        return p99_of(outcome)

    low = least_replicas(spec, fleet.load)
    found = fewest(low, spec.cloud.replicas, lambda many: max(0.0, took_s(many) - p99_s))
    if took_s(found) > p99_s:
        why = f"{found:,} take {took_s(found):.4g} s"
        if took_s(found) == math.inf:
            why = "more than 1 of 100 are degraded or dropped, however many there are"
        raise FleetError(
            f"no number of replicas answers 99 of 100 queries within {p99_s:g} s; {why}"
        )
    return found, took_s(found)


def most_replicas(spec: Spec) -> int:
    """As many as a fleet may have."""
    return min(MOST_REPLICAS, MOST_SLOTS // spec.cloud.slots)


def least_replicas(spec: Spec, load: float) -> int:
    """Of a queue without a bound fewer would let it grow for ever."""
    return 1 if spec.cloud.queue is not None else math.floor(load) + 1


def fewest(
    least: int,
    most: int,
    missed: Callable[[int], float],
    allowed: Callable[[int], float] = lambda replicas: 0.0,
    *,
    guess: int = 0,
) -> int:
    """The fewest replicas that miss a goal by the least.

    Where twice as many come no nearer it is not the cloud that takes the time, and more are not
    tried.

    Args:
        least: replicas, at least 1.
        most: at least as many.
        missed: by how much so many miss it, >= 0; more of them by no more.
        allowed: by how much for another reason, such as what they cost; more of them by no less.
        guess: where to begin; 0 is at the least.
    """
    missed = cache(missed)

    def worst(replicas: int) -> float:
        return max(missed(replicas), allowed(replicas))

    def enough(replicas: int) -> bool:
        return missed(replicas) <= max(allowed(replicas), nearest)

    nearest = 0.0
    low, high, before, step = least, min(max(guess, least), most), math.inf, 1
    while not enough(high):
        if high == most or before <= missed(high) < math.inf:
            nearest, low = min(before, missed(high)), least
            break
        before = missed(high)
        low, high, step = high + 1, min(2 * high, most), 0
    while low < high:  # from a good guess on in steps that grow, until one misses; else by halves
        middle = max(low, high - step) if step else (low + high) // 2
        if enough(middle):
            high, step = middle, 2 * step
        else:
            low, step = middle + 1, 0
    # Here what more of them do no good to is what they do harm to, or one before.
    if (nearest := worst(high)) == 0 or high == least:
        return high
    nearest, low = min(nearest, worst(high - 1)), least
    return low + bisect_left(range(low, high), True, key=lambda many: worst(many) <= nearest)


def run_with(model: Model, replicas: int) -> Outcome:
    """A run with so many replicas from its beginning to its end."""
    fixed = model._replace(replicas=replicas, least_replicas=replicas, most_replicas=replicas)
    return simulate(fixed, windows=1, threads=THREADS)


def p99_of(outcome: Outcome) -> float:
    """Within which time 99 of 100 queries are answered by whom their gate meant, or infinity.

    Raises:
        FleetError: no query came.
    """
    return within(outcome.tally.histogram.sum(axis=0), _SHARE)


def within(counts: Ints, share: float) -> float:
    """Within which time so large a share is answered by whom their gate meant, or infinity.

    Args:
        counts: `(OUTCOMES, BINS)` of latencies.
        share: of all queries.

    Raises:
        FleetError: no query came.
    """
    answered = counts[AS_MEANT].sum(axis=0)
    total, known = int(counts.sum()), int(answered.sum())
    if not total:
        raise FleetError("no query came in a run: give more seconds, devices or queries of each")
    return quantile(answered, share * total / known) if known >= share * total else math.inf
