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
import gc
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

import grpc.aio
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from escalade.cloud.access import AccessOptions, Metered, make_gate
from escalade.cloud.backends import BackendFactory, Clock
from escalade.cloud.certificates import TlsFiles
from escalade.cloud.errors import StartError
from escalade.cloud.health import Health
from escalade.cloud.heap import find_trim, keep_trimmed
from escalade.cloud.listen import bind
from escalade.cloud.registering import register
from escalade.cloud.rereading import read_all_now
from escalade.cloud.service import SERVICE_NAME, CascadeService
from escalade.cloud.watching import Observer, Watch, WatchOptions, tell_refused
from escalade.cloud.web import WebListener, WebOptions
from escalade.v1.channel import DIAL_WITHIN_S, server_options

OnLoading = Callable[[], None]
OnReady = Callable[[str], None]
# Of any RPC, as the gate sees it.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_UNWATCHED = WatchOptions()
# How often health is looked at without a request.
_LOOK_S = 1.0

# Time for answers that are done to leave, and for open health watches to be cut.
_FLUSH_S = 0.5

# Streams of one connection, by default without a bound: RFC 9113 asks for 100 at least, and a
# client should hear that the queue is full, not wait for a stream.
_LEAST_STREAMS, _STREAMS_FOR_A_PLACE = 100, 4

# The longest time that gRPC knows: it is for ever.
_MOST_MS = (1 << 31) - 1

# How long the thread that computes may keep the interpreter from the event loop, each time that the
# loop has looked for news: 5 ms by default, many times over before a refusal is out.
_SWITCH_S = 5e-4

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """What an operator may set.

    Attributes:
        listen: `HOST:PORT`; port 0 takes a free one.
        tls: certificate and key, needed off loopback; and whose clients may connect.
        access: who may ask, and how much.
        queue_capacity: queries that may wait for their turn, at least 1; and as many streams
            of scores.
        answers_kept: answers remembered for repeated request ids, at least 1.
        grace_s: how long a drain waits for requests before it stops them, at least 0.
        unread_s: after how long a stream that its client does not read is ended, above 0. So much
            has a link of 70 kbit/s for the largest message, 256 KiB.
        idle_s: after how long a connection without requests is closed, above 0: each takes a
            descriptor and 14 KiB. Whoever comes back dials anew.
        watch: who is told of requests.
        web: a port for browsers beside; None opens none.
    """

    listen: str = "127.0.0.1:50051"
    tls: TlsFiles | None = None
    access: AccessOptions = field(default_factory=AccessOptions)
    queue_capacity: int = 64
    answers_kept: int = 1024
    grace_s: float = 30.0
    unread_s: float = 30.0
    idle_s: float = 300.0
    watch: WatchOptions = _UNWATCHED
    web: WebOptions | None = None

    def __post_init__(self) -> None:
        for name, least in (("queue_capacity", 1), ("answers_kept", 1), ("grace_s", 0)):
            value = getattr(self, name)
            if not value >= least:
                raise StartError(f"{name}: must be at least {least}, got {value}")
        for name in ("unread_s", "idle_s"):
            value = getattr(self, name)
            if not value > 0:
                raise StartError(f"{name}: must be above 0, got {value}")


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
        options=_channel_options(options), interceptors=() if gate is None else (gate,)
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


def _channel_options(options: ServeOptions) -> list[tuple[str, int]]:
    streams = max(_LEAST_STREAMS, _STREAMS_FOR_A_PLACE * (options.queue_capacity + 1))
    return [
        # By default Linux lets a second server share the port in silence.
        ("grpc.so_reuseport", 0),
        ("grpc.max_concurrent_streams", streams),
        ("grpc.max_connection_idle_ms", round(min(options.idle_s * 1e3, _MOST_MS))),
        # Who dials and says nothing; by default two minutes.
        ("grpc.server_handshake_timeout_ms", round(min(options.idle_s, DIAL_WITHIN_S) * 1e3)),
        *server_options(),
    ]


async def _drain(service: CascadeService, grace_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(service.wait_idle(), grace_s)
        return
    service.abandon()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(service.wait_idle(), _FLUSH_S)


def run_server(
    make_backend: BackendFactory,
    options: ServeOptions | None = None,
    *,
    on_loading: OnLoading = lambda: None,
    on_ready: OnReady = lambda address: None,
    on_web: OnReady = lambda url: None,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain and return; for a process's main thread.

    A second signal ends the process at once, and so does one that comes while the model
    still loads: nothing is lost then. On SIGHUP tokens and certificates are read again.

    Args:
        make_backend: see `serve`; e.g. `escalade.cloud.backends.transformers_factory(model)`.
        options: see `ServeOptions`; None is all defaults.
        on_loading: see `serve`.
        on_ready: told the address, with its real port, once requests are answered.
        on_web: see `serve`.

    Raises:
        StartError: the port, a certificate, the tokens or the model is not to be had.
    """
    # A bare call takes a tenth less processor time than on asyncio's own loop, a streamed message
    # a fifth (benchmarks/cloud/framework.py). Here, for Windows has neither it nor these signals.
    import uvloop

    previous = {number: signal.getsignal(number) for number in (*_SIGNALS, signal.SIGHUP)}
    switch_s = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    try:
        uvloop.run(
            _serve_until_signal(
                make_backend, options or ServeOptions(), on_loading, on_ready, on_web
            )
        )
    finally:
        sys.setswitchinterval(switch_s)
        for number, handler in previous.items():
            signal.signal(number, handler)


async def _serve_until_signal(
    make_backend: BackendFactory,
    options: ServeOptions,
    on_loading: OnLoading,
    on_ready: OnReady,
    on_web: OnReady,
) -> None:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, read_all_now)
    stop = asyncio.Event()

    def on_signal() -> None:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)
        stop.set()

    def ready(address: str) -> None:
        for number in _SIGNALS:
            loop.add_signal_handler(number, on_signal)
        # What was loaded is for good. Each time that the collector looked through it, no answer
        # went out for 45 ms with 50,000 objects, and 155 ms with 150,000.
        gc.collect()
        gc.freeze()
        on_ready(address)

    await serve(
        make_backend, options, stop=stop, on_loading=on_loading, on_ready=ready, on_web=on_web
    )
