"""A fleet again and again, under thresholds and replicas of a caller's choice; knows no goal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from escalade.edge.trace import Trace
from escalade.simulator.devices import Devices
from escalade.simulator.errors import FleetError
from escalade.simulator.fleet.building import built_of, check_cloud, load_of
from escalade.simulator.fleet.demand import Built, model_of, recorded_of
from escalade.simulator.fleet.description import Spec
from escalade.simulator.fleet.engine import Ints, Model, Outcome
from escalade.simulator.fleet.replicas.capacity import (
    AS_MEANT,
    least_replicas,
    most_replicas,
    run_with,
    within,
)
from escalade.simulator.network import Profiles


class Took(NamedTuple):
    """What the queries of one group take in a run, those of the warm-up left out.

    Quantiles are of all queries, of which one that is degraded or dropped is never answered; the
    mean is of those that are answered by whom their gate meant. Seconds, infinity where there are
    too few.
    """

    p50_s: float
    p95_s: float
    p99_s: float
    mean_s: float
    #: Share that is degraded or dropped.
    degraded: float


#: Where calls pile up.
_NEVER = Took(math.inf, math.inf, math.inf, math.inf, 1.0)


class Trials:
    """A fleet of which some groups ask the queries of a trace in memory."""

    def __init__(
        self,
        spec: Spec,
        folder: Path,
        trace: Trace,
        groups: Sequence[str],
        *,
        seed: int,
        known: Profiles | None = None,
        devices: Devices | None = None,
    ) -> None:
        """Nothing is run yet.

        Args:
            spec: of the fleet; its replicas and its scaling are left aside.
            folder: that its paths are relative to.
            trace: every tier's answer to every query.
            groups: that ask its queries; of others it is as the spec has it.
            seed: of run 0; run k has so many more.
            known: networks by name; None is those that come with the package.
            devices: by name; None is likewise.

        Raises:
            SimulatorError: the trace does not fit a fleet.
        """
        self.most = most_replicas(spec)
        cloud = msgspec.structs.replace(spec.cloud, replicas=self.most, scaling=None)
        self._spec, self._folder = msgspec.structs.replace(spec, cloud=cloud), folder
        self._seed, self._known, self._devices = seed, known, devices
        self._recorded = {
            group.name: recorded_of(Path(group.trace or ""), trace, group, spec.cloud, seed)
            for group in spec.groups
            if group.name in groups
        }
        self._as_meant: dict[int, tuple[list[Built], Model]] = {}

    def load(self, thresholds: Sequence[float], run: int = 0) -> float:
        """Replicas that the queries keep at work; infinity where the fleet cannot be served."""
        try:
            return self.checked_load(thresholds, run)
        except FleetError:
            return math.inf

    def checked_load(self, thresholds: Sequence[float], run: int = 0) -> float:
        """The same.

        Raises:
            FleetError: it cannot be served, and why.
        """
        load = load_of(self._spec, self._under(thresholds, run)[0])
        check_cloud(self._spec, load)
        return load

    def least(self, load: float) -> int:
        """The fewest replicas that keep up with a load, which is finite."""
        return least_replicas(self._spec, load)

    def run(self, thresholds: Sequence[float], replicas: int, run: int = 0) -> dict[str, Took]:
        """What queries take in one run, by group of the trace.

        Args:
            thresholds: of the trace's gates.
            replicas: at least `least`.
            run: which one, from 0 on.

        Raises:
            FleetError: no query of a group came.
        """
        _, model = self._under(thresholds, run)
        try:
            outcome = run_with(model, replicas)
        except FleetError:  # calls pile up
            return dict.fromkeys(self._recorded, _NEVER)
        return {
            group.name: _took(outcome, place)
            for place, group in enumerate(self._spec.groups)
            if group.name in self._recorded
        }

    def _under(self, thresholds: Sequence[float], run: int) -> tuple[list[Built], Model]:
        """What is drawn of networks does not depend on thresholds, and takes a while."""
        if run not in self._as_meant:
            queries = {name: one.under(thresholds) for name, one in self._recorded.items()}
            seed = self._seed + run
            built = built_of(
                self._spec,
                self._folder,
                seed=seed,
                known=self._known,
                devices=self._devices,
                queries=queries,
            )
            self._as_meant[run] = built, model_of(self._spec, built, seed)
        built, model = self._as_meant[run]
        built = [self._again(one, thresholds) for one in built]
        return built, model._replace(
            device_s=np.concatenate([one.queries.device_s for one in built]),
            defers=np.concatenate([one.queries.defers for one in built]),
        )

    def _again(self, built: Built, thresholds: Sequence[float]) -> Built:
        recorded = self._recorded.get(built.group.name)
        return built if recorded is None else replace(built, queries=recorded.under(thresholds))


def _took(outcome: Outcome, place: int) -> Took:
    counts: Ints = outcome.tally.histogram[place]
    as_meant = int(counts[AS_MEANT].sum())
    p50_s, p95_s, p99_s = (within(counts, share) for share in (0.5, 0.95, 0.99))
    return Took(
        p50_s=p50_s,
        p95_s=p95_s,
        p99_s=p99_s,
        mean_s=float(outcome.tally.sums[place, AS_MEANT].sum()) / as_meant
        if as_meant
        else math.inf,
        degraded=1 - as_meant / int(counts.sum()),
    )
