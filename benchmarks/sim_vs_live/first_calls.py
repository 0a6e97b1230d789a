"""What a call takes over the kernel's own TCP, when it dials and after: the rule's ground truth.

    .venv/bin/python -m benchmarks.sim_vs_live.first_calls [--rtt-ms 200] [--json]

Linux and root. A client and a server of gRPC, each in a network namespace of its own; the packets
of their two TUN devices cross in this process, each half a round trip late, in order, none lost.
Beside it the rule of `escalade.simulator.network.delay_lines.opening`.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import multiprocessing
import os
import select
import struct
import subprocess
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
import msgspec
import numpy as np
from rich.table import Table

from escalade.cli.output import result_console
from escalade.simulator.network import DelayLine, Profile, ready_s

_SERVER, _CLIENT = "10.9.0.2", "10.9.0.1"
# linux/sched.h; linux/if_tun.h: an IP packet for each read, without a head before it.
_CLONE_NEWNET, _TUNSETIFF, _TUN_NO_PI = 0x40000000, 0x400454CA, 0x1001
_METHOD = "/test.Service/Send"
#: Bytes up and down.
_SIZES = ((100, 100), (30_000, 100), (100, 30_000), (1_000_000, 100))
# Longer than any retransmission timeout here, after which Linux begins slowly again (RFC 2861).
_IDLE_S = 1.0


class CallRow(msgspec.Struct, frozen=True, kw_only=True):
    """A connection's calls of one size; in round trips."""

    tls: bool
    bytes_up: int
    bytes_down: int
    first: float
    #: By the rule.
    expected: float
    second: float
    after_a_pause: float


def measure(rtt_s: float) -> list[CallRow]:
    """Ask, over each kind of connection, calls of each size.

    Raises:
        OSError: no TUN device, or no right to make a namespace.
    """
    with TemporaryDirectory() as folder:
        _make_certificate(Path(folder))
        return [row for tls in (False, True) for row in _measured(rtt_s, Path(folder), tls)]


def _measured(rtt_s: float, folder: Path, tls: bool) -> list[CallRow]:
    spawn = multiprocessing.get_context("spawn")
    pipes, devices, children = list[Connection](), list[int](), []
    own = ((_serve, _SERVER, _CLIENT), (_ask, _CLIENT, _SERVER))
    try:
        for run, here, there in own:
            ours, theirs = spawn.Pipe()
            arguments = (theirs, run, here, there, folder, tls, rtt_s)
            children.append(spawn.Process(target=_namespaced, args=arguments, daemon=True))
            children[-1].start()
            devices.append(recv_handle(ours))
            pipes.append(ours)
        pipes[0].recv()
        pipes[1].send(True)
        _carry(devices, pipes[1], rtt_s)
        rows: list[CallRow] = pipes[1].recv()
        return rows
    finally:
        for child in children:
            child.terminate()
            child.join()


def _carry(devices: Sequence[int], until: Connection, rtt_s: float) -> None:
    """Take packets from either device to the other until something is said."""
    lines: tuple[deque[tuple[float, bytes]], ...] = (deque(), deque())
    heard: list[int | Connection] = [*devices, until]
    while True:
        now_s = time.monotonic()
        wait_s = min((line[0][0] - now_s for line in lines if line), default=1.0)
        ready, _, _ = select.select(heard, [], [], max(0.0, wait_s))
        if until in ready:
            return
        for device, line in zip(devices, lines, strict=True):
            if device in ready:
                line.append((time.monotonic() + rtt_s / 2, os.read(device, 1 << 16)))
        for line, other in zip(lines, reversed(devices), strict=True):
            while line and line[0][0] <= time.monotonic():
                os.write(other, line.popleft()[1])


def _namespaced(
    pipe: Connection,
    run: Callable[[Connection, Path, bool, float], None],
    here: str,
    there: str,
    folder: Path,
    tls: bool,
    rtt_s: float,
) -> None:
    """Move this process into a namespace of its own, give the pipe its device, go on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "cannot make a network namespace")
    device = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH", b"far0", _TUN_NO_PI))
    for words in (f"addr add {here} peer {there} dev far0", "link set far0 up"):
        subprocess.run(["ip", *words.split()], check=True)
    send_handle(pipe, device, None)
    run(pipe, folder, tls, rtt_s)


def _serve(pipe: Connection, folder: Path, tls: bool, rtt_s: float) -> None:
    def send(request: bytes, context: grpc.ServicerContext) -> bytes:
        return bytes(int.from_bytes(request[:4], "big"))

    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(send)
    service, rpc = _METHOD.removeprefix("/").split("/")
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, {rpc: handler})])
    if tls:
        shown = ((folder / "key.pem").read_bytes(), (folder / "cert.pem").read_bytes())
        server.add_secure_port(f"{_SERVER}:5000", grpc.ssl_server_credentials([shown]))
    else:
        server.add_insecure_port(f"{_SERVER}:5000")
    server.start()
    pipe.send(True)
    server.wait_for_termination()


def _ask(pipe: Connection, folder: Path, tls: bool, rtt_s: float) -> None:
    pipe.recv()
    pipe.send([_row(up, down, folder, tls, rtt_s) for up, down in _SIZES])


def _row(up: int, down: int, folder: Path, tls: bool, rtt_s: float) -> CallRow:
    options = [("grpc.use_local_subchannel_pool", 1)]
    address = f"{_SERVER}:5000"
    if tls:
        trusted = grpc.ssl_channel_credentials((folder / "cert.pem").read_bytes())
        channel = grpc.secure_channel(address, trusted, options)
    else:
        channel = grpc.insecure_channel(address, options)
    with channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_METHOD)

        def trips() -> float:
            began_s = time.perf_counter()
            call(down.to_bytes(4, "big") + bytes(up))
            return (time.perf_counter() - began_s) / rtt_s

        first, second = trips(), trips()
        time.sleep(_IDLE_S)
        return CallRow(
            tls=tls,
            bytes_up=up,
            bytes_down=down,
            first=first,
            expected=_expected(rtt_s, tls),
            second=second,
            after_a_pause=trips(),
        )


def _expected(rtt_s: float, tls: bool) -> float:
    network = Profile(
        name="far", rtt_ms=1e3 * rtt_s, down_mbps=None, up_mbps=None, source="asked for"
    )
    up, down = (DelayLine(network, way, np.random.default_rng(0)) for way in ("up", "down"))
    return 1 + ready_s(up, down, 0.0, tls=tls) / rtt_s


def _make_certificate(folder: Path) -> None:
    """One of the server's own, which its client trusts."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *(
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=far",
                "-addext",
                f"subjectAltName=IP:{_SERVER}",
            ),
            *("-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )


def congestion_control() -> str:
    """How the kernel sends: BBR paces even what is within its window."""
    return Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rtt-ms", type=float, default=200.0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = measure(options.rtt_ms / 1e3)
    if options.json:
        print(msgspec.json.encode(rows).decode())
        return
    title = f"round trips of {options.rtt_ms:g} ms that a call takes, {congestion_control()}"
    table = Table(title=title)
    for column in HEAD:
        table.add_column(column)
    for row in rows:
        table.add_row(*cells_of(row))
    result_console().print(table)


#: Of `cells_of`.
HEAD = ["", "bytes up", "down", "first", "by the rule", "second", "after 1 s"]


def cells_of(row: CallRow) -> list[str]:
    """A row of a table, for the report too."""
    return [
        "TLS" if row.tls else "in the clear",
        f"{row.bytes_up:,}",
        f"{row.bytes_down:,}",
        *(f"{trips:.2f}" for trips in (row.first, row.expected, row.second, row.after_a_pause)),
    ]


if __name__ == "__main__":
    main()
