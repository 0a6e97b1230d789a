"""The routes of the endpoint, each ending in an answer or in an error of OpenAI's shape."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import msgspec
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from escalade.edge.endpoint.answering import Request, chat_request, text_request
from escalade.edge.endpoint.openai import (
    DECIDED,
    PREFIX,
    Replies,
    StreamMode,
    read_chat,
    read_text,
    read_word,
)
from escalade.edge.endpoint.served_cascade import ServedCascade
from escalade.edge.endpoint.web.access import check_access
from escalade.edge.endpoint.web.body import GoneError, read_body
from escalade.edge.endpoint.web.requests import Asking
from escalade.edge.endpoint.web.responding import send_error, send_json
from escalade.edge.errors import EndpointError, RefusedError
from escalade.v1.origin import check_origin

_LOG = logging.getLogger(__name__)

_MODELS = "/v1/models"
_SEED_BITS = 32
_SHOWN = 200
# Is read in 10 ms.
_LARGE_BYTES = 1 << 16
_OWN = ("id", "stream", "cascade-changed")


@dataclass(frozen=True, kw_only=True)
class EndpointOptions:
    """How requests are answered.

    Raises:
        EndpointError: an origin is none.
    """

    #: How streaming and deferral go together where a request does not say.
    stream: StreamMode = "hold"
    #: That a client must send; None: only this machine asks.
    token: str | None = None
    #: Answers that may be under way; those that wait count.
    queue: int = 64
    #: Of pages in a browser that may ask, e.g. `https://chat.example`.
    origins: Sequence[str] = ()

    def __post_init__(self) -> None:
        for origin in self.origins:
            try:
                check_origin(origin)
            except ValueError as error:
                raise EndpointError(f"allow-origin {error}") from error


class Endpoint:
    """An ASGI application over an open cascade."""

    def __init__(
        self,
        served: ServedCascade,
        options: EndpointOptions,
        *,
        now_s: Callable[[], float] = time.time,
        draw_seed: Callable[[], int] = lambda: secrets.randbits(_SEED_BITS),
    ) -> None:
        """Serve.

        Args:
            served: who answers.
            options: how.
            now_s: seconds since 1970.
            draw_seed: gives the seed where tokens are drawn and the request has none.
        """
        self._served, self._options = served, options
        self._now_s, self._draw_seed = now_s, draw_seed
        self._began = int(now_s())
        self.asking = Asking(served, options.queue)
        self._routes: dict[str, tuple[str, Callable[[Scope, Receive, Send], Awaitable[None]]]] = {
            "/v1/chat/completions": ("POST", self._chat),
            "/v1/completions": ("POST", self._text),
            _MODELS: ("GET", self._models),
            f"{_MODELS}/{served.name}": ("GET", self._model),
            "/v1/escalade/consent": ("POST", self._consent),
            "/health": ("GET", self._health),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            if scope["path"] != "/health":
                check_access(scope, self._options.token)
            await self._route(scope)(scope, receive, sending)
        except GoneError:
            return
        except RefusedError as error:
            await send_error(send, error, headers=self._headers(None))
        except Exception:
            if begun:
                raise  # the connection is closed: half an answer is none
            _LOG.exception("a request could not be answered")
            await send_error(send, RefusedError(500, "internal_error", "a defect of escalade"))

    def _route(self, scope: Scope) -> Callable[[Scope, Receive, Send], Awaitable[None]]:
        method, path = scope["method"], scope["path"]
        if path not in self._routes and path.startswith(f"{_MODELS}/"):
            raise self._unknown_model(path.removeprefix(f"{_MODELS}/"))
        allowed, answer = self._routes.get(path, ("", None))
        if answer is None:
            message = f"Unknown request URL: {method} {path[:_SHOWN]}"
            raise RefusedError(404, "unknown_url", message)
        if method != allowed and (method, allowed) != ("HEAD", "GET"):
            message = f"Not allowed: {method} {path}; it takes {allowed}"
            raise RefusedError(405, "method_not_allowed", message)
        return answer

    async def _chat(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = await _read(await read_body(scope, receive), self._chat_request)
        await self._answer("chatcmpl", request, receive, send)

    async def _text(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = await _read(await read_body(scope, receive), self._text_request)
        await self._answer("cmpl", request, receive, send)

    async def _consent(self, scope: Scope, receive: Receive, send: Send) -> None:
        word = read_word(await read_body(scope, receive))
        if not self._served.readers.answer(word.key, agreed=word.agreed):
            message = "no such question is open: it was answered, or nobody waits any more"
            raise RefusedError(404, "not_asked", message, param="key")
        await send_json(send, msgspec.json.encode(word))

    def _chat_request(self, raw: bytes) -> Request:
        body = read_chat(raw)
        self._check_model(body.model)
        tiers = self._served.cascade.tiers
        return chat_request(body, tiers, self._options.stream, self._draw_seed)

    def _text_request(self, raw: bytes) -> Request:
        body = read_text(raw)
        self._check_model(body.model)
        tiers = self._served.cascade.tiers
        return text_request(body, tiers, self._options.stream, self._draw_seed)

    async def _answer(self, kind: str, request: Request, receive: Receive, send: Send) -> None:
        replies = Replies(
            chat=request.chat,
            id=f"{kind}-{uuid.uuid4().hex}",
            created=int(self._now_s()),
            model=request.model,
            fingerprint=self._served.fingerprint,
            first=request.first,
            include_usage=request.include_usage,
        )
        headers = self._headers(replies.id)
        if request.stream:
            headers.append(((PREFIX + "stream").encode(), request.mode.encode()))
        await self.asking.answer(request, replies, receive, send, headers)

    async def _models(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = {"object": "list", "data": [self._described()]}
        await send_json(send, msgspec.json.encode(body), headers=self._headers(None))

    async def _model(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = msgspec.json.encode(self._described())
        await send_json(send, body, headers=self._headers(None))

    async def _health(self, scope: Scope, receive: Receive, send: Send) -> None:
        places = self.asking.places
        body = {
            "status": "ok",
            "model": self._served.name,
            "under_way": places.taken,
            "asking": places.asking,
            "queue": places.most,
            "cascade_changed": self._served.watch.changed,
        }
        await send_json(send, msgspec.json.encode(body))

    def _described(self) -> dict[str, object]:
        return {
            "id": self._served.name,
            "object": "model",
            "created": self._began,
            "owned_by": "escalade",
        }

    def _check_model(self, name: str) -> None:
        if name != self._served.name:
            raise self._unknown_model(name)

    def _unknown_model(self, name: str) -> RefusedError:
        message = f"The model {name[:_SHOWN]!r} does not exist; here is {self._served.name!r}"
        return RefusedError(404, "model_not_found", message, param="model")

    def _headers(self, request_id: str | None) -> list[tuple[bytes, bytes]]:
        headers = []
        if request_id is not None:
            headers.append(((PREFIX + "id").encode(), request_id.encode()))
        if self._served.watch.changed:
            headers.append(((PREFIX + "cascade-changed").encode(), b"true"))
        return headers


async def _read(raw: bytes, read: Callable[[bytes], Request]) -> Request:
    """Read a body; a large one beside the loop, which others wait for."""
    if len(raw) < _LARGE_BYTES:
        return read(raw)
    return await asyncio.to_thread(read, raw)


def with_origins(app: ASGIApp, origins: Sequence[str]) -> ASGIApp:
    """The same, for pages of these origins in a browser too."""
    if not origins:
        return app
    return CORSMiddleware(
        app,
        allow_origins=list(origins),
        allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type"],
        expose_headers=[PREFIX + name for name in (*DECIDED, *_OWN)],
    )
