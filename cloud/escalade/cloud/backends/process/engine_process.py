"""One process of an engine, as its server sees it; knows no queue, no engine.

It ends with the server: where its stdin ends, so does it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, cast

from escalade.cloud.backends.backend import BackendInfo, Gauge
from escalade.cloud.backends.process.messages import (
    Kind,
    Messages,
    Plain,
    Settings,
    delta_of,
    error_of,
    gauges_of,
    info_of,
    message,
    scores_of,
    verdict_of,
)
from escalade.cloud.backends.query import Delta, Query, ScoreQuery, Scores, Verdict
from escalade.cloud.backends.replicas import ReplicaEndedError
from escalade.cloud.backends.ticket import Ticket
from escalade.cloud.errors import RequestError, StartError

_LOG = logging.getLogger(__name__)

_MODULE = "escalade.cloud.backends.process.child"
# From the end of what it says to its own.
_EXIT_S = 1.0
# A ticket may be extended or cancelled meanwhile.
_LOOK_S = 1.0
#: Pulses come each second; a process that is silent so long has been stopped, or hangs.
SILENT_S = 10.0

#: What came for a call, or why nothing more will.
_News = Delta | Sequence[Scores] | Verdict | Exception


class _Call(NamedTuple):
    ticket: Ticket
    news: asyncio.Queue[_News]


class EngineProcess(asyncio.Protocol):
    """Starts one, asks it, and hears of its end.

    Args:
        settings: of the engine.
        say: told in a line what the engine says as it loads.
        on_end: called once it has ended, in the event loop.
    """

    info: BackendInfo
    #: Queries that it computes at one time.
    at_once: int

    def __init__(
        self,
        settings: Settings,
        *,
        say: Callable[[str], None],
        on_end: Callable[[], None],
    ) -> None:
        self._settings, self._say, self._on_end = settings, say, on_end
        self._loop = asyncio.get_running_loop()
        self._numbers = itertools.count(1)
        self._messages = Messages()
        self._calls: dict[int, _Call] = {}
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._pulse_s = self._loop.time()
        self._ended = False
        #: As of the last pulse.
        self.gauges: Sequence[Gauge] = ()

    async def start(self) -> None:
        """Start it, and wait until its model is loaded.

        Raises:
            StartError: the model does not load, or the process ended.
        """
        # Not from the folder that it stands in: a file there may be named as a library.
        command = [sys.executable, "-P", "-m", _MODULE]
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
        )
        self._writer, _ = await self._loop.connect_write_pipe(asyncio.Protocol, self._process.stdin)
        self._reader, _ = await self._loop.connect_read_pipe(lambda: self, self._process.stdout)
        self._write(message(Kind.LOAD, 0, self._settings))
        try:
            await self._ready
        except BaseException:
            self.close()
            raise
        if self._ended:
            raise StartError(f"engine: {self.why_ended()} as it was ready")

    def kill(self) -> None:
        """End it, whatever it does; it holds nothing that is not asked again."""
        self._process.kill()

    def close(self) -> None:
        """End it, and hear no more of it."""
        self.kill()
        self._process.wait()
        self._writer.close()
        self._reader.close()

    def health(self) -> bool:
        """Whether it has been heard of just now."""
        return self._loop.time() - self._pulse_s < SILENT_S

    async def generate(self, query: Query, ticket: Ticket) -> AsyncGenerator[Delta, None]:
        """See `Replicas`."""
        with self._asked(Kind.GENERATE, ticket, query) as said:
            answered = False
            while not answered:
                delta = cast(Delta, _given(await said.get()))
                answered = delta.answer is not None
                yield delta

    async def score(
        self, batch: Sequence[ScoreQuery], top_k: int, ticket: Ticket
    ) -> Sequence[Scores]:
        """See `Replicas`."""
        with self._asked(Kind.SCORE, ticket, batch, top_k) as said:
            return cast("Sequence[Scores]", _given(await said.get()))

    async def verify(self, query: Query, ticket: Ticket) -> Verdict:
        """See `Replicas`."""
        with self._asked(Kind.VERIFY, ticket, query) as said:
            return cast(Verdict, _given(await said.get()))

    @contextmanager
    def _asked(
        self, kind: Kind, ticket: Ticket, *content: object
    ) -> Iterator[asyncio.Queue[_News]]:
        """A call, while the block runs; its queue hears of the ticket's end too."""
        ticket.check()
        if self._ended:
            raise ReplicaEndedError(self.why_ended())
        call = _Call(ticket, asyncio.Queue())
        number = next(self._numbers)
        timer: asyncio.Handle

        def look() -> None:
            nonlocal timer
            try:
                ticket.check()
            except RequestError as error:
                call.news.put_nowait(error)
            else:
                timer = self._loop.call_later(min(ticket.remaining_s(), _LOOK_S), look)

        self._calls[number] = call
        timer = self._loop.call_later(min(ticket.remaining_s(), _LOOK_S), look)
        self._write(message(kind, number, *content))
        try:
            yield call.news
        finally:
            timer.cancel()
            if self._calls.pop(number, None) is not None:
                self._write(message(Kind.CANCEL, number))

    def _write(self, data: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(data)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        for kind, number, content in self._messages.feed(data):
            if number:
                self._hear_of_call(kind, number, content)
            else:
                self._hear(kind, content)

    def _hear_of_call(self, kind: Kind, number: int, content: list[Plain]) -> None:
        call = self._calls.get(number)
        if call is None:  # nobody waits for it any more
            return
        news: _News
        if kind == Kind.BEGUN:
            call.ticket.prompt_tokens = content[0]
            return
        if kind == Kind.DELTA:
            news = delta_of(content[0])
            if news.answer is None:
                call.news.put_nowait(news)
                return
        elif kind == Kind.SCORES:
            news = scores_of(content[0])
        elif kind == Kind.VERDICT:
            news = verdict_of(content[0])
        else:
            news = error_of(content[0])
        del self._calls[number]
        call.news.put_nowait(news)

    def _hear(self, kind: Kind, content: list[Plain]) -> None:
        self._pulse_s = self._loop.time()
        if kind == Kind.PULSE:
            well, self.gauges = content[0], gauges_of(content[1])
            if not well:
                _LOG.error("engine: it failed several times in a row, and is ended")
                self.kill()
        elif kind == Kind.SAID:
            self._say(content[0])
        elif kind == Kind.LOGGED:
            name, level, text = content
            logger = logging.getLogger(name)
            if logger.isEnabledFor(level):
                logger.handle(
                    logging.makeLogRecord(
                        {
                            "name": name,
                            "levelno": level,
                            "msg": text,
                            "levelname": logging.getLevelName(level),
                        }
                    )
                )
        elif kind == Kind.READY:
            self.info, self.at_once = info_of(content[0]), content[1]
            self._ready.set_result(None)
        else:
            self._ready.set_exception(error_of(content[0]))

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`; the process has ended."""
        self._ended = True
        try:
            self._process.wait(_EXIT_S)
        except subprocess.TimeoutExpired:
            self.close()
        self._writer.close()
        if not self._ready.done():
            self._ready.set_exception(StartError(f"engine: {self.why_ended()} as it loaded"))
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.news.put_nowait(ReplicaEndedError(self.why_ended()))
        self._on_end()

    def why_ended(self) -> str:
        """How it ended, in words."""
        code = self._process.returncode
        if code is not None and code < 0:
            return f"its process was ended by {signal.Signals(-code).name}"
        return f"its process ended with exit code {code}"


def _given(news: _News) -> Delta | Sequence[Scores] | Verdict:
    """What came.

    Raises:
        RequestError, ReplicaEndedError: it is that nothing came.
    """
    if isinstance(news, Exception):
        raise news
    return news
