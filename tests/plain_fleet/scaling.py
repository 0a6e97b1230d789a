"""How many replicas a plain fleet has; knows no query and no event."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from escalade.simulator.fleet.engine import Model
from plain_fleet.entities import Server


class Scaling:
    """Replicas of which some take queries, and some are on their way."""

    def __init__(self, model: Model, replicas: Sequence[Server]) -> None:
        self._model, self._replicas = model, replicas
        self._coming: set[int] = set()
        self._low_since, self._low_most = math.inf, 0

    def started(self, replica: Server) -> None:
        """One takes queries that was on its way."""
        self._coming.discard(replica.number)
        replica.is_taking = True

    def look(self, in_work: int, now_s: float) -> Iterator[Server]:
        """Those to start with so many queries in work; what is spare takes no more."""
        model = self._model
        wanted = math.ceil(in_work / (model.slots * model.target))
        wanted = min(max(wanted, model.least_replicas), model.most_replicas)
        taking = [one for one in self._replicas if one.is_taking]
        have = len(taking) + len(self._coming)
        if wanted >= have:
            self._low_since = math.inf
            for replica in self._replicas:
                is_off = not (replica.is_taking or replica.queries)
                if wanted > have and is_off and replica.number not in self._coming:
                    self._coming.add(replica.number)
                    have += 1
                    yield replica
            return
        if self._low_since == math.inf:
            self._low_since, self._low_most = now_s, wanted
        self._low_most = max(self._low_most, wanted)
        if now_s - self._low_since >= model.settle_s:
            spare = min(have - self._low_most, len(taking) - 1)
            for replica in taking[len(taking) - spare :]:
                replica.is_taking = False
            self._low_since = math.inf
