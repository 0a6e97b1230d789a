"""What the live proxy costs at no delay, beside a plain relay and beside no relay.

    .venv/bin/python benchmarks/relay.py [--rounds N] [--connections N] [--json]

Relays in processes of their own, in turns, the first of a round another each time: the proxy with a
profile that delays nothing, asyncio's streams copying bytes, and `socat` where it is installed.
Measured are one gRPC call of 3 KB (p50, over what it takes directly), bytes a second through one
connection, and a thousand connections that are open at the same time, each of which sends 3 KB and
must get the same back. Ratios are medians over the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection

import grpc
from rich.table import Table

from escalade.cli.output import result_console
from escalade.simulator.network import Profile
from escalade.simulator.timing.echo import METHOD, _process, echo_server, proxy_before

# About as long a question and answer of the bundled tasks over the wire.
PAYLOAD = bytes(3000)
BULK_BYTES = 64 << 20
CHUNK = 1 << 16
NOTHING = Profile(name="nothing", rtt_ms=0.0, down_mbps=None, up_mbps=None, source="for timing")
DIRECT = "no relay"

#: Listens before a port of loopback; gives its own.
Relay = Callable[[int], AbstractContextManager[int]]
#: What a server does with a connection.
Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass(kw_only=True)
class Row:
    """One relay; medians over the rounds."""

    relay: str
    p50_ms: float
    #: Over what a call takes without a relay.
    added_ms: float
    mb_per_s: float
    #: Of the plain relay's; asyncio's.
    beside_plain: float
    #: To open all connections, and to get every answer.
    many_s: float


@dataclass
class Round:
    """One relay in one round."""

    p50_ms: float
    mb_per_s: float
    many_s: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--calls", type=int, default=300, help="of gRPC in a round")
    parser.add_argument("--connections", type=int, default=1000, help="at the same time")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with ExitStack() as stack:
        calls = stack.enter_context(echo_server())
        byte_port = stack.enter_context(_process(serve_bytes))
        ways = {DIRECT: (calls, byte_port)}
        for name, relay in relays().items():
            ways[name] = (stack.enter_context(relay(calls)), stack.enter_context(relay(byte_port)))
        rounds: dict[str, list[Round]] = {name: [] for name in ways}
        names = list(ways)
        for turn in range(options.rounds):
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                rpc_port, port = ways[name]
                rounds[name].append(
                    Round(
                        call_p50_ms(rpc_port, options.calls),
                        bulk_mb_per_s(port),
                        asyncio.run(many_s(port, options.connections)),
                    )
                )
    rows = rows_of(rounds)
    if options.json:
        print(json.dumps({"rows": [asdict(row) for row in rows], "load": os.getloadavg()[0]}))
        return
    table = Table("relay", "call p50 ms", "added ms", "MB/s", "of plain")
    table.add_column(f"{options.connections:,} connections, s")
    for row in rows:
        table.add_row(
            row.relay,
            f"{row.p50_ms:.3f}",
            f"{row.added_ms:+.3f}",
            f"{row.mb_per_s:,.0f}",
            f"{row.beside_plain:.2f}x",
            f"{row.many_s:.2f}",
        )
    result_console().print(table)
    result_console().print(f"{options.rounds} rounds, load {os.getloadavg()[0]:.1f}")


def rows_of(rounds: dict[str, list[Round]]) -> list[Row]:
    """Medians; differences and ratios within a round."""
    return [
        Row(
            relay=name,
            p50_ms=statistics.median(one.p50_ms for one in own),
            added_ms=statistics.median(
                one.p50_ms - direct.p50_ms for one, direct in zip(own, rounds[DIRECT], strict=True)
            ),
            mb_per_s=statistics.median(one.mb_per_s for one in own),
            beside_plain=statistics.median(
                one.mb_per_s / plain.mb_per_s
                for one, plain in zip(own, rounds["asyncio"], strict=True)
            ),
            many_s=statistics.median(one.many_s for one in own),
        )
        for name, own in rounds.items()
    ]


def relays() -> dict[str, Relay]:
    """Each by its name: a context with the port that it listens on before another."""
    found: dict[str, Relay] = {
        "escalade proxy": lambda port: proxy_before(port, NOTHING),
        "asyncio": lambda port: _process(relay_plainly, port),
    }
    return found | ({"socat": socat} if shutil.which("socat") else {})


@contextmanager
def socat(upstream: int) -> Iterator[int]:
    """A process for each connection."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    listen = f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,backlog=1024"
    running = subprocess.Popen(["socat", listen, f"TCP:127.0.0.1:{upstream}"])
    try:
        while running.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.01)
        yield port
    finally:
        running.terminate()
        running.wait()


def call_p50_ms(port: int, calls: int) -> float:
    """Of gRPC calls, one after the other, on a warm channel."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        took_s = []
        for call in range(calls + 20):
            started = time.perf_counter()
            stub(PAYLOAD)
            if call >= 20:
                took_s.append(time.perf_counter() - started)
    return 1e3 * statistics.median(took_s)


def bulk_mb_per_s(port: int) -> float:
    """Through one connection, one way: the far end says when it has all."""
    chunk = bytes(CHUNK)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        started = time.perf_counter()
        connection.sendall(b"S" + BULK_BYTES.to_bytes(8, "big"))
        for _ in range(BULK_BYTES // CHUNK):
            connection.sendall(chunk)
        if connection.recv(1) != b".":
            raise SystemExit("relay: bytes were lost")
        return BULK_BYTES / 1e6 / (time.perf_counter() - started)


async def many_s(port: int, connections: int) -> float:
    """All open before the first of them sends."""
    started = time.perf_counter()
    opened = [await asyncio.open_connection("127.0.0.1", port) for _ in range(connections)]

    async def ask(number: int) -> None:
        reader, writer = opened[number]
        sent = number.to_bytes(4, "big") * (len(PAYLOAD) // 4)
        writer.write(b"E" + len(sent).to_bytes(8, "big") + sent)
        if await reader.readexactly(len(sent)) != sent:
            raise SystemExit("relay: an answer is another's")

    await asyncio.gather(*(ask(number) for number in range(connections)))
    took_s = time.perf_counter() - started
    for _, writer in opened:
        writer.close()
    return took_s


def serve_bytes(ready: Connection) -> None:
    """Echo (`E`) or swallow (`S`) as many bytes as a connection announces."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Who only looks whether somebody listens says nothing.
        if kind := await reader.read(1):
            left = int.from_bytes(await reader.readexactly(8), "big")
            if kind == b"E":
                writer.write(await reader.readexactly(left))
            else:
                while left:
                    left -= len(await reader.read(min(left, CHUNK)))
                writer.write(b".")
            await reader.read()
        writer.close()

    asyncio.run(serve(ready, answer))


def relay_plainly(ready: Connection, upstream: int) -> None:
    """Copy bytes both ways, as asyncio's streams do it."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(CHUNK):
            writer.write(chunk)
            await writer.drain()
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, thither = await asyncio.open_connection("127.0.0.1", upstream)
        await asyncio.gather(copy(reader, thither), copy(there, writer), return_exceptions=True)

    asyncio.run(serve(ready, relay))


async def serve(ready: Connection, answer: Answer) -> None:
    """Until the process is told to end."""
    server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
    ready.send(server.sockets[0].getsockname()[1])
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    main()
