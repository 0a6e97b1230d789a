"""Puts backend, service, health and reflection on one gRPC port; knows no particular backend.

Order at the end: health says NOT_SERVING, new requests are refused, what was taken is
finished, the port closes. `Server.stop(grace)` alone would cut methods that are about to
abort (grpc issue 37239), so the service counts its own. What comes while the port closes, gRPC
cuts as CANCELLED before any code of ours sees it: clients ask again
(`edge/wire/connection/attempts.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from escalade.cloud.access import Metered, make_gate
from escalade.cloud.backends import BackendFactory, Clock
from escalade.cloud.health import Health
from escalade.cloud.heap import find_trim, keep_trimmed
from escalade.cloud.listen import bind
from escalade.cloud.registering import register
from escalade.cloud.server.options import ServeOptions, channel_options
from escalade.cloud.service import SERVICE_NAME, CascadeService
from escalade.cloud.watching import Observer, Watch, tell_refused
from escalade.cloud.web import WebListener

OnLoading = Callable[[], None]
OnReady = Callable[[str], None]
# Of any RPC, as the gate sees it.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

# How often health is looked at without a request.
_LOOK_S = 1.0

# Time for answers that are done to leave, and for open health watches to be cut.
_FLUSH_S = 0.5


async def serve(
    make_backend: BackendFactory,
    options: ServeOptions,
    *,
    stop: asyncio.Event,
    on_loading: OnLoading = lambda: None,
    on_ready: OnReady = lambda address: None,
    on_web: OnReady = lambda url: None,
    clock: Clock = time.monotonic,
) -> None:
    """Serve until `stop` is set, then drain.

    Args:
        make_backend: called once; the backend loads after the port is bound.
        options: what an operator may set.
        stop: ends it.
        on_loading: told when the model is all that is waited for.
        on_ready: told the address, with its real port, once requests are answered.
        on_web: told before that the URL for browsers, where there is one.
        clock: seconds, monotonic.

    Raises:
        StartError: the port, a certificate, the tokens or the model is not to be had.
    """
    gate = make_gate(
        options.access,
        certificates=options.tls is not None and options.tls.client_ca is not None,
        request_s=options.unread_s,
        clock=clock,
    )
    # The last of gRPC's objects to go waits for its polling thread, which waits for ever where the
    # loop ended before it had read what that thread wrote (grpc issue 40989): this holds one more.
    grpc.aio.init_grpc_aio()
    server = grpc.aio.server(
        options=channel_options(options), interceptors=() if gate is None else (gate,)
    )
    backend = make_backend(queue_capacity=options.queue_capacity, clock=clock)
    if gate is not None:
        backend = Metered(backend, gate.quotas)
    watch = web = None
    try:
        address = bind(server, options.listen, options.tls, clock)
        watch = Watch(options.watch, options.tls, clock, beside=address)
        web = _open_web(options, server, clock)
        on_loading()
        await backend.load()
        status = Health()

        async def tell_health(serving: bool) -> None:
            answer = health_pb2.HealthCheckResponse
            for name in (health.OVERALL_HEALTH, SERVICE_NAME, backend.info.model.name):
                await status.set(name, answer.SERVING if serving else answer.NOT_SERVING)

        service = CascadeService(
            backend,
            answers_kept=options.answers_kept,
            unread_s=options.unread_s,
            clock=clock,
            on_health=tell_health,
        )
        observers = watch.observers(backend)
        register(service, server, backend.info, observers, clock)
        if gate is not None:
            gate.on_refused = partial(_tell_of, observers, clock)
        health_pb2_grpc.add_HealthServicer_to_server(status, server)
        reflection.enable_server_reflection(
            (SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME), server
        )
        await tell_health(True)
        await server.start()
        _start_web(web, on_web)
        on_ready(address)
        tasks = [asyncio.create_task(_keep_looking(service))]
        if (trim := find_trim()) is not None:
            tasks.append(asyncio.create_task(keep_trimmed(trim)))
        if gate is not None:
            tasks.append(asyncio.create_task(gate.keep_ledger()))
        await stop.wait()
        for task in tasks:
            task.cancel()
        await status.enter_graceful_shutdown()
        service.start_draining()
        await _drain(service, options.grace_s)
    finally:
        if web is not None:
            await web.close()
        await server.stop(_FLUSH_S)
        backend.close()
        if gate is not None:
            gate.close()
        if watch is not None:
            watch.close()


def _open_web(options: ServeOptions, server: grpc.aio.Server, clock: Clock) -> WebListener | None:
    """Bind the port for browsers, where there is to be one."""
    if options.web is None:
        return None
    # What load balancers and devices ask of the other port, but for reflection.
    services = SERVICE_NAME, health.SERVICE_NAME
    web = WebListener(
        options.web, options.tls, clock, services=services, request_s=options.unread_s
    )
    web.attach(server)
    return web


def _start_web(web: WebListener | None, on_web: OnReady) -> None:
    if web is not None:
        web.start()
        on_web(web.url)


def _tell_of(
    observers: Sequence[Observer],
    clock: Clock,
    method: str,
    context: Context,
    error: BaseException,
) -> None:
    """Tell whoever watches of an RPC of ours that the gate let not pass."""
    service, _, rpc = method.removeprefix("/").partition("/")
    if service == SERVICE_NAME:
        tell_refused(rpc, context, error, observers, clock)


async def _keep_looking(service: CascadeService) -> None:
    """See a backend that works again where nobody asks: requests go where health says so."""
    while True:
        await asyncio.sleep(_LOOK_S)
        await service.look_at_health()


async def _drain(service: CascadeService, grace_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(service.wait_idle(), grace_s)
        return
    service.abandon()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(service.wait_idle(), _FLUSH_S)
