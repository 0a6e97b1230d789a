"""One engine in a process of its own, that is started again when it ends; knows no queue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing

from escalade.cloud.backends.backend import BackendInfo, Gauge
from escalade.cloud.backends.lasting import within
from escalade.cloud.backends.process.engine_process import EngineProcess
from escalade.cloud.backends.process.messages import Settings
from escalade.cloud.backends.query import Delta, Query, ScoreQuery, Scores, Verdict
from escalade.cloud.backends.replicas import Replicas
from escalade.cloud.backends.ticket import Ticket
from escalade.cloud.errors import EngineDeadError, StartError

_LOG = logging.getLogger(__name__)

# Between two tries to start it again; the last is for all that come.
_PAUSES_S = (1.0, 5.0, 30.0)


class Supervised(Replicas):
    """A process, or the one that comes after it.

    Args:
        settings: see `EngineProcess`.
        say: told in a line what the engine says as it loads.
    """

    #: What ends two of them is the query's doing, and would end a third.
    tries = 2

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self._settings, self._say = settings, say
        self._process: EngineProcess | None = None
        self._starting: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        #: Why it did not start again, while it has not.
        self._failed = ""
        self._closed = False
        self._restarts = 0

    async def start(self) -> BackendInfo:
        """See `Replicas`."""
        self._process = await self._started(self._say)
        self._ready.set()
        self._info, self.at_once = self._process.info, self._process.at_once
        return self._info

    async def _started(self, say: Callable[[str], None]) -> EngineProcess:
        process = EngineProcess(self._settings, say=say, on_end=self._on_end)
        await process.start()
        return process

    def _on_end(self) -> None:
        if self._closed or not self._ready.is_set():
            return
        assert self._process is not None  # noqa: S101 - it is what ended
        self._ready.clear()
        self._restarts += 1
        _LOG.error("engine: %s; it is started again", self._process.why_ended())
        self._starting = asyncio.create_task(self._start_again())

    async def _start_again(self) -> None:
        tries = 0
        while True:
            try:
                process = await self._started(lambda line: None)
                if process.info == self._info:
                    break
                process.kill()
                raise StartError("the model's folder holds another model now")
            except StartError as error:
                pause_s = _PAUSES_S[min(tries, len(_PAUSES_S) - 1)]
                self._failed = str(error)
                _LOG.error("engine: not started again: %s; next try in %g s", error, pause_s)
                tries += 1
                await asyncio.sleep(pause_s)
        self._process, self._failed = process, ""
        self._ready.set()
        _LOG.warning("engine: started again")

    def close(self) -> None:
        """See `Replicas`."""
        self._closed = True
        if self._starting is not None:
            self._starting.cancel()
        if self._process is not None:
            self._process.close()

    def health(self) -> bool:
        """Whether it runs, and has been heard of just now."""
        return self._process is not None and self._ready.is_set() and self._process.health()

    def gauges(self) -> Iterable[Gauge]:
        """See `Replicas`."""
        restarts = Gauge(
            "engine_restarts", "Times that the engine's process ended by itself.", self._restarts
        )
        return (restarts, *(() if self._process is None else self._process.gauges))

    async def generate(self, query: Query, ticket: Ticket) -> AsyncGenerator[Delta, None]:
        """See `Replicas`."""
        process = await self._running(ticket)
        async with aclosing(process.generate(query, ticket)) as deltas:
            async for delta in deltas:
                yield delta

    async def score(
        self, batch: Sequence[ScoreQuery], top_k: int, ticket: Ticket
    ) -> Sequence[Scores]:
        """See `Replicas`."""
        return await (await self._running(ticket)).score(batch, top_k, ticket)

    async def verify(self, query: Query, ticket: Ticket) -> Verdict:
        """See `Replicas`."""
        return await (await self._running(ticket)).verify(query, ticket)

    async def _running(self, ticket: Ticket) -> EngineProcess:
        """The process, as soon as there is one.

        Raises:
            EngineDeadError: there is none, and the last try to start one failed.
        """
        if not self._ready.is_set():
            if self._failed:
                raise EngineDeadError("engine: its process ended, and does not start again")
            async with within(ticket):
                await self._ready.wait()
        assert self._process is not None  # noqa: S101 - it is ready
        return self._process
