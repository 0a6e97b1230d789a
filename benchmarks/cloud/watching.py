"""What it costs a server to be watched: its processor time for a request that computes nothing.

    .venv/bin/python -m benchmarks.cloud.watching [--clients 16] [--rounds 9] [--json]

Servers with a backend that answers at once, each watched in another way, are asked in turns; the
processor time of their threads is the kernel's, so that other work on the machine disturbs it
little. Beside the first is the median over the rounds. Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import uuid
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import grpc
import grpc.aio
from benchmarks.cloud.nothing import Nothing
from benchmarks.cloud.processes import Process, cpu_us, in_process
from rich.table import Table

from escalade.cli.output import result_console
from escalade.cloud.backends import Delta
from escalade.cloud.server import ServeOptions, serve
from escalade.cloud.watching import WatchOptions, json_lines
from escalade.v1 import cascade_pb2 as pb
from escalade.v1 import cascade_pb2_grpc as pb_grpc

WAYS = ("not watched", "metrics", "log", "traces")
TOKENS = 9


@dataclass
class Row:
    """One server asked in one way; medians over the rounds."""

    watched: str
    rpc: str
    server_us: float
    #: Its processor time beside the first's; 1 for itself.
    beside_first: float


async def serve_watched(tell: Callable[[str], None], way: str, collector: str) -> None:
    """A server that is watched in one way."""
    watch = WatchOptions(
        metrics="127.0.0.1:0" if way == "metrics" else None,
        log_requests=way == "log",
        otlp=collector if way == "traces" else None,
    )
    # Lines go where nobody reads.
    with Path(os.devnull).open("w", buffering=1) as sys.stderr, json_lines():
        await serve(
            lambda **_: Nothing(TOKENS, Delta((5,), text="a ")),
            ServeOptions(listen="127.0.0.1:0", watch=watch),
            stop=asyncio.Event(),
            on_ready=tell,
        )


@contextmanager
def collecting() -> Iterator[str]:
    """A collector of traces that keeps nothing; gives its address."""
    export = grpc.unary_unary_rpc_method_handler(lambda request, context: b"")
    name = "opentelemetry.proto.collector.trace.v1.TraceService"
    server = grpc.server(futures.ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(name, {"Export": export}),)
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None)


async def ask(address: str, rpc: str, clients: int, requests: int) -> None:
    """So many requests of so many clients."""
    numbers = iter(range(requests))
    async with grpc.aio.insecure_channel(address) as channel:
        stub = pb_grpc.CascadeServiceStub(channel)

        async def client() -> None:
            for _ in numbers:
                request = pb.GenerateRequest(
                    request_id=uuid.uuid4().hex, prompt=pb.Prompt(text="a")
                )
                if rpc == "Generate":
                    await stub.Generate(request)
                else:
                    async for _ in stub.GenerateStream(pb.GenerateStreamRequest(request=request)):
                        pass

        await asyncio.gather(*(client() for _ in range(clients)))


def measure(
    servers: dict[str, Process], rpc: str, clients: int, rounds: int, requests: int
) -> list[Row]:
    """Ask all servers in turns, the first of a round another each time."""
    each: dict[str, list[float]] = {way: [] for way in servers}
    for number in range(rounds + 1):
        ways = [*servers][number % len(servers) :] + [*servers][: number % len(servers)]
        for way in ways:
            server = servers[way]
            before = cpu_us(server.pid)
            asyncio.run(ask(server.address, rpc, clients, requests))
            if number:  # the first warms up
                each[way].append((cpu_us(server.pid) - before) / requests)
    first = each[WAYS[0]]
    return [
        Row(
            watched=way,
            rpc=rpc,
            server_us=statistics.median(mine),
            beside_first=statistics.median(a / b for a, b in zip(mine, first, strict=True)),
        )
        for way, mine in each.items()
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--requests", type=int, default=2000, help="of a round")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows: list[Row] = []
    with ExitStack() as stack:
        collector = stack.enter_context(collecting())
        servers = {
            way: stack.enter_context(in_process(serve_watched, way, collector, loop="uvloop"))
            for way in WAYS
        }
        for rpc, requests in (
            ("Generate", options.requests),
            ("GenerateStream", options.requests // 4),
        ):
            rows += measure(servers, rpc, options.clients, options.rounds, requests)
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return
    table = Table("watched", "RPC", "server us", "beside the first")
    for row in rows:
        table.add_row(row.watched, row.rpc, f"{row.server_us:.0f}", f"{row.beside_first:.3f}")
    result_console().print(table)


if __name__ == "__main__":
    main()
