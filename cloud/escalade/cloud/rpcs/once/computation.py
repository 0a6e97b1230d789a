"""One computation, what it has given so far, and who follows it; knows no backend, no gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from os.path import commonprefix

from escalade.cloud.backends import Answer, Delta, Ticket, TopRow
from escalade.cloud.errors import DrainingError
from escalade.cloud.rpcs.once.kept import Kept
from escalade.cloud.rpcs.once.resuming import Received


class Computation:
    """One computation, what it has given so far, and who follows it."""

    task: asyncio.Task[None]

    def __init__(
        self, ticket: Ticket, key: bytes | None, on_end: Callable[[Computation], None]
    ) -> None:
        self.ticket = ticket
        self.key = key
        self._on_end = on_end
        #: How it ended; None while it goes on.
        self.outcome: Answer | Exception | None = None
        self._token_ids: list[int] = []
        self._logprobs: list[float] = []
        self._top: list[TopRow] = []
        self._text = ""
        #: How many wait for it.
        self.follower_count = 0
        self._waiting: set[asyncio.Future[None]] = set()
        #: Whether it may go on for nobody.
        self.keeping = True
        self._keep_s = 0.0
        self._end_later: asyncio.TimerHandle | None = None

    def join(self, keep_s: float = 0.0) -> None:
        """Count one who follows until he leaves; it goes on for `keep_s` after the last."""
        self.follower_count += 1
        self._keep_s = max(self._keep_s, keep_s)
        self._stay()

    def leave(self) -> None:
        """Count one less."""
        self.follower_count -= 1
        if self.follower_count or self.outcome is not None:
            return
        if self.keeping and self._keep_s:
            self._end_later = asyncio.get_running_loop().call_later(self._keep_s, self.stop)
        else:
            self.stop()

    async def news(self) -> None:
        """Wait until it goes on, or ends."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            await waiting
        finally:
            self._waiting.discard(waiting)

    def keep_none(self) -> None:
        """Go on for those alone who follow."""
        self.keeping = False
        if not self.follower_count:
            self.stop()

    def _stay(self) -> None:
        if self._end_later is not None:
            self._end_later.cancel()
            self._end_later = None

    def since(self, tokens: int, characters: int, received: Received) -> Delta | None:
        """What it has given after so many tokens and characters; None where nothing yet.

        Raises:
            StreamChangedError: it does not begin with what was received.
        """
        if len(self._token_ids) <= tokens and len(self._text) <= characters:
            return None
        if (tokens, characters) == received[:2] and not received.begins(
            self._token_ids, self._text
        ):
            return None
        return Delta(
            self._token_ids[tokens:],
            self._logprobs[tokens:],
            self._text[characters:],
            top=self._top[tokens:] or (),
        )

    def answer(self) -> Answer:
        """What it came to.

        Raises:
            Exception: what it failed with.
        """
        if not isinstance(self.outcome, Answer):
            raise self.outcome or DrainingError()
        return self.outcome

    def whole(self) -> Kept:
        """What it came to, and what its stream says: to each follower the same.

        Raises:
            Exception: what it failed with.
        """
        answer = self.answer()
        if answer.text.startswith(self._text):
            return Kept(answer, answer.text)
        # Bytes are no UTF-8: it goes on with what replaced them.
        given = len(commonprefix((self._text, answer.text)))  # noqa: RUF071 - characters are meant
        return Kept(answer, self._text + answer.text[given:])

    def add(self, delta: Delta) -> None:
        """Go on by a piece."""
        if delta.token_ids or delta.text:
            self._token_ids += delta.token_ids
            self._logprobs += delta.logprobs
            self._top += delta.top
            self._text += delta.text
            self._tell()

    def end(self, outcome: Answer | Exception) -> None:
        """Say how it ended, once."""
        if self.outcome is None:
            self.outcome = outcome
            self._stay()
            self._on_end(self)
            self._tell()

    def stop(self) -> None:
        """Stop as soon as can be. Who still follows is told that the server shuts down."""
        self.end(DrainingError())
        self.ticket.cancel()
        self.task.cancel()

    def _tell(self) -> None:
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)
