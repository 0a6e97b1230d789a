"""A gRPC server that echoes, what stands before it and who asks, each a process; times nothing."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection

import grpc

from escalade.simulator.errors import SimulatorError
from escalade.simulator.network import KernelNetwork, Profile, run_proxy
from escalade.v1.address import Address

_SERVICE, _RPC = "escalade.Timing", "Echo"
_ASKING = "escalade.simulator.timing.asking"
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


@contextmanager
def asking_over_kernel(
    upstream: int, profile: Profile, nbytes: int
) -> Iterator[Callable[[], float]]:
    """Run a client on a network of the kernel's before a port of loopback.

    Gives a function that has it ask once, with so many bytes, and says what that took, in seconds.

    Raises:
        SimulatorError: the network cannot be had, or the client ended.
    """
    with KernelNetwork(profile, Address("127.0.0.1", upstream)) as network:
        host, port = network.address
        command = [sys.executable, "-m", _ASKING, host, str(port), str(nbytes)]
        client = network.start(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        stdin, stdout = client.stdin, client.stdout
        assert stdin is not None  # noqa: S101 - asked for above
        assert stdout is not None  # noqa: S101

        def ask() -> float:
            stdin.write(b"\n")
            stdin.flush()
            if not (line := stdout.readline()):
                raise SimulatorError("a client for timing ended before it was told to")
            return float(line)

        try:
            yield ask
        finally:
            client.communicate()


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
