"""A gRPC server that echoes, what stands before it and who asks, each a process; times nothing."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection

import grpc

from escalade.simulator.errors import SimulatorError
from escalade.simulator.network import ControlClient, KernelNetwork, Profile, run_proxy
from escalade.v1.address import Address

_SERVICE, _RPC = "escalade.Timing", "Echo"
_ASKING = "escalade.simulator.timing.asking"
METHOD = f"/{_SERVICE}/{_RPC}"
_STARTS_WITHIN_S = 60.0
_NOTHING = Profile(name="nothing", rtt_ms=0.0, down_mbps=None, up_mbps=None, source="for timing")


def channel_to(address: str) -> grpc.Channel:
    """To a server of this machine, which no proxy of the environment's variables stands before."""
    return grpc.insecure_channel(address, [("grpc.enable_http_proxy", 0)])


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
def changed_proxy_before(upstream: int) -> Iterator[tuple[int, Callable[[float], object]]]:
    """Run a proxy before a port of loopback; gives its own, and what sets its round trip."""
    with _started(_proxy, _NOTHING, upstream, ":0") as received:
        port = received()
        client = ControlClient(f":{received()}")
        yield port, lambda delay_s: client.set(None, {"rtt_ms": 1e3 * delay_s})


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


def _child(target: Callable[..., None], *arguments: object) -> None:
    """Run in a process that ends with its parent's, however that ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None  # noqa: S101 - this is a child

    def orphaned() -> None:
        parent.join()
        signal.raise_signal(signal.SIGTERM)

    threading.Thread(target=orphaned, daemon=True).start()
    target(*arguments)


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


def _proxy(ready: Connection, profile: Profile, upstream: int, control: str | None = None) -> None:
    run_proxy(
        profile,
        ":0",
        f":{upstream}",
        seed=0,
        on_ready=lambda _, port: ready.send(port),
        control=control,
        on_control=lambda address: ready.send(address.port),
    )


@contextmanager
def _process(target: Callable[..., None], *arguments: object) -> Iterator[int]:
    with _started(target, *arguments) as received:
        yield received()


@contextmanager
def _started(target: Callable[..., None], *arguments: object) -> Iterator[Callable[[], int]]:
    """Run a function of a connection in a process; gives what waits for a port that it sends."""
    spawn = multiprocessing.get_context("spawn")
    ready, theirs = spawn.Pipe(duplex=False)
    child = spawn.Process(target=_child, args=(target, theirs, *arguments), daemon=True)
    # Ctrl-C is for whoever started it, who ends it: it is told of none, from its first moment on.
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        child.start()
    except OSError as error:
        raise SimulatorError(f"a process for timing cannot be started: {error.strerror}") from error
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, held)
    theirs.close()

    def received() -> int:
        if not ready.poll(_STARTS_WITHIN_S):
            raise SimulatorError(f"a process for timing did not start within {_STARTS_WITHIN_S} s")
        try:
            port: int = ready.recv()
        except EOFError as error:
            raise SimulatorError("a process for timing ended before it listened") from error
        return port

    try:
        yield received
    finally:
        child.terminate()
        child.join()
