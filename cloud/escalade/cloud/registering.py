"""Puts the service's methods on a server, their requests bounded before they are parsed."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar, cast

import grpc
import grpc.aio

from escalade.cloud.backends import BackendInfo, Clock
from escalade.cloud.rpcs import Unparsed, bounded_parser, end_with
from escalade.cloud.service import CascadeService
from escalade.cloud.watching import Observer, observed
from escalade.v1 import cascade_pb2_grpc as pb_grpc

Req = TypeVar("Req")
Resp = TypeVar("Resp")
Context = grpc.aio.ServicerContext[Req, Resp]
Behaviour = Callable[[Req, Context[Req, Resp]], Awaitable[Resp]]


def register(
    service: CascadeService,
    server: grpc.aio.Server,
    info: BackendInfo,
    observers: Sequence[Observer] = (),
    clock: Clock = time.monotonic,
) -> None:
    """Serve the RPCs of a service.

    Args:
        service: its methods are coroutines.
        server: not started.
        info: the backend's.
        observers: told of each call, those that are refused unparsed too.
        clock: seconds, monotonic.
    """
    registrar = _Registrar(server, info, observers, clock)
    pb_grpc.add_CascadeServiceServicer_to_server(service, cast(grpc.aio.Server, registrar))


class _Registrar:
    """Stands for the server where generated code registers a service with it."""

    def __init__(
        self,
        server: grpc.aio.Server,
        info: BackendInfo,
        observers: Sequence[Observer],
        clock: Clock,
    ) -> None:
        self._server, self._info = server, info
        self._observers, self._clock = observers, clock

    def add_generic_rpc_handlers(self, handlers: Sequence[object]) -> None:
        """The same methods once more, in another form."""

    def add_registered_method_handlers(
        self, service: str, handlers: Mapping[str, grpc.RpcMethodHandler[Req, Resp]]
    ) -> None:
        """Register each method, guarded."""
        guarded = {name: self._guarded(name, handler) for name, handler in handlers.items()}
        self._server.add_registered_method_handlers(service, guarded)

    def _guarded(
        self, name: str, handler: grpc.RpcMethodHandler[Req, Resp]
    ) -> grpc.RpcMethodHandler[Req, Resp]:
        whole = handler.unary_unary is not None
        behaviour = cast(
            "Behaviour[Req, Resp]", handler.unary_unary if whole else handler.unary_stream
        )
        parse = cast(Callable[[bytes], Req], handler.request_deserializer)

        async def answer(request: Req, context: Context[Req, Resp]) -> Resp:
            if isinstance(request, Unparsed):
                await end_with(context, request.error)
            return await behaviour(request, context)

        make = (
            grpc.unary_unary_rpc_method_handler if whole else grpc.unary_stream_rpc_method_handler
        )
        return make(
            observed(name, answer, self._observers, self._clock, streams=not whole),
            # What it gives instead ends in `answer`.
            cast(Callable[[bytes], Req], bounded_parser(name, parse, self._info)),
            handler.response_serializer,
        )
