"""What runs in a process of Ray's: one model, many queries together; knows no Ray, no gRPC.

Whose turn it is, and until when, is the front end's to say: here nothing waits for a place.
"""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from escalade.cloud.backends.backend import BackendInfo
from escalade.cloud.backends.embedded import transformers_factory
from escalade.cloud.backends.places import NO_QUEUE
from escalade.cloud.backends.query import Delta, Query, ScoreQuery, Scores, Verdict
from escalade.cloud.backends.ticket import Ticket
from escalade.cloud.errors import RequestError


class Replica:
    """A backend of this process, asked from another.

    A query that is refused is given back its `RequestError` as a value: what is raised, Ray makes
    an error of its own.
    """

    async def __init__(  # type: ignore[misc] # Ray awaits it
        self, model: str, threads: int, device: str, dtype: str
    ) -> None:
        make = transformers_factory(model, threads=threads, device=device, dtype=dtype)
        self._backend = make(queue_capacity=NO_QUEUE, clock=time.monotonic)
        await self._backend.load()

    def check_health(self) -> None:
        """Have Ray replace this process where it has ceased to work.

        Raises:
            RuntimeError: it has.
        """
        if not self._backend.health():
            raise RuntimeError("the engine failed several times in a row")

    def info(self) -> BackendInfo:
        """See `Backend`."""
        return self._backend.info

    async def generate(self, query: Query) -> AsyncGenerator[Delta | RequestError, None]:
        """See `Backend`; ends when Ray cancels it."""
        try:
            async with aclosing(_generator(self._backend.generate(query, _ticket()))) as deltas:
                async for delta in deltas:
                    yield delta
        except RequestError as error:
            yield error

    async def score(self, batch: Sequence[ScoreQuery], top_k: int) -> list[Scores] | RequestError:
        """See `Backend`."""
        try:
            scored = self._backend.score(batch, top_k, _ticket())
            return [one async for some in scored for one in some.scores]
        except RequestError as error:
            return error

    async def verify(self, query: Query) -> Verdict | RequestError:
        """See `Backend`."""
        try:
            return await self._backend.verify(query, _ticket())
        except RequestError as error:
            return error


def _ticket() -> Ticket:
    return Ticket(math.inf, time.monotonic)


def _generator(deltas: object) -> AsyncGenerator[Delta, None]:
    assert isinstance(deltas, AsyncGenerator)  # noqa: S101 - an embedded backend's is
    return deltas
