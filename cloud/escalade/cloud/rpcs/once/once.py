"""Computes each request once, however often it is sent; knows no backend, no gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from escalade.cloud.backends import (
    NOBODY,
    Answer,
    Claim,
    Clock,
    Delta,
    Ticket,
    refuse_half,
)
from escalade.cloud.errors import DeadlineError, EngineDeadError, QueueFullError
from escalade.cloud.rpcs.once.computation import Computation
from escalade.cloud.rpcs.once.kept import Kept, KeptAnswers
from escalade.cloud.rpcs.once.resuming import NOTHING, Received

#: Begins a computation, or refuses to; see `Backend.generate`.
Start = Callable[[Ticket], AsyncIterator[Delta]]

# Who follows one computation holds a request in memory and no place in the queue.
_MOST_FOLLOWERS = 64
_FOLLOW_AGAIN_S = 0.1


class SharedAnswers:
    """Shares running computations and keeps the last answers, by key.

    A computation is followed by everyone who asked for it, each from its beginning, or from where
    he was cut, and as fast as he likes: what one has not taken yet comes in one piece. Failures are
    not kept: a retry after one computes again.

    Args:
        kept: how many answers to keep.
        clock: seconds, monotonic.
    """

    def __init__(self, kept: int, clock: Clock) -> None:
        self._clock = clock
        self._computed: set[Computation] = set()
        self._running: dict[bytes, Computation] = {}
        self._kept = KeptAnswers(kept)
        self._keeping = True

    async def once(
        self, key: bytes | None, deadline_s: float, start: Start, claim: Claim = NOBODY
    ) -> Answer:
        """The whole answer; see `follow`."""
        while True:
            kept = self._kept.recall(key)
            if kept is not None:
                return kept.answer
            computation = self._join(key, deadline_s, start, claim)
            computation.join()
            try:
                while computation.outcome is None:
                    await computation.news()
            finally:
                computation.leave()
            if not self._may_try_again(computation, deadline_s):
                return computation.answer()

    async def follow(
        self,
        key: bytes | None,
        deadline_s: float,
        start: Start,
        claim: Claim = NOBODY,
        *,
        received: Received = NOTHING,
        keep_s: float = 0.0,
    ) -> AsyncGenerator[Delta, None]:
        """The answer to `key`, piece by piece: kept, shared, or computed now.

        The computation lives while somebody follows it, up to the latest of their deadlines; it
        is stopped when the last of them goes away, or so long after as one of them wished.

        Args:
            key: what makes two requests the same; None shares nothing.
            deadline_s: the caller's own, on the clock.
            start: begins the computation under a ticket; what it raises, every follower gets.
            claim: the caller's; whoever asks first asks for the place in the queue.
            received: what the caller has of it already; the pieces begin after it.
            keep_s: seconds, see above.

        Raises:
            QueueFullError: too many follow this computation already.
            StreamChangedError: the answer does not begin with what was received.
        """
        tokens, characters, _ = received
        while True:
            kept = self._kept.recall(key)
            if kept is not None:
                received.check_begins(kept.answer.token_ids, kept.text)
                yield _rest(kept, tokens, characters)
                return
            computation = self._join(key, deadline_s, start, claim)
            computation.join(keep_s)
            try:
                while computation.outcome is None:
                    delta = computation.since(tokens, characters, received)
                    if delta is None:
                        await computation.news()
                        continue
                    tokens += len(delta.token_ids)
                    characters += len(delta.text)
                    yield delta
            finally:
                computation.leave()
            # What has been given stays given, and another computation may go another way.
            given = (tokens, characters) != received[:2]
            if given or not self._may_try_again(computation, deadline_s):
                kept = computation.whole()
                received.check_begins(kept.answer.token_ids, kept.text)
                yield _rest(kept, tokens, characters)
                return

    def keep_none(self) -> None:
        """From now on compute for those alone who are there."""
        self._keeping = False
        for computation in [*self._computed]:
            computation.keep_none()

    def abandon(self) -> None:
        """Stop every computation; who follows one is told that the server shuts down."""
        for computation in [*self._computed]:
            computation.stop()

    def _may_try_again(self, computation: Computation, deadline_s: float) -> bool:
        """Whether it was another one's deadline, passed just before this one could extend it."""
        return isinstance(computation.outcome, DeadlineError) and self._clock() < deadline_s

    def _join(
        self, key: bytes | None, deadline_s: float, start: Start, claim: Claim
    ) -> Computation:
        running = self._running.get(key) if key is not None else None
        if running is not None and running.ticket.should_stop() is None:
            if running.follower_count >= _MOST_FOLLOWERS:
                raise QueueFullError(
                    f"queue: {_MOST_FOLLOWERS} calls wait for one request already, the most",
                    _FOLLOW_AGAIN_S,
                )
            running.ticket.extend(deadline_s)
            return running
        ticket = Ticket(deadline_s, self._clock, claim)
        deltas = start(ticket)  # what is refused at once needs no task
        computation = Computation(ticket, key, self._forget)
        computation.keeping = self._keeping
        computation.task = asyncio.create_task(self._compute(computation, deltas))
        self._computed.add(computation)
        if key is not None:
            self._running[key] = computation
        return computation

    async def _compute(self, computation: Computation, deltas: AsyncIterator[Delta]) -> None:
        answer = None
        try:
            async for delta in deltas:
                answer = delta.answer
                computation.add(delta)
            if answer is None:
                raise EngineDeadError("engine: ended without an answer")
            refuse_half(answer.stop_reason)
        except Exception as error:
            computation.end(error)
        else:
            computation.end(answer)

    def _forget(self, computation: Computation) -> None:
        """It has ended: keep what there is to keep, before anybody hears of it."""
        self._computed.discard(computation)
        key, outcome = computation.key, computation.outcome
        if key is None:
            return
        if self._running.get(key) is computation:
            del self._running[key]
        if isinstance(outcome, Answer):
            self._kept.keep(key, computation.whole())


def _rest(kept: Kept, tokens: int, characters: int) -> Delta:
    """What of an answer has not been given yet, and the answer."""
    answer = kept.answer
    count = len(answer.token_ids)
    return Delta(
        answer.token_ids[tokens:],
        answer.logprobs[tokens:count],
        kept.text[characters:],
        answer,
        answer.top[tokens:count],
    )
