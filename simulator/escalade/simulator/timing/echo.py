"""A gRPC server that echoes and the live proxy before it, each a process; measures nothing."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection

import grpc

from escalade.simulator.errors import SimulatorError
from escalade.simulator.network import Profile, run_proxy

_SERVICE, _RPC = "escalade.Timing", "Echo"
METHOD = f"/{_SERVICE}/{_RPC}"
_STARTS_WITHIN_S = 60.0


@contextmanager
def echo_server() -> Iterator[int]:
    """Run the server; gives its port on loopback."""
    with _process(_serve) as port:
        yield port


@contextmanager
def proxy_before(upstream: int, profile: Profile) -> Iterator[int]:
    """Run a proxy before a port of loopback; gives its own."""
    with _process(_proxy, profile, upstream) as port:
        yield port


def _serve(ready: Connection) -> None:
    def echo(request: bytes, context: grpc.ServicerContext) -> bytes:
        return request

    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(echo)
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(_SERVICE, {_RPC: handler})]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    ready.send(port)
    signal.sigwait([signal.SIGTERM])
    server.stop(None).wait()


def _proxy(ready: Connection, profile: Profile, upstream: int) -> None:
    run_proxy(profile, ":0", f":{upstream}", seed=0, on_ready=lambda _, port: ready.send(port))


@contextmanager
def _process(target: Callable[..., None], *arguments: object) -> Iterator[int]:
    spawn = multiprocessing.get_context("spawn")
    ready, theirs = spawn.Pipe(duplex=False)
    child = spawn.Process(target=target, args=(theirs, *arguments), daemon=True)
    child.start()
    theirs.close()
    try:
        if not ready.poll(_STARTS_WITHIN_S):
            raise SimulatorError(f"a process for timing did not start within {_STARTS_WITHIN_S} s")
        try:
            port: int = ready.recv()
        except EOFError as error:
            raise SimulatorError("a process for timing ended before it listened") from error
        yield port
    finally:
        child.terminate()
        child.join()
