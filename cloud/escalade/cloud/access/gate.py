"""The gate before every RPC: whose it is, and whether it may go on; knows no RPC, no backend.

Metadata comes before the request. The gate looks at it alone, so that what it refuses is neither
received nor parsed; to gRPC each method behind it is one that reads its request itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias, cast

import grpc
import grpc.aio
from grpc_health.v1 import health

from escalade.cloud.access.bearer import bearer_of
from escalade.cloud.access.ledger import Ledger
from escalade.cloud.access.limits import UNLIMITED, Limits, Quotas
from escalade.cloud.access.tokens import Tokens, read_tokens
from escalade.cloud.backends import Clock
from escalade.cloud.errors import DeadlineError, OptionOutOfRangeError, StartError
from escalade.cloud.rereading import Reread
from escalade.cloud.rpcs import OWNER, end_with, host_of, peer_of
from escalade.v1.quoting import one_line

# Load balancers ask it, and have no token.
_OPEN = f"/{health.SERVICE_NAME}/"
# What a process that is killed may forget.
_WRITE_EVERY_S = 2.0
# Of a certificate's subject, as an owner and in messages.
_MOST_SUBJECT = 200

# One gate for methods of any messages; what they are, each handler knows.
Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Find: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]"
Today = Callable[[], datetime]
OnRefused: TypeAlias = "Callable[[str, Context, BaseException], None]"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessOptions:
    """What an operator may say of who asks.

    Attributes:
        tokens: a file of tokens, of which every request must carry one; None asks for none.
        limits: of each client that has none of its own.
        quota_file: where it is kept what clients have used up of their day; None forgets it with
            the process.
    """

    tokens: Path | None = None
    limits: Limits = UNLIMITED
    quota_file: Path | None = None


class Gate(grpc.aio.ServerInterceptor):
    """Says whose an RPC is, and ends it where it may not go on.

    A client is the name of its token; without tokens the subject of its certificate; without
    certificates its address.

    Args:
        tokens: None asks for none.
        quotas: by client.
        ledger: what is written of them; None writes nothing.
        request_s: seconds in which a client must send its request.
        today: by it tokens expire.
    """

    def __init__(
        self,
        tokens: Reread[Tokens] | None,
        quotas: Quotas,
        ledger: Ledger | None,
        *,
        request_s: float,
        today: Today,
    ) -> None:
        self.quotas = quotas
        self._ledger = ledger
        #: Told of each RPC that does not pass: its method, its context and the error.
        self.on_refused: OnRefused = lambda method, context, error: None
        self._tokens = tokens
        self._request_s = request_s
        self._today = today
        #: By method; only those that there are.
        self._gated: dict[str, Handler] = {}

    async def keep_ledger(self, every_s: float = _WRITE_EVERY_S) -> None:
        """Write now and then what clients have used up, until cancelled."""
        while self._ledger is not None:
            await asyncio.sleep(every_s)
            await asyncio.to_thread(self._ledger.write, self.quotas.owing())

    def close(self) -> None:
        """Write it a last time."""
        if self._ledger is not None:
            self._ledger.write(self.quotas.owing())

    async def intercept_service(
        self, continuation: Find, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        """See `grpc.aio.ServerInterceptor`."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        if handler is None or method.startswith(_OPEN):
            return handler
        if method not in self._gated:
            self._gated[method] = self._behind(method, handler)
        return self._gated[method]

    def _behind(self, method: str, handler: Handler) -> Handler:
        """The same method behind the gate."""
        behaviour: Any = handler.unary_unary or handler.unary_stream or handler.stream_stream

        async def enter(context: Context) -> None:
            try:
                try:
                    OWNER.set(self._admit(context))
                except Exception as error:
                    await end_with(context, error)
            except BaseException as ended:
                self.on_refused(method, context, ended)
                raise

        async def answer(_: AsyncIterator[object], context: Context) -> object:
            await enter(context)
            try:
                request = await self._request(context)
            except Exception as error:
                await end_with(context, error)
            return await behaviour(request, context)

        async def converse(
            requests: AsyncIterator[object], context: Context
        ) -> AsyncIterator[object]:
            await enter(context)
            async for message in behaviour(requests, context):
                yield message

        # Ours write their streams; reflection's, which reads one too, is a generator.
        make, gated = grpc.stream_stream_rpc_method_handler, cast("Any", answer)
        if handler.unary_unary is not None:
            make = cast("Any", grpc.stream_unary_rpc_method_handler)
        elif handler.stream_stream is not None:
            gated = converse
        return make(gated, handler.request_deserializer, handler.response_serializer)

    def _admit(self, context: Context) -> str:
        """Whose RPC it is.

        Raises:
            UnauthenticatedError: nobody's who is known.
            QuotaExceededError: its owner must wait.
        """
        if self._tokens is not None:
            token = bearer_of(context.invocation_metadata() or ())
            owner, limits = self._tokens.current().whose(token, self._today())
        else:
            owner, limits = _subject(context) or host_of(peer_of(context)), UNLIMITED
        self.quotas.admit(owner, limits)
        return owner

    async def _request(self, context: Context) -> object:
        try:
            async with asyncio.timeout(self._request_s):
                request = await context.read()
        except TimeoutError as error:
            raise DeadlineError(f"request: not sent within {self._request_s:g} s") from error
        if request is grpc.aio.EOF:
            raise OptionOutOfRangeError("request", "must be one message, got none")
        return request


def _subject(context: Context) -> str:
    """The subject of a client's certificate; empty where it has shown none."""
    named = next(iter(context.auth_context().get("x509_subject", ())), b"")
    return one_line(named.decode(errors="replace"), _MOST_SUBJECT)


def make_gate(
    options: AccessOptions,
    *,
    certificates: bool,
    request_s: float,
    clock: Clock,
    today: Today = lambda: datetime.now(UTC),
) -> Gate | None:
    """The gate that an operator has asked for; None where everybody may ask what he likes.

    Args:
        options: see `AccessOptions`.
        certificates: whether clients show certificates.
        request_s: see `Gate`.
        clock: seconds, monotonic.
        today: see `Gate`.

    Raises:
        TokensError: the file of tokens cannot be read.
        StartError: a limit is below 1, or the quotas' file is of no use.
    """
    path, kept = options.tokens, options.quota_file
    if path is None and options.limits.tokens_per_day is None and kept is not None:
        raise StartError(f"quota file {kept}: nobody has a limit of tokens a day, or a token")
    if path is None and not certificates and options.limits == UNLIMITED:
        return None
    tokens = None
    if path is not None:
        tokens = Reread([path], lambda: Tokens(read_tokens(path)), clock)
    ledger = None if kept is None else Ledger(kept)
    quotas = Quotas(options.limits, clock, {} if ledger is None else ledger.begun)
    return Gate(tokens, quotas, ledger, request_s=request_s, today=today)
