"""Computes each request once, however often it is sent; knows no backend, no gRPC."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from os.path import commonprefix

from escalade.cloud.backends import Answer, Clock, Delta, Ticket
from escalade.cloud.errors import DeadlineError, DrainingError, EngineDeadError

#: Begins a computation; see `Backend.generate`.
Start = Callable[[Ticket], AsyncIterator[Delta]]


class SharedAnswers:
    """Shares running computations and keeps the last answers, by key.

    A computation is followed by everyone who asked for it, each from its beginning and as fast
    as he likes: what one has not taken yet comes in one piece. Failures are not kept: a retry
    after one computes again.

    Args:
        kept: how many answers to keep; the least recently asked goes first.
        clock: seconds, monotonic.
    """

    def __init__(self, kept: int, clock: Clock) -> None:
        self._limit = kept
        self._clock = clock
        self._computed: set[_Computation] = set()
        self._running: dict[bytes, _Computation] = {}
        self._kept: OrderedDict[bytes, Answer] = OrderedDict()

    async def once(self, key: bytes | None, deadline_s: float, start: Start) -> Answer:
        """The whole answer; see `follow`."""
        async with aclosing(self.follow(key, deadline_s, start)) as deltas:
            async for delta in deltas:
                if delta.answer is not None:
                    return delta.answer
        raise AssertionError("unreachable")

    async def follow(
        self, key: bytes | None, deadline_s: float, start: Start
    ) -> AsyncGenerator[Delta, None]:
        """The answer to `key`, piece by piece: kept, shared, or computed now.

        The computation lives while somebody follows it, up to the latest of their deadlines; it
        is stopped when the last of them goes away.

        Args:
            key: what makes two requests the same; None shares nothing.
            deadline_s: the caller's own, on the clock.
            start: begins the computation under a ticket; what it raises, every follower gets.
        """
        while True:
            if key is not None and key in self._kept:
                self._kept.move_to_end(key)
                yield _rest(self._kept[key])
                return
            computation = self._join(key, deadline_s, start)
            tokens, text = 0, ""
            try:
                with computation.followed() as news:
                    while not computation.ended:
                        news.clear()
                        delta = computation.since(tokens, len(text))
                        if delta.token_ids or delta.text:
                            tokens, text = tokens + len(delta.token_ids), text + delta.text
                            yield delta
                        else:
                            await news.wait()
                    yield _rest(computation.task.result(), tokens, text)
                    return
            except DeadlineError:
                # Another one's deadline, passed just before this one could extend it.
                if tokens or text or self._clock() >= deadline_s:
                    raise

    def abandon(self) -> None:
        """Stop every computation; who follows one is told that the server shuts down."""
        for computation in self._computed:
            computation.stop()

    def _join(self, key: bytes | None, deadline_s: float, start: Start) -> _Computation:
        running = self._running.get(key) if key is not None else None
        if running is not None and running.ticket.should_stop() is None:
            running.ticket.extend(deadline_s)
            return running
        computation = _Computation(Ticket(deadline_s, self._clock), start)
        self._computed.add(computation)
        if key is not None:
            self._running[key] = computation
        computation.task.add_done_callback(lambda task: self._finish(key, computation))
        return computation

    def _finish(self, key: bytes | None, computation: _Computation) -> None:
        self._computed.discard(computation)
        if key is not None and self._running.get(key) is computation:
            del self._running[key]
        task = computation.task
        # Asked in any case: what nobody waits for any more is nobody's news.
        if not task.cancelled() and task.exception() is None and key is not None:
            self._kept[key] = task.result()
            if len(self._kept) > self._limit:
                self._kept.popitem(last=False)
        computation.end()


class _Computation:
    """One computation, what it has given so far, and who follows it."""

    def __init__(self, ticket: Ticket, start: Start) -> None:
        self.ticket = ticket
        self._token_ids: list[int] = []
        self._logprobs: list[float] = []
        self._text = ""
        self._followers: set[asyncio.Event] = set()
        self.task = asyncio.create_task(self._compute(start))
        #: Whether the task is done, and what it gave is kept.
        self.ended = False

    @contextmanager
    def followed(self) -> Iterator[asyncio.Event]:
        """Follow: the event is set when there is news."""
        news = asyncio.Event()
        self._followers.add(news)
        try:
            yield news
        finally:
            self._followers.discard(news)
            if not self._followers:
                self.stop()

    def since(self, tokens: int, characters: int) -> Delta:
        """What it has given after so many tokens and characters."""
        return Delta(self._token_ids[tokens:], self._logprobs[tokens:], self._text[characters:])

    def end(self) -> None:
        """Say that the task is done."""
        self.ended = True
        self._tell()

    def stop(self) -> None:
        """Stop as soon as can be; nothing happens where it has ended."""
        self.ticket.cancel()
        self.task.cancel()

    async def _compute(self, start: Start) -> Answer:
        answer = None
        try:
            async for delta in start(self.ticket):
                answer = delta.answer
                self._token_ids += delta.token_ids
                self._logprobs += delta.logprobs
                self._text += delta.text
                self._tell()
        except asyncio.CancelledError:
            # Somebody still waits, so that it was not for want of a client.
            if self._followers:
                raise DrainingError from None
            raise
        if answer is None:
            raise EngineDeadError("engine: ended without an answer")
        return answer

    def _tell(self) -> None:
        for news in self._followers:
            news.set()


def _rest(answer: Answer, tokens: int = 0, text: str = "") -> Delta:
    """What of an answer has not been given yet, and the answer."""
    # All of what was given, but where bytes are no UTF-8: go on with what replaced them.
    given = len(commonprefix((text, answer.text)))  # noqa: RUF071 - characters are meant
    count = len(answer.token_ids)
    return Delta(
        answer.token_ids[tokens:], answer.logprobs[tokens:count], answer.text[given:], answer
    )
