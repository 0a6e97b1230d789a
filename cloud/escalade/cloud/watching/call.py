"""One RPC as its client sees it, told to whoever watches; knows no metric, no log, no trace.

All that is told is read off the request, the messages sent and the status, where the methods are
registered: neither the service nor a backend knows that it is watched.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar, cast, get_args

import grpc
import grpc.aio

from escalade.cloud.backends import Clock
from escalade.cloud.rpcs import Peer, reason_of_status
from escalade.v1 import cascade_pb2 as pb

_LOG = logging.getLogger(__name__)

# A client's deadline and the server's end apart by as much as the way of two messages differs: who
# hangs up so short before the end has missed it.
_SAME_MOMENT_S = 0.05

Req = TypeVar("Req")
Resp = TypeVar("Resp")
Context = grpc.aio.ServicerContext[Req, Resp]
Behaviour = Callable[[Req, Context[Req, Resp]], Awaitable[Resp]]
#: The last message of an RPC that says what it came to.
Outcome = pb.GenerateResponse | pb.VerifyResponse | pb.ScoreSummary
Asked = pb.GenerateRequest | pb.VerifyRequest | pb.ScoreRequest


# `isinstance` takes a tuple three times as fast as a union.
_OUTCOMES = get_args(Outcome)
_ASKED = get_args(Asked)
_STREAMED = (pb.GenerateStreamResponse, pb.ScoreResponse)


class Piece(NamedTuple):
    """A message of a stream of tokens."""

    #: On the clock, when it was there to be sent.
    at_s: float
    tokens: int


class Call:
    """One RPC, from its request to its status; times on the server's clock."""

    __slots__ = (
        "asked", "began_s", "code", "context", "ended_s", "outcome", "pieces", "reason", "rpc",
        "trace_id",
    )  # fmt: skip

    def __init__(self, rpc: str, request: object, context: Peer, began_s: float) -> None:
        self.rpc = rpc
        if isinstance(request, pb.GenerateStreamRequest):
            request = request.request
        #: What was asked; None where it was not parsed, or asks nothing.
        self.asked: Asked | None = request if isinstance(request, _ASKED) else None
        #: Asked of the client; while the call lasts.
        self.context = context
        self.began_s = self.ended_s = began_s
        self.pieces: list[Piece] = []
        #: None where it was refused, or gives none.
        self.outcome: Outcome | None = None
        self.code = grpc.StatusCode.OK
        #: As `ErrorReason` names it; empty where there is none.
        self.reason = ""
        #: Of its span, in hexadecimal; empty where there is none.
        self.trace_id = ""

    @property
    def seconds(self) -> float:
        """From the request to its end."""
        return self.ended_s - self.began_s

    def sent(self, message: object, now_s: float) -> None:
        """Take note of a message of a stream."""
        if isinstance(message, pb.GenerateStreamResponse) and message.HasField("chunk"):
            self.pieces.append(Piece(now_s, len(message.chunk.token_ids)))
        elif isinstance(message, _STREAMED) and message.HasField("final"):
            self.outcome = message.final


class Observer(Protocol):
    """Told of every call, in the event loop and in the call's own task; must not block."""

    def began(self, call: Call) -> None:
        """It has come, and nothing has been done for it."""
        ...

    def ended(self, call: Call) -> None:
        """It is over, whatever way."""
        ...


def observed(
    rpc: str,
    behaviour: Behaviour[Req, Resp],
    observers: Sequence[Observer],
    clock: Clock,
    *,
    streams: bool,
) -> Behaviour[Req, Resp]:
    """A method that tells of its calls; the method itself where nobody watches.

    Args:
        rpc: its name in the service.
        behaviour: the method.
        observers: what they fail with is logged, and no matter to the call.
        clock: seconds, monotonic.
        streams: whether it writes its messages.
    """
    if not observers:
        return behaviour
    begin = [observer.began for observer in observers]
    end = [observer.ended for observer in observers]

    async def answer(request: Req, context: Context[Req, Resp]) -> Resp:
        # Its metadata are pairs, whatever the type stubs say.
        call = Call(rpc, request, cast(Peer, context), clock())
        _tell(begin, call)
        if streams:
            context = cast("Context[Req, Resp]", _Written(context, call, clock))
        try:
            response = await behaviour(request, context)
            if isinstance(response, _OUTCOMES):
                call.outcome = response
            return response
        except BaseException as error:
            call.code, call.reason = _status(context, error)
            raise
        finally:
            call.ended_s = clock()
            _tell(end, call)

    return answer


def tell_refused(
    rpc: str,
    context: Context[Req, Resp],
    error: BaseException,
    observers: Sequence[Observer],
    clock: Clock,
) -> None:
    """Tell of a call that was refused before its request was read."""
    call = Call(rpc, None, cast(Peer, context), clock())
    _tell([observer.began for observer in observers], call)
    call.code, call.reason = _status(context, error)
    _tell([observer.ended for observer in observers], call)


class _Written(Generic[Req, Resp]):
    """A call's context whose messages are taken note of."""

    __slots__ = ("_call", "_clock", "_context")

    def __init__(
        self, context: grpc.aio.ServicerContext[Req, Resp], call: Call, clock: Clock
    ) -> None:
        self._context, self._call, self._clock = context, call, clock

    def __getattr__(self, name: str) -> object:
        return getattr(self._context, name)

    def write(self, message: Resp) -> Awaitable[None]:
        self._call.sent(message, self._clock())
        return self._context.write(message)


def _tell(told: Sequence[Callable[[Call], None]], call: Call) -> None:
    for tell in told:
        try:
            tell(call)
        except Exception:
            _LOG.exception("whoever watches %s failed", call.rpc)


def _status(
    context: grpc.aio.ServicerContext[Req, Resp], error: BaseException
) -> tuple[grpc.StatusCode, str]:
    """How a call ended that ended with an error."""
    # None before a status was set, whatever the type stubs say.
    code = cast("grpc.StatusCode | None", context.code())
    if code is not None:
        trailing = cast("Iterable[tuple[str, str | bytes]]", context.trailing_metadata())
        return code, reason_of_status(trailing)
    if not isinstance(error, asyncio.CancelledError):
        return grpc.StatusCode.UNKNOWN, ""
    remaining_s = cast("float | None", context.time_remaining())
    if remaining_s is None or remaining_s > _SAME_MOMENT_S:
        return grpc.StatusCode.CANCELLED, ""
    return grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"
