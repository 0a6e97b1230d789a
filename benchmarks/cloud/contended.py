"""A server on a machine that does other work: one busy loop a core beside it, and none, in turns.

    .venv/bin/python -m benchmarks.cloud.contended [--threads 0 1] [--clients 1 16] [--json]

`escalade serve` with the bundled large model, with its own choice of threads (0) and with one. A
round asks so many queries while nothing of ours runs, and as many while a loop spins on each core
that the server may use. A ratio is the median over the rounds of one beside the other; p99 is of
all rounds together. The client shares the cores too, and whatever else runs here runs in both: the
load average is told. A server that fills all cores when alone gets half of them by fair shares.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass

import grpc.aio
from benchmarks.serving import LARGE, one_round
from rich.table import Table

from escalade.cli.demo.processes import running
from escalade.cli.output import result_console
from escalade.cloud.backends import usable_cores
from escalade.v1 import cascade_pb2_grpc as pb_grpc

# What issue 11 asks for: of the idle throughput at least, and of its p99 at most.
THROUGHPUT, P99 = 0.5, 3.0


@dataclass(kw_only=True)
class Row:
    """So many threads of torch and clients; medians over the rounds."""

    threads: int
    clients: int
    idle_queries_per_s: float
    busy_queries_per_s: float
    #: Busy over idle, of the same round.
    throughput: float
    idle_p99_ms: float
    busy_p99_ms: float
    #: Busy over idle.
    p99: float
    #: Of the machine in the last minute, before the first round.
    load_average: float


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """So many processes that do nothing but spin."""
    with ExitStack() as stack:
        for _ in range(count):
            loop = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(loop.wait)
            stack.callback(loop.kill)
        yield


async def measure(address: str, threads: int, clients: int, *, rounds: int, round_s: float) -> Row:
    """Rounds with and without other work; which comes first changes from round to round."""
    load_average = os.getloadavg()[0]
    kinds = ("idle", "busy")
    took: dict[str, list[float]] = {kind: [] for kind in kinds}
    each: dict[str, list[float]] = {kind: [] for kind in kinds}
    async with grpc.aio.insecure_channel(address) as channel:
        stub = pb_grpc.CascadeServiceStub(channel)
        warm_up = 20 * clients
        warm_s, _ = await one_round(stub, "Generate", clients, warm_up)
        queries = max(clients, round(warm_up * round_s / warm_s))
        for number in range(rounds):
            for kind in kinds if number % 2 else kinds[::-1]:
                with busy_loops(usable_cores()) if kind == "busy" else nullcontext():
                    seconds, latencies = await one_round(stub, "Generate", clients, queries)
                took[kind].append(seconds)
                each[kind] += latencies
    idle_p99, busy_p99 = (statistics.quantiles(each[kind], n=100)[-1] for kind in kinds)
    return Row(
        threads=threads,
        clients=clients,
        idle_queries_per_s=queries / statistics.median(took["idle"]),
        busy_queries_per_s=queries / statistics.median(took["busy"]),
        throughput=statistics.median(
            idle / busy for idle, busy in zip(took["idle"], took["busy"], strict=True)
        ),
        idle_p99_ms=idle_p99 * 1e3,
        busy_p99_ms=busy_p99 * 1e3,
        p99=busy_p99 / idle_p99,
        load_average=load_average,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--round-s", type=float, default=2.0, help="how long an idle round lasts")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    pace = {"rounds": options.rounds, "round_s": options.round_s}
    rows = []
    for threads in options.threads:
        arguments = ("serve", str(LARGE), "--listen", "127.0.0.1:0", "--threads", str(threads))
        with running("serve", *arguments) as address:
            for clients in options.clients:
                rows.append(asyncio.run(measure(address, threads, clients, **pace)))
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return
    table = Table("threads", "clients", "queries/s", "busy", "ratio", "p99 ms", "busy", "ratio")
    for row in rows:
        table.add_row(
            str(row.threads or "0: all"),
            str(row.clients),
            f"{row.idle_queries_per_s:.0f}",
            f"{row.busy_queries_per_s:.0f}",
            f"{row.throughput:.2f}",
            f"{row.idle_p99_ms:.0f}",
            f"{row.busy_p99_ms:.0f}",
            f"{row.p99:.2f}",
        )
    result_console().print(table)
    loads = ", ".join(f"{row.load_average:.1f}" for row in rows)
    result_console().print(
        f"wanted: at least {THROUGHPUT:g} of the queries, at most {P99:g} of the p99."
        f" Load average before each: {loads}"
    )


if __name__ == "__main__":
    main()
