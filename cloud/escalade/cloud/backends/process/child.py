"""The process of an engine: computes what its server asks, and ends with it; knows no gRPC.

Whose turn it is, and until when, is the server's to say: here nothing waits for a place.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial
from importlib import import_module
from typing import cast

from escalade.cloud.backends.embedded import EmbeddedBackend, transformers_factory
from escalade.cloud.backends.places import NO_QUEUE
from escalade.cloud.backends.process.messages import (
    Kind,
    Messages,
    Plain,
    Settings,
    message,
    query_of,
    score_queries_of,
)
from escalade.cloud.backends.ticket import Ticket
from escalade.cloud.errors import EngineDeadError, RequestError, StartError
from escalade.cloud.heap import find_trim, keep_trimmed

_LOG = logging.getLogger(__name__)

#: How often the process says how it is.
PULSE_S = 1.0
# How long the thread that computes may keep the interpreter from the event loop.
_SWITCH_S = 5e-4

Send = Callable[..., None]


class _Forwarded(logging.Handler):
    """Has the server write what is logged here, where and how it writes its own."""

    def __init__(self, send: Send) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        self._send(Kind.LOGGED, 0, record.name, record.levelno, self.format(record))


class _Told(Ticket):
    """A call's; who waits for it is told of a text how many tokens it is."""

    def __init__(self, tell: Callable[[int], None]) -> None:
        self._tell = tell
        super().__init__(math.inf, time.monotonic)

    @property
    def prompt_tokens(self) -> int:
        """See `Ticket`; a backend only sets it."""
        return 0

    @prompt_tokens.setter
    def prompt_tokens(self, count: int) -> None:
        if count:
            self._tell(count)


class _Engine(asyncio.Protocol):
    """Reads what is asked, and answers it with a backend of this process."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._messages = Messages()
        self._calls: dict[int, tuple[asyncio.Task[None], Ticket]] = {}
        self._backend: EmbeddedBackend | None = None
        self._loading: asyncio.Task[None] | None = None
        self._does: Mapping[Kind, Callable[..., Awaitable[None]]] = {
            Kind.GENERATE: self._generate,
            Kind.SCORE: self._score,
            Kind.VERIFY: self._verify,
        }

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        for kind, number, content in self._messages.feed(data):
            if kind == Kind.CANCEL:
                if (call := self._calls.get(number)) is not None:
                    task, ticket = call
                    ticket.cancel()
                    task.cancel()
            elif kind == Kind.LOAD:
                self._loading = asyncio.create_task(self._load(Settings(*content[0])))
            else:
                self._begin(kind, number, content)

    def _begin(self, kind: Kind, number: int, content: list[Plain]) -> None:
        # How many tokens ids are is known there.
        text = kind != Kind.SCORE and not content[0]["prompt_ids"]
        tell = partial(self._send, Kind.BEGUN, number)
        ticket = _Told(tell) if text else Ticket(math.inf, time.monotonic)
        task = asyncio.create_task(self._answered(kind, number, ticket, content))
        # One that is cancelled before it runs never runs.
        task.add_done_callback(lambda done: self._calls.pop(number))
        self._calls[number] = task, ticket

    def connection_lost(self, exc: Exception | None) -> None:
        """The server has ended: nobody waits for anything any more."""
        os._exit(0)

    async def _load(self, settings: Settings) -> None:
        try:
            if settings.before:
                module, _, name = settings.before.partition(":")
                getattr(import_module(module), name)()
            make = transformers_factory(
                settings.model,
                max_new_tokens=settings.max_new_tokens,
                threads=settings.threads,
                device=settings.device,
                dtype=settings.dtype,
                deterministic=settings.deterministic,
                kv_bytes=settings.kv_bytes,
                say=lambda line: self._send(Kind.SAID, 0, line),
            )
            backend = cast(EmbeddedBackend, make(queue_capacity=NO_QUEUE, clock=time.monotonic))
            await backend.load()
        except StartError as error:
            self._send(Kind.REFUSED, 0, error)
            return
        except Exception as error:
            _LOG.exception("the engine did not load")
            said = f"engine: did not load, with {type(error).__name__}"
            self._send(Kind.REFUSED, 0, StartError(said))
            return
        self._backend = backend
        # What a model brings with it is for good, and is looked through no more.
        gc.collect()
        gc.freeze()
        self._send(Kind.READY, 0, backend.info, backend.at_once)
        while True:
            gauges = [one for one in backend.gauges() if one.name != "queue_length"]
            self._send(Kind.PULSE, 0, backend.health(), gauges)
            await asyncio.sleep(PULSE_S)

    async def _answered(
        self, kind: Kind, number: int, ticket: Ticket, content: list[Plain]
    ) -> None:
        try:
            await self._does[kind](number, ticket, *content)
        except RequestError as error:
            self._send(Kind.REFUSED, number, error)
        except Exception as error:
            _LOG.exception("the engine failed")
            said = EngineDeadError(f"engine: failed with {type(error).__name__}")
            self._send(Kind.REFUSED, number, said)

    async def _generate(self, number: int, ticket: Ticket, said: Mapping[str, Plain]) -> None:
        deltas = self._loaded().generate(query_of(said), ticket)
        async with aclosing(deltas):
            async for delta in deltas:
                self._send(Kind.DELTA, number, delta)

    async def _score(self, number: int, ticket: Ticket, said: list[Plain], top_k: int) -> None:
        batches = self._loaded().score(score_queries_of(said), top_k, ticket)
        scores = [one async for batch in batches for one in batch.scores]
        self._send(Kind.SCORES, number, scores)

    async def _verify(self, number: int, ticket: Ticket, said: Mapping[str, Plain]) -> None:
        self._send(Kind.VERDICT, number, await self._loaded().verify(query_of(said), ticket))

    def _loaded(self) -> EmbeddedBackend:
        assert self._backend is not None  # noqa: S101 - the server waits for it
        return self._backend


async def _serve(out: int) -> None:
    loop, me = asyncio.get_running_loop(), threading.get_ident()
    writer, _ = await loop.connect_write_pipe(asyncio.Protocol, os.fdopen(out, "wb", buffering=0))

    def send(kind: Kind, number: int, *content: object) -> None:
        data = message(kind, number, *content)
        if threading.get_ident() == me:
            writer.write(data)
        else:
            loop.call_soon_threadsafe(writer.write, data)

    logging.getLogger().addHandler(_Forwarded(send))
    trim = find_trim()
    trimming = None if trim is None else asyncio.create_task(keep_trimmed(trim))
    await loop.connect_read_pipe(lambda: _Engine(send), sys.stdin.buffer)
    await (trimming or asyncio.Event().wait())


def main() -> None:
    """Read what is asked on stdin, and answer on stdout, until stdin ends."""
    # The server drains first, and then closes stdin.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    # What a library prints is no message.
    out = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.setswitchinterval(_SWITCH_S)
    asyncio.run(_serve(out))


if __name__ == "__main__":
    main()
