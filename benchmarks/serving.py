"""How many queries a server answers, and how fast: one client and many, whole and as a stream.

    .venv/bin/python benchmarks/serving.py [--clients 1 16] [--at NAME=ADDRESS ...] [--json]

Three servers are started: one whose engine computes nothing, so that what is left is gRPC and the
service, and two with the bundled large model, which compute one query at a time and many together;
these two take turns. With `--at`, servers that run already are asked
instead, say those of two versions; they take turns within each round, and the last column is the
median over the rounds of their seconds beside the first's. Prompts are token ids, as a device
sends them. Server and client are processes of
their own and share this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import statistics
import time
import uuid
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import grpc.aio
from rich.table import Table
from tokenizers import Tokenizer

from escalade.cli.output import result_console
from escalade.cli.process.quiet import quiet_third_party
from escalade.v1 import cascade_pb2 as pb
from escalade.v1 import cascade_pb2_grpc as pb_grpc

LARGE = Path(__file__).parents[1] / "training" / "checkpoints" / "large"
PROMPTS = [f"g2p: {word}" for word in ("cascade", "tier", "gate", "draft", "teacher", "expert")]
START_S = 120.0


@dataclass
class Row:
    """One server asked in one way; medians over the rounds."""

    server: str
    rpc: str
    clients: int
    queries_per_s: float
    p50_ms: float
    p99_ms: float
    #: Seconds of a round beside the first server's; 1 for itself.
    beside_first: float


def serve(name: str, ready: Connection) -> None:
    """A server's process, until it is told to end."""
    from escalade.cloud.backends import (
        Answer,
        BackendFactory,
        BackendInfo,
        Query,
        transformers_factory,
    )
    from escalade.cloud.backends.embedded.backend import EmbeddedBackend
    from escalade.cloud.server import ServeOptions, run_server

    class NoOp:
        info = BackendInfo(
            model=pb.ModelIdentity(name=name),
            engine="none",
            parameter_count=1,
            vocabulary_size=100,
            context_length=96,
            end_of_sequence_ids=(2,),
            longest_token_bytes=8,
            max_new_tokens=95,
        )

        def encode(self, text: str) -> list[int]:
            return [4, 5, 1]

        def generate(self, query: Query, should_stop: object, emit: object = None) -> Answer:
            return Answer(
                token_ids=[5] * 8,
                logprobs=[-0.1] * 9,
                margins=[0.1] * 9,
                end_id=2,
                text="a b c d e f g h",
                stop_reason=pb.STOP_REASON_END_OF_SEQUENCE,
                prompt_tokens=3,
                generated_tokens=9,
            )

    quiet_third_party()
    factories: dict[str, BackendFactory] = {
        "no-op": partial(EmbeddedBackend, NoOp),  # type: ignore[arg-type]
        "one at a time": transformers_factory(str(LARGE), threads=1, deterministic=True),
        "together": transformers_factory(str(LARGE), threads=1),
    }
    run_server(factories[name], ServeOptions(listen="127.0.0.1:0"), on_ready=ready.send)


@contextmanager
def serving(name: str) -> Iterator[str]:
    """A server in a process of its own; gives its address."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=serve, args=(name, theirs))
    process.start()
    try:
        if not ours.poll(START_S):
            raise SystemExit(f"serving: the {name} server did not start within {START_S:g} s")
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


async def ask(stub: pb_grpc.CascadeServiceAsyncStub, rpc: str, prompt: pb.TokenSequence) -> float:
    """One query; gives its seconds."""
    request = pb.GenerateRequest(request_id=uuid.uuid4().hex, prompt=pb.Prompt(tokens=prompt))
    started = time.perf_counter()
    if rpc == "Generate":
        await stub.Generate(request)
    else:
        async for _ in stub.GenerateStream(pb.GenerateStreamRequest(request=request)):
            pass
    return time.perf_counter() - started


async def one_round(
    stub: pb_grpc.CascadeServiceAsyncStub, rpc: str, clients: int, queries: int
) -> tuple[float, list[float]]:
    """So many queries from so many clients; gives the seconds of all, and of each."""
    info = await stub.GetModelInfo(pb.GetModelInfoRequest())
    tokenizer = Tokenizer.from_file(str(LARGE / "tokenizer.json"))
    prompts = [
        pb.TokenSequence(ids=one.ids, tokenizer_fingerprint=info.model.tokenizer_fingerprint)
        for one in tokenizer.encode_batch(PROMPTS)
    ]
    numbers = iter(range(queries))
    each: list[float] = []

    async def client() -> None:
        for number in numbers:
            each.append(await ask(stub, rpc, prompts[number % len(prompts)]))

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return time.perf_counter() - started, each


async def measure(
    addresses: dict[str, str], rpc: str, clients: int, *, rounds: int, round_s: float
) -> list[Row]:
    """Ask all servers in turns, the first of a round another each time."""
    async with AsyncExitStack() as stack:
        stubs = {}
        for name, address in addresses.items():
            channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
            stubs[name] = pb_grpc.CascadeServiceStub(channel)
        warm_up = 20 * clients
        warm_s = [(await one_round(stub, rpc, clients, warm_up))[0] for stub in stubs.values()]
        queries = max(clients, round(warm_up * round_s / max(warm_s)))
        took: dict[str, list[float]] = {name: [] for name in stubs}
        each: dict[str, list[float]] = {name: [] for name in stubs}
        names = list(stubs)
        for number in range(rounds):
            for name in names[number % len(names) :] + names[: number % len(names)]:
                seconds, latencies = await one_round(stubs[name], rpc, clients, queries)
                took[name].append(seconds)
                each[name] += latencies
    return [
        Row(
            server=name,
            rpc=rpc,
            clients=clients,
            queries_per_s=queries / statistics.median(took[name]),
            p50_ms=statistics.median(each[name]) * 1e3,
            p99_ms=statistics.quantiles(each[name], n=100)[-1] * 1e3,
            beside_first=statistics.median(
                mine / first for mine, first in zip(took[name], took[names[0]], strict=True)
            ),
        )
        for name in names
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--rpc", nargs="+", default=["Generate", "GenerateStream"])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--round-s", type=float, default=0.5, help="how long a round lasts")
    parser.add_argument("--at", nargs="+", default=[], metavar="NAME=ADDRESS")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows: list[Row] = []
    with ExitStack() as stack:
        groups = [dict(one.split("=", 1) for one in options.at)] if options.at else []
        for names in () if options.at else (("no-op",), ("one at a time", "together")):
            groups.append({name: stack.enter_context(serving(name)) for name in names})
        for addresses in groups:
            for rpc in options.rpc:
                for clients in options.clients:
                    pace = {"rounds": options.rounds, "round_s": options.round_s}
                    rows += asyncio.run(measure(addresses, rpc, clients, **pace))
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return
    table = Table("server", "RPC", "clients", "queries/s", "p50 ms", "p99 ms", "beside the first")
    for row in rows:
        table.add_row(
            row.server,
            row.rpc,
            str(row.clients),
            f"{row.queries_per_s:.0f}",
            f"{row.p50_ms:.2f}",
            f"{row.p99_ms:.2f}",
            f"{row.beside_first:.3f}",
        )
    result_console().print(table)


if __name__ == "__main__":
    main()
