"""What the service costs beside gRPC alone: a backend that computes nothing, and a bare echo.

    .venv/bin/python -m benchmarks.cloud.framework [--rounds N] [--json]

Servers in processes of their own: `escalade.cloud` with a backend that knows its answer, on the
loop that `escalade serve` has, and a bare grpc.aio server that sends the same bytes and reads
nothing, on that loop and on asyncio's own. One client process asks them in bytes made before, in
turns, the first of a round another each time. Ratios are medians over the rounds, with quartiles:
of processor time, which is the server's own and holds on a machine that does other work too, of p50
and of requests or messages a second, which need an idle one. Linux.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import asdict, dataclass
from typing import NamedTuple

import grpc
import grpc.aio
from benchmarks.cloud.echo import SERVICE, Samples, serve_bare, serve_ours
from benchmarks.cloud.nothing import FINGERPRINT
from benchmarks.cloud.processes import Process, cpu_us, in_process
from rich.table import Table

from escalade.cli.output import result_console
from escalade.v1 import cascade_pb2 as pb

OURS, BARE, BARE_ASYNCIO = "ours", "bare", "bare, asyncio"


class Way(NamedTuple):
    """A way of asking."""

    name: str
    method: str
    clients: int
    #: That one client has in a round.
    requests: int


WAYS = (
    Way("Generate", "Generate", 1, 300),
    Way("Generate", "Generate", 64, 10),
    Way("Generate, refused", "Refused", 64, 10),
    Way("GenerateStream", "GenerateStream", 64, 2),
)


@dataclass(kw_only=True)
class Ratio:
    """Ours beside another, over the rounds."""

    median: float
    #: The middle half of the rounds.
    quartiles: tuple[float, float]


@dataclass(kw_only=True)
class Row:
    """One server in one way of asking; medians over the rounds."""

    way: str
    clients: int
    server: str
    #: Requests, or messages of streams.
    per_s: float
    p50_ms: float
    #: Of the server's process for one of them.
    cpu_us: float
    #: Of ours beside this one, by what is measured.
    ours_beside: dict[str, Ratio]


@dataclass
class Round:
    """One server in one round."""

    per_s: float
    p50_ms: float
    cpu_us: float


class Server:
    """One of them, and its client."""

    def __init__(self, process: Process, channel: grpc.aio.Channel, *, ours: bool) -> None:
        self._pid = process.pid
        method = f"/{SERVICE}"
        self.whole: Callable[[bytes], Awaitable[bytes]] = channel.unary_unary(f"{method}/Generate")
        # Of ours it is the same method, which refuses these.
        self.refused: Callable[[bytes], Awaitable[bytes]] = (
            self.whole if ours else channel.unary_unary(f"{method}/Refused")
        )
        self.stream: Callable[[bytes], AsyncIterator[bytes]] = channel.unary_stream(
            f"{method}/GenerateStream"
        )

    async def ask(self, method: str, request: bytes) -> int:
        """Ask once; gives the messages that came."""
        if method == "GenerateStream":
            return len([message async for message in self.stream(request)])
        if method == "Generate":
            await self.whole(request)
        else:
            with suppress(grpc.aio.AioRpcError):
                await self.refused(request)
                raise SystemExit("framework: a request that should be refused was answered")
        return 1

    async def once(self, way: Way) -> Round:
        """So many queries from so many clients."""
        waiting = iter(requests_for(way.method, way.clients * way.requests))
        each: list[float] = []
        messages = 0

        async def client() -> None:
            nonlocal messages
            for request in waiting:
                began = time.perf_counter()
                came = await self.ask(way.method, request)
                messages += came
                each.append(time.perf_counter() - began)

        before_us, began = cpu_us(self._pid), time.perf_counter()
        await asyncio.gather(*(client() for _ in range(way.clients)))
        took_s = time.perf_counter() - began
        spent_us = cpu_us(self._pid) - before_us
        return Round(messages / took_s, 1e3 * statistics.median(each), spent_us / messages)


def requests_for(method: str, count: int) -> list[bytes]:
    """Queries as a device sends them, in token ids, each with an id of its own; serialized."""
    tokens = pb.TokenSequence(ids=[5, 6, 7, 8, 9, 10, 11, 1], tokenizer_fingerprint=FINGERPRINT)
    made = []
    for _ in range(count):
        request = pb.GenerateRequest(
            request_id=os.urandom(16).hex(),
            prompt=pb.Prompt(tokens=tokens),
            # For those who may wait there is no place.
            priority=pb.PRIORITY_BATCH if method == "Refused" else pb.PRIORITY_INTERACTIVE,
        )
        if method == "GenerateStream":
            made.append(pb.GenerateStreamRequest(request=request).SerializeToString())
        else:
            made.append(request.SerializeToString())
    return made


async def measure(servers: dict[str, Server], way: Way, rounds: int) -> list[Row]:
    """Ask all in turns."""
    names = [*servers]
    done: dict[str, list[Round]] = {name: [] for name in names}
    for number in range(rounds + 1):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            one = await servers[name].once(way)
            if number:  # the first warms up
                done[name].append(one)
    return [row_of(way, name, done[OURS], done[name]) for name in names]


def row_of(way: Way, name: str, ours: Sequence[Round], theirs: Sequence[Round]) -> Row:
    """The medians of one server."""

    def over(what: str) -> list[float]:
        pairs = zip(ours, theirs, strict=True)
        return [getattr(mine, what) / getattr(other, what) for mine, other in pairs]

    def ratio(what: str) -> Ratio:
        low, median, high = statistics.quantiles(over(what), n=4)
        return Ratio(median=median, quartiles=(low, high))

    return Row(
        way=way.name,
        clients=way.clients,
        server=name,
        per_s=statistics.median(one.per_s for one in theirs),
        p50_ms=statistics.median(one.p50_ms for one in theirs),
        cpu_us=statistics.median(one.cpu_us for one in theirs),
        ours_beside={what: ratio(what) for what in ("cpu_us", "p50_ms", "per_s") if name != OURS},
    )


async def run(processes: dict[str, Process], rounds: int) -> list[Row]:
    """Every way of asking."""
    async with AsyncExitStack() as stack:
        servers = {}
        for name, process in processes.items():
            channel = grpc.aio.insecure_channel(process.address)
            await stack.enter_async_context(channel)
            servers[name] = Server(process, channel, ours=name == OURS)
        rows: list[Row] = []
        for way in WAYS:
            rows += await measure(servers, way, rounds)
        return rows


async def samples(ours: Process) -> Samples:
    """Ask our server once in each way."""
    async with grpc.aio.insecure_channel(ours.address) as channel:
        server = Server(ours, channel, ours=True)
        whole = await server.whole(requests_for("Generate", 1)[0])
        [request] = requests_for("GenerateStream", 1)
        pieces = [message async for message in server.stream(request)]
        try:
            await server.refused(requests_for("Refused", 1)[0])
        except grpc.aio.AioRpcError as error:
            trailing = tuple(error.trailing_metadata() or ())
            return Samples(whole, pieces, (error.code(), str(error.details()), trailing))
    raise SystemExit("framework: a request that should be refused was answered")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with ExitStack() as stack:
        ours = stack.enter_context(in_process(serve_ours, loop="uvloop"))
        said = asyncio.run(samples(ours))
        processes = {OURS: ours}
        for name, loop in ((BARE, "uvloop"), (BARE_ASYNCIO, "asyncio")):
            processes[name] = stack.enter_context(in_process(serve_bare, said, loop=loop))
        rows = asyncio.run(run(processes, options.rounds))
    load = os.getloadavg()[0]
    if options.json:
        said_of = {"load_average": load, "rows": [asdict(row) for row in rows]}
        print(json.dumps(said_of, indent=2))
        return
    table = Table("", "server", "a second", "p50 ms", "CPU us", "ours: CPU", "p50", "a second")
    for row in rows:
        beside = [
            f"{one.median:.2f}x ({one.quartiles[0]:.2f}-{one.quartiles[1]:.2f})"
            for one in row.ours_beside.values()
        ]
        way = f"{row.way}, {row.clients}" if row.server == OURS else ""
        numbers = f"{row.per_s:.0f}", f"{row.p50_ms:.2f}", f"{row.cpu_us:.0f}"
        table.add_row(way, row.server, *numbers, *beside)
    result_console().print(table)
    result_console().print(f"load average {load:.1f}")


if __name__ == "__main__":
    main()
