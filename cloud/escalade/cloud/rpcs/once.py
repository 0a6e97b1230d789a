"""Computes each request once, however often it is sent; knows no backend, no gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from os.path import commonprefix

from escalade.cloud.backends import NOBODY, Answer, Claim, Clock, Delta, Ticket, refuse_half
from escalade.cloud.errors import DeadlineError, DrainingError, EngineDeadError, QueueFullError
from escalade.cloud.rpcs.kept import KeptAnswers

#: Begins a computation; see `Backend.generate`.
Start = Callable[[Ticket], AsyncIterator[Delta]]

# Who follows one computation holds a request in memory and no place in the queue.
_MOST_FOLLOWERS = 64
_FOLLOW_AGAIN_S = 0.1


class SharedAnswers:
    """Shares running computations and keeps the last answers, by key.

    A computation is followed by everyone who asked for it, each from its beginning and as fast
    as he likes: what one has not taken yet comes in one piece. Failures are not kept: a retry
    after one computes again.

    Args:
        kept: how many answers to keep.
        clock: seconds, monotonic.
    """

    def __init__(self, kept: int, clock: Clock) -> None:
        self._clock = clock
        self._computed: set[_Computation] = set()
        self._running: dict[bytes, _Computation] = {}
        self._kept = KeptAnswers(kept)

    async def once(
        self, key: bytes | None, deadline_s: float, start: Start, claim: Claim = NOBODY
    ) -> Answer:
        """The whole answer; see `follow`."""
        while True:
            kept = self._kept.recall(key)
            if kept is not None:
                return kept
            computation = self._join(key, deadline_s, start, claim)
            with computation.followed() as news:
                while computation.outcome is None:
                    news.clear()
                    await news.wait()
            if not self._may_try_again(computation, deadline_s):
                return computation.answer()

    async def follow(
        self, key: bytes | None, deadline_s: float, start: Start, claim: Claim = NOBODY
    ) -> AsyncGenerator[Delta, None]:
        """The answer to `key`, piece by piece: kept, shared, or computed now.

        The computation lives while somebody follows it, up to the latest of their deadlines; it
        is stopped when the last of them goes away.

        Args:
            key: what makes two requests the same; None shares nothing.
            deadline_s: the caller's own, on the clock.
            start: begins the computation under a ticket; what it raises, every follower gets.
            claim: the caller's; whoever asks first asks for the place in the queue.

        Raises:
            QueueFullError: too many follow this computation already.
        """
        tokens, text = 0, ""
        while True:
            kept = self._kept.recall(key)
            if kept is not None:
                yield _rest(kept, tokens, text)
                return
            computation = self._join(key, deadline_s, start, claim)
            with computation.followed() as news:
                while computation.outcome is None:
                    news.clear()
                    delta = computation.since(tokens, len(text))
                    if delta.token_ids or delta.text:
                        tokens, text = tokens + len(delta.token_ids), text + delta.text
                        yield delta
                    else:
                        await news.wait()
            # What has been given stays given, and another computation may go another way.
            if tokens or text or not self._may_try_again(computation, deadline_s):
                yield _rest(computation.answer(), tokens, text)
                return

    def abandon(self) -> None:
        """Stop every computation; who follows one is told that the server shuts down."""
        for computation in [*self._computed]:
            computation.stop()

    def _may_try_again(self, computation: _Computation, deadline_s: float) -> bool:
        """Whether it was another one's deadline, passed just before this one could extend it."""
        return isinstance(computation.outcome, DeadlineError) and self._clock() < deadline_s

    def _join(
        self, key: bytes | None, deadline_s: float, start: Start, claim: Claim
    ) -> _Computation:
        running = self._running.get(key) if key is not None else None
        if running is not None and running.ticket.should_stop() is None:
            if running.follower_count >= _MOST_FOLLOWERS:
                raise QueueFullError(
                    f"queue: {_MOST_FOLLOWERS} calls wait for one request already, the most",
                    _FOLLOW_AGAIN_S,
                )
            running.ticket.extend(deadline_s)
            return running
        computation = _Computation(Ticket(deadline_s, self._clock, claim), key, self._forget)
        computation.ticket.on_revoke = computation.revoke
        computation.task = asyncio.create_task(self._compute(computation, start))
        self._computed.add(computation)
        if key is not None:
            self._running[key] = computation
        return computation

    async def _compute(self, computation: _Computation, start: Start) -> None:
        answer = None
        try:
            async for delta in start(computation.ticket):
                answer = delta.answer
                computation.add(delta)
            if answer is None:
                raise EngineDeadError("engine: ended without an answer")
            refuse_half(answer.stop_reason)
        except Exception as error:
            computation.end(error)
        else:
            computation.end(answer)

    def _forget(self, computation: _Computation) -> None:
        """It has ended: keep what there is to keep, before anybody hears of it."""
        self._computed.discard(computation)
        key, outcome = computation.key, computation.outcome
        if key is None:
            return
        if self._running.get(key) is computation:
            del self._running[key]
        if isinstance(outcome, Answer):
            self._kept.keep(key, outcome)


class _Computation:
    """One computation, what it has given so far, and who follows it."""

    task: asyncio.Task[None]

    def __init__(
        self, ticket: Ticket, key: bytes | None, on_end: Callable[[_Computation], None]
    ) -> None:
        self.ticket = ticket
        self.key = key
        self._on_end = on_end
        #: How it ended; None while it goes on.
        self.outcome: Answer | Exception | None = None
        self._token_ids: list[int] = []
        self._logprobs: list[float] = []
        self._text = ""
        self._followers: set[asyncio.Event] = set()

    @property
    def follower_count(self) -> int:
        """How many wait for it."""
        return len(self._followers)

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

    def answer(self) -> Answer:
        """What it came to.

        Raises:
            Exception: what it failed with.
        """
        if not isinstance(self.outcome, Answer):
            raise self.outcome or DrainingError()
        return self.outcome

    def add(self, delta: Delta) -> None:
        """Go on by a piece."""
        if delta.token_ids or delta.text:
            self._token_ids += delta.token_ids
            self._logprobs += delta.logprobs
            self._text += delta.text
            self._tell()

    def end(self, outcome: Answer | Exception) -> None:
        """Say how it ended, once."""
        if self.outcome is None:
            self.outcome = outcome
            self._on_end(self)
            self._tell()

    def revoke(self) -> None:
        """Stop, for its place has gone to another client, and say so to who follows."""
        self.stop(self.ticket.revoked)

    def stop(self, why: Exception | None = None) -> None:
        """Stop as soon as can be. Who still follows is told why, or that the server shuts down."""
        self.end(why or DrainingError())
        self.ticket.cancel()
        self.task.cancel()

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
