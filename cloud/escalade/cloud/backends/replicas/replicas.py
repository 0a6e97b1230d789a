"""Processes that compute, as the front end asks them; knows none of them, and no queue."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Iterable, Sequence
from typing import Protocol

from escalade.cloud.backends.backend import BackendInfo, Gauge
from escalade.cloud.backends.query import Delta, Query, ScoreQuery, Scores, Verdict
from escalade.cloud.backends.ticket import Ticket


class ReplicaEndedError(Exception):
    """A process ended while it computed: another may be asked the same."""


class Replicas(Protocol):
    """Processes with the same model each.

    Each method that computes ends with its ticket, and raises:

    - `ReplicaEndedError`: the process ended before it had answered;
    - `EngineDeadError`: it failed, and another would too;
    - any other `RequestError`: it refuses.
    """

    #: Queries that are computed at one time at most; known once they have started.
    at_once: int
    #: Processes that may end under one query before it is given up, at least 1.
    tries: int

    async def start(self) -> BackendInfo:
        """Start, and return when one is ready.

        Raises:
            StartError: it cannot.
        """
        ...

    def close(self) -> None:
        """End what was started."""
        ...

    def health(self) -> bool:
        """Whether there is one to be asked, as far as is known."""
        ...

    def gauges(self) -> Iterable[Gauge]:
        """What they have just now; how many wait for them is the front end's to say."""
        ...

    def generate(self, query: Query, ticket: Ticket) -> AsyncGenerator[Delta, None]:
        """See `Backend`."""
        ...

    def score(
        self, batch: Sequence[ScoreQuery], top_k: int, ticket: Ticket
    ) -> Awaitable[Sequence[Scores]]:
        """Score one batch."""
        ...

    def verify(self, query: Query, ticket: Ticket) -> Awaitable[Verdict]:
        """See `Backend`."""
        ...
