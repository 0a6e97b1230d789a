"""Sends what a request is answered with: one document, or a stream of events; asks no model."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.types import Send

from escalade.edge.endpoint.answering import Event, Piece, Shown
from escalade.edge.endpoint.openai import Finished, Replies, error_body, headers_of
from escalade.edge.errors import RefusedError

Headers = Sequence[tuple[bytes, bytes]]

#: The last event of a stream that ended well. One that did not ends with an error.
DONE = b"[DONE]"
_JSON = (b"content-type", b"application/json")
_EVENTS: Headers = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would collect the stream
)
# After these the rest of a request is not read: its connection is of no use.
_CLOSES = frozenset({408, 413})


async def send_json(send: Send, body: bytes, *, status: int = 200, headers: Headers = ()) -> None:
    """One document."""
    size = (b"content-length", str(len(body)).encode())
    await send(
        {"type": "http.response.start", "status": status, "headers": [_JSON, size, *headers]}
    )
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, error: RefusedError, *, headers: Headers = ()) -> None:
    """A refusal, as OpenAI's clients read it."""
    more = list(headers)
    if error.retry_after_s is not None:
        more.append((b"retry-after", str(error.retry_after_s).encode()))
    if error.status in _CLOSES:
        more.append((b"connection", b"close"))
    await send_json(send, error_body(error), status=error.status, headers=more)


class EventStream:
    """Server-sent events; the status is sent with the first of them."""

    def __init__(self, send: Send) -> None:
        self.send = send
        self.begun = False

    async def begin(self, headers: Headers) -> None:
        """Send status and headers."""
        self.begun = True
        await self.send(
            {"type": "http.response.start", "status": 200, "headers": [*_EVENTS, *headers]}
        )

    async def event(self, *data: bytes) -> None:
        """Send events, each of one line."""
        await self._write(b"".join(b"data: " + one + b"\n\n" for one in data))

    async def still_here(self) -> None:
        """A comment, which no reader sees: it keeps proxies waiting, and shows who has left."""
        await self._write(b": still here\n\n")

    async def end(self, last: bytes) -> None:
        """Send the one event that ends the stream."""
        body = b"data: " + last + b"\n\n"
        await self.send({"type": "http.response.body", "body": body, "more_body": False})

    async def _write(self, body: bytes) -> None:
        await self.send({"type": "http.response.body", "body": body, "more_body": True})


class AnswerStream:
    """Chunks of one answer; its status is sent with the first, when an error is still one."""

    def __init__(self, replies: Replies, events: EventStream, headers: Headers) -> None:
        self._replies, self._events, self._headers = replies, events, headers
        self._begun: set[int] = set()
        self._ended: dict[int, Finished] = {}

    async def show(self, index: int, what: Shown) -> None:
        """Send what one choice has to show."""
        chunks = []
        if not self._events.begun:
            await self._begin(what)
        if index not in self._begun and self._replies.chat:
            chunks.append(self._replies.begin(index))
        self._begun.add(index)
        if isinstance(what, Piece):
            chunks.append(self._replies.piece(index, what.text, what.tokens))
        elif isinstance(what, Event):
            chunks.append(self._replies.event(index, what.what))
        else:
            self._ended[index] = what
            chunks.append(self._replies.end(index, what))
        await self._events.event(*chunks)

    async def still_here(self) -> None:
        """See `EventStream`; not before the status."""
        if self._events.begun:
            await self._events.still_here()

    async def fail(self, error: RefusedError) -> None:
        """End with an error: a status, where nothing was sent."""
        if self._events.begun:
            await self._events.end(error_body(error))
        else:
            await send_error(self._events.send, error, headers=self._headers)

    async def done(self) -> None:
        """End well."""
        if self._replies.include_usage:
            ended = [one for _, one in sorted(self._ended.items())]
            await self._events.event(self._replies.usage(ended))
        await self._events.end(DONE)

    async def _begin(self, what: Shown) -> None:
        # In `hold` the decision is known by now; of several choices only one's is.
        known = None if isinstance(what, Event) else what.decision
        more = [] if known is None or len(self._replies.first) > 1 else headers_of([known])
        await self._events.begin([*self._headers, *more])
