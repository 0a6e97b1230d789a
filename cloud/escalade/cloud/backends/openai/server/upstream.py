"""The HTTP side of the server behind this one: bounded, in time, closed early; knows no token.

What goes wrong there is one of our own refusals here; nothing that it says is quoted on the wire,
for it may repeat a prompt or a part of the key.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import httpx2
import msgspec

from escalade.cloud.backends.lasting import within
from escalade.cloud.backends.openai.server.endpoint import Endpoint
from escalade.cloud.backends.ticket import Ticket
from escalade.cloud.errors import (
    EngineDeadError,
    OptionOutOfRangeError,
    PromptTooLongError,
    QueueFullError,
    RequestError,
)

COMPLETIONS, CHAT, MODELS = "/completions", "/chat/completions", "/models"

#: Bytes of an answer, or of one event, beyond what its tokens need: ids, names, usage.
ENVELOPE_BYTES = 64 << 10
#: Bytes of a token in an answer: its text, escaped; it and the second best with log-probabilities.
TOKEN_BYTES = 4 << 10
#: Bytes of one log-probability of a prompt's token: its id, its rank, its text, escaped.
ENTRY_BYTES = 1 << 10

# What openai's own client waits for by default: an answer that is not streamed comes at its end.
_SILENT_S = 600.0
_CONNECT_S = 10.0
# Less than the 5 s of uvicorn, lest a request meet a connection that is just being closed.
_KEEPALIVE_S = 2.0
# One odd answer must not take a server out of rotation; this many in a row are the upstream.
_FAILURES_UNTIL_DEAD = 3
# Without a `Retry-After`, and the longest that is believed.
_RETRY_S, _MOST_RETRY_S = 1.0, 3600.0
# How servers say that a prompt does not fit: OpenAI's code, llama.cpp's type, vLLM's words.
_TOO_LONG = (b"context_length_exceeded", b"exceed_context_size", b"maximum context length",
             b"longer than the maximum model length")  # fmt: skip
_BAD_REQUEST, _TOO_LARGE, _UNPROCESSABLE = 400, 413, 422
_BUSY = frozenset({429, 503})
#: What a wrong key is answered with, or none.
NO_ACCESS = frozenset({401, 403})

T = TypeVar("T")


class Upstream:
    """A client of one server.

    Args:
        endpoint: where it is.
        at_once: requests that are under way at one time, at least 1.
    """

    def __init__(self, endpoint: Endpoint, *, at_once: int) -> None:
        self.endpoint = endpoint
        headers = {"accept-encoding": "identity"}  # a small body cannot become a large one
        if endpoint.key is not None:
            headers["authorization"] = f"Bearer {endpoint.key}"
        self._client = httpx2.AsyncClient(
            headers=headers,
            # The system's authorities, or those that SSL_CERT_FILE names.
            verify=ssl.create_default_context(),
            trust_env=not endpoint.on_this_machine,
            timeout=httpx2.Timeout(_SILENT_S, connect=_CONNECT_S, pool=None),
            limits=httpx2.Limits(
                max_connections=at_once + 1,  # and the probe
                max_keepalive_connections=at_once,
                keepalive_expiry=_KEEPALIVE_S,
            ),
        )
        self._failures = 0
        #: Set when requests have failed several times in a row.
        self.failed = asyncio.Event()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Learn from a request whether the server works; who is busy is alive."""
        try:
            yield
        except EngineDeadError:
            self._failures += 1
            if self._failures >= _FAILURES_UNTIL_DEAD:
                self.failed.set()
            raise
        else:
            self._failures = 0
            self.failed.clear()

    async def get(self, url: str, ticket: Ticket) -> bytes:
        """Get something small."""
        request = self._client.build_request("GET", url)
        async with self._sent(request, ticket) as response:
            return await _body(response, ticket, ENVELOPE_BYTES << 4)

    async def ask(
        self, path: str, body: Mapping[str, object], ticket: Ticket, *, most_bytes: int
    ) -> bytes:
        """Ask for an answer as a whole.

        Args:
            path: of the API, or a URL.
            body: sent as JSON.
            ticket: until when.
            most_bytes: that are taken.

        Raises:
            RequestError: there is none; see `_refusal`.
        """
        async with self._sent(self._post(path, body), ticket) as response:
            return await _body(response, ticket, most_bytes)

    async def events(
        self, path: str, body: Mapping[str, object], ticket: Ticket, *, most_bytes: int
    ) -> AsyncGenerator[str, None]:
        """Ask for an answer as a stream: the data of its events up to `[DONE]`, or its end.

        Close the generator to end the request.

        Raises:
            RequestError: there is none, or it broke off; see `_refusal`.
        """
        async with self._sent(self._post(path, body), ticket) as response:
            events = aiter(httpx2.EventSource(response, max_event_size=ENVELOPE_BYTES))
            left = most_bytes
            while left > 0:
                async with within(ticket):
                    event = await anext(events, None)
                if event is None or event.data == "[DONE]":
                    return
                left -= len(event.data)
                yield event.data
            raise EngineDeadError(f"upstream: its answer has more than {most_bytes} bytes")

    def _post(self, path: str, body: Mapping[str, object]) -> httpx2.Request:
        return self._client.build_request(
            "POST",
            self.endpoint.url + path if path.startswith("/") else path,
            content=msgspec.json.encode(body),
            headers={"content-type": "application/json"},
        )

    @asynccontextmanager
    async def _sent(
        self, request: httpx2.Request, ticket: Ticket
    ) -> AsyncIterator[httpx2.Response]:
        """A response whose body is to be read; its connection is closed where it was not."""
        try:
            async with within(ticket):
                response = await _once_more(self._client, request)
            try:
                try:
                    response.raise_for_status()
                except httpx2.HTTPStatusError as error:
                    said = await _body(response, ticket, ENVELOPE_BYTES)
                    raise _refusal(response, said) from error
                if response.headers.get("content-encoding", "identity") != "identity":
                    raise EngineDeadError("upstream: its answer is compressed, unasked")
                yield response
            finally:
                await response.aclose()
        except httpx2.ConnectError as error:
            why = _mistrust(error) or "nobody takes the connection"
            raise EngineDeadError(f"upstream: {why}") from error
        except (httpx2.HTTPError, httpx2.StreamError) as error:
            raise EngineDeadError(f"upstream: {type(error).__name__}") from error


def http_status_of(error: RequestError) -> int | None:
    """The status that a refusal comes from; None where it comes from none."""
    cause = error.__cause__
    return cause.response.status_code if isinstance(cause, httpx2.HTTPStatusError) else None


async def together(work: Iterable[Awaitable[T]]) -> list[T]:
    """All of it; where one fails the others are cancelled, and have ended."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        raise


async def _once_more(client: httpx2.AsyncClient, request: httpx2.Request) -> httpx2.Response:
    """Send it, again where nobody took the connection: it was not asked yet then."""
    try:
        return await client.send(request, stream=True)
    except httpx2.ConnectError as error:
        if _mistrust(error):
            raise
        return await client.send(request, stream=True)


def _mistrust(error: BaseException | None) -> str | None:
    """What a TLS handshake failed of, which another would too; None where it was something else."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted here: {error.verify_message.rstrip('.')}"
    return None if error is None else f"no TLS with it: {error.reason}"


async def _body(response: httpx2.Response, ticket: Ticket, most_bytes: int) -> bytes:
    """What a response holds, whole.

    Raises:
        EngineDeadError: it is larger.
    """
    parts, left = list[bytes](), most_bytes
    chunks = response.aiter_raw()
    while True:
        async with within(ticket):
            chunk = await anext(chunks, None)
        if chunk is None:
            return b"".join(parts)
        left -= len(chunk)
        if left < 0:
            raise EngineDeadError(f"upstream: its answer has more than {most_bytes} bytes")
        parts.append(chunk)


def _refusal(response: httpx2.Response, said: bytes) -> RequestError:
    """What a status other than success means here."""
    status = response.status_code
    if status in _BUSY:
        return QueueFullError(
            f"upstream: answered {status}, it takes no more just now",
            _seconds(response.headers.get("retry-after", "")),
        )
    if status == _TOO_LARGE or (
        status in {_BAD_REQUEST, _UNPROCESSABLE} and any(words in said for words in _TOO_LONG)
    ):
        return PromptTooLongError("prompt", "must leave room for an answer; upstream has none")
    if status in {_BAD_REQUEST, _UNPROCESSABLE}:
        return OptionOutOfRangeError("prompt", f"must be one that upstream takes: {status}")
    return EngineDeadError(f"upstream: answered {status}")


def _seconds(retry_after: str) -> float:
    """Of `Retry-After`; a date in it is not read (RFC 9110, 10.2.3 allows one)."""
    if not retry_after.isascii() or not retry_after.isdecimal():
        return _RETRY_S
    return min(float(retry_after[:9]), _MOST_RETRY_S)
