"""One request from its places to its last byte: every one ends in one terminal event.

Choices are answered in threads, and what they show comes back through one queue. Who leaves cancels
all of them; each gives its place back when its thread ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Event as Flag
from typing import Any

from starlette.types import Receive, Send

from escalade.edge.endpoint.answering import Event, Place, Places, Request, Shown, climb
from escalade.edge.endpoint.openai import Finished, Replies, headers_of
from escalade.edge.endpoint.served_cascade import ServedCascade
from escalade.edge.endpoint.web.responding import (
    AnswerStream,
    EventStream,
    Headers,
    send_error,
    send_json,
)
from escalade.edge.errors import RefusedError

# A stream says so often that it is alive, below the minute after which proxies give up.
_STILL_HERE_S = 15.0
# So often while its reader is asked: the second that is written to one who has left fails, and his
# question is open no longer.
_STILL_ASKED_S = 1.0

#: What comes of a choice: something for its reader, its end, or nothing as it was cancelled.
_Came = tuple[int, Shown | RefusedError | None]


class Asking:
    """Asks a cascade for requests, each of its choices in a thread."""

    def __init__(self, served: ServedCascade, queue: int) -> None:
        """Start no thread yet.

        Args:
            served: who answers.
            queue: answers that may be under way, at least 1; see `Places`.
        """
        self._served = served
        self.places = Places(queue)
        self._pool = ThreadPoolExecutor(2 * queue, thread_name_prefix="choice")
        self._under_way: set[Flag] = set()
        self._ending = False

    def end(self) -> None:
        """Cancel all that is under way: each is told that the endpoint ends."""
        self._ending = True
        for flag in self._under_way:
            flag.set()

    def close(self) -> None:
        """Wait for the threads."""
        self._pool.shutdown()

    async def answer(
        self, request: Request, replies: Replies, receive: Receive, send: Send, headers: Headers
    ) -> None:
        """Answer one request.

        Raises:
            RefusedError: there is no place for it; nothing was sent.
        """
        if self._ending:
            raise _ending()
        places = self.places.take(len(request.queries))
        flag = Flag()
        self._under_way.add(flag)
        watching = asyncio.ensure_future(_until_gone(receive))
        try:
            if request.stream:
                stream = AnswerStream(replies, EventStream(send), headers)
                await self._streamed(request, places, stream, flag, watching)
            else:
                await self._whole(request, places, replies, flag, watching, send, headers)
        finally:
            flag.set()
            self._under_way.discard(flag)
            watching.cancel()

    async def _whole(
        self,
        request: Request,
        places: Sequence[Place],
        replies: Replies,
        flag: Flag,
        watching: asyncio.Future[None],
        send: Send,
        headers: Headers,
    ) -> None:
        choices = self._start(request, places, flag, None)
        everything = asyncio.gather(*choices, return_exceptions=True)
        first: list[asyncio.Future[Any]] = [everything, watching]
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if not everything.done():
            return  # nobody is there; the threads end by the flag
        found: list[Finished] = []
        for one in everything.result():
            if isinstance(one, RefusedError):
                await send_error(send, one, headers=headers)
                return
            if isinstance(one, BaseException):
                raise one
            if one is None:
                await send_error(send, self._cancelled(), headers=headers)
                return
            found.append(one)
        body = replies.whole(found)
        more = headers_of([one.decision for one in found])
        await send_json(send, body, headers=[*headers, *more])

    async def _streamed(
        self,
        request: Request,
        places: Sequence[Place],
        stream: AnswerStream,
        flag: Flag,
        watching: asyncio.Future[None],
    ) -> None:
        loop = asyncio.get_running_loop()
        came: asyncio.Queue[_Came] = asyncio.Queue()

        def put(index: int, what: Shown | RefusedError | None) -> None:
            loop.call_soon_threadsafe(came.put_nowait, (index, what))

        watching.add_done_callback(lambda _: came.put_nowait((-1, None)))
        for index, choice in enumerate(self._start(request, places, flag, put)):
            choice.add_done_callback(partial(_note_end, index, came))
        left = len(request.queries)
        asked: set[int] = set()
        while left:
            try:
                async with asyncio.timeout(_STILL_ASKED_S if asked else _STILL_HERE_S):
                    index, what = await came.get()
            except TimeoutError:
                await stream.still_here()
                continue
            if index < 0:
                return  # gone
            if what is None:
                what = self._cancelled()
            if isinstance(what, RefusedError):
                await stream.fail(what)
                return
            if isinstance(what, Event) and what.asks:
                asked.add(index)
            else:
                asked.discard(index)
            await stream.show(index, what)
            left -= isinstance(what, Finished)
        await stream.done()

    def _start(
        self,
        request: Request,
        places: Sequence[Place],
        flag: Flag,
        put: Callable[[int, Shown], None] | None,
    ) -> list[asyncio.Future[Finished | None]]:
        client = self._served.asked(request.mode, stream=request.stream)
        loop = asyncio.get_running_loop()
        started = []
        for index, (query, place) in enumerate(zip(request.queries, places, strict=True)):
            one = loop.run_in_executor(
                self._pool,
                partial(
                    climb,
                    client,
                    query,
                    self._served.reader_of,
                    flag.is_set,
                    readers=self._served.readers,
                    waiting=place.lent,
                    param="messages" if request.chat else "prompt",
                    mode=request.mode,
                    show=None if put is None else partial(put, index),
                ),
            )
            one.add_done_callback(partial(_free, place))
            started.append(one)
        return started

    def _cancelled(self) -> RefusedError:
        if self._ending:
            return _ending()
        return RefusedError(500, "cancelled", "the query was cancelled before it was answered")


def _free(place: Place, choice: asyncio.Future[Finished | None]) -> None:
    place.free()


def _note_end(
    index: int, came: asyncio.Queue[_Came], choice: asyncio.Future[Finished | None]
) -> None:
    """Tell the reader's queue how a choice ended, where it has not shown its answer."""
    if choice.cancelled():
        came.put_nowait((index, None))
        return
    error = choice.exception()
    if isinstance(error, RefusedError):
        came.put_nowait((index, error))
    elif error is None and choice.result() is None:
        came.put_nowait((index, None))


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _ending() -> RefusedError:
    return RefusedError(503, "shutting_down", "the endpoint is ending; ask again", retry_after_s=1)
