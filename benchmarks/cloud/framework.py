"""What the service costs beside gRPC alone: a backend that computes nothing, and a bare echo.

    .venv/bin/python -m benchmarks.cloud.framework [--rounds N] [--loop uvloop] [--json]

Two servers in processes of their own: `escalade.cloud` with a backend that answers at once, and a
bare grpc.aio server that sends the same bytes and reads nothing. One client process asks both in
bytes made before, in turns, the first of a round another each time. Ratios are medians over the
rounds: of p50 with 1 client, of queries a second with 64, of messages a second of streams. CPU
microseconds are the server process's own, so that they hold on a machine that does other work too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import asdict, dataclass

import grpc
import grpc.aio
import psutil
from benchmarks.cloud.processes import Process, in_process
from rich.table import Table

from escalade.cli.output import result_console
from escalade.v1 import cascade_pb2 as pb

SERVICE = "escalade.v1.CascadeService"
TOKENS = 64
# Between tokens of a stream, so that each is a message of its own: who is slower than the backend
# gets several tokens in one.
STEP_S = 0.02
LOOPS = ("asyncio", "uvloop")


@dataclass(kw_only=True)
class Row:
    """Ours beside the bare server in one way of asking; medians over the rounds."""

    rpc: str
    clients: int
    ours_per_s: float
    bare_per_s: float
    ours_p50_ms: float
    bare_p50_ms: float
    ours_cpu_us: float
    bare_cpu_us: float
    #: Ours over bare.
    p50_ratio: float
    throughput_ratio: float


def request_of(request_id: str) -> pb.GenerateRequest:
    """A query as a device sends it, in token ids."""
    tokens = pb.TokenSequence(ids=[5, 6, 7, 8, 9, 10, 11, 1], tokenizer_fingerprint="f" * 64)
    return pb.GenerateRequest(request_id=request_id, prompt=pb.Prompt(tokens=tokens))


async def serve_ours(tell: Callable[[str], None]) -> None:
    """The service on a backend that knows its answer."""
    from escalade.cloud.backends import Answer, Backend, BackendInfo, Delta, Query, Ticket
    from escalade.cloud.server import ServeOptions, serve

    model = pb.ModelIdentity(name="none", tokenizer_fingerprint="f" * 64, revision="0" * 64)
    member = pb.MemberReport(model=pb.ModelIdentity(name="none"), parameter_count=1)
    report = pb.TierReport(tier="cloud", place=pb.PLACE_CLOUD, members=[member])
    whole = Answer(
        token_ids=[5] * TOKENS,
        logprobs=[-0.1] * (TOKENS + 1),
        margins=[],
        end_id=2,
        text="a " * TOKENS,
        stop_reason=pb.STOP_REASON_END_OF_SEQUENCE,
        prompt_tokens=8,
        generated_tokens=TOKENS + 1,
        reports=(report,),
    )

    class Nothing(Backend):
        info = BackendInfo(
            model=model,
            engine="none",
            parameter_count=1,
            vocabulary_size=100,
            context_length=256,
            end_of_sequence_ids=(2,),
            longest_token_bytes=8,
            max_new_tokens=128,
            queue_capacity=64,
            capabilities=(pb.CAPABILITY_GENERATE, pb.CAPABILITY_GENERATE_STREAM),
        )

        async def load(self) -> None:
            pass

        def close(self) -> None:
            pass

        def health(self) -> bool:
            return True

        async def generate(self, query: Query, ticket: Ticket) -> AsyncIterator[Delta]:
            if query.streamed:
                for _ in range(TOKENS):
                    yield Delta([5], [-0.1], "a ")
                    await asyncio.sleep(STEP_S)
            yield Delta(answer=whole)

    await serve(
        lambda **_: Nothing(),
        ServeOptions(listen="127.0.0.1:0"),
        stop=asyncio.Event(),
        on_ready=tell,
    )


async def serve_bare(tell: Callable[[str], None], whole: bytes, pieces: list[bytes]) -> None:
    """A grpc.aio server that sends what it was given."""

    async def generate(request: bytes, context: object) -> bytes:
        return whole

    async def stream(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        for piece in pieces:
            await context.write(piece)
            await asyncio.sleep(STEP_S)

    handlers = {
        "Generate": grpc.unary_unary_rpc_method_handler(generate),
        "GenerateStream": grpc.unary_stream_rpc_method_handler(stream),
    }
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    tell(f"127.0.0.1:{port}")
    await server.wait_for_termination()


class Server:
    """One of the two, and its client."""

    def __init__(self, process: Process, channel: grpc.aio.Channel) -> None:
        self._process = psutil.Process(process.pid)
        self.whole: Callable[[bytes], Awaitable[bytes]] = channel.unary_unary(
            f"/{SERVICE}/Generate"
        )
        self.stream: Callable[[bytes], AsyncIterator[bytes]] = channel.unary_stream(
            f"/{SERVICE}/GenerateStream"
        )

    def cpu_s(self) -> float:
        """CPU seconds of its process so far."""
        times = self._process.cpu_times()
        return times.user + times.system

    async def ask(self, rpc: str, request: bytes) -> int:
        """Ask once; gives the messages that came."""
        if rpc == "Generate":
            await self.whole(request)
            return 1
        return len([message async for message in self.stream(request)])

    async def once(self, rpc: str, requests: list[bytes], clients: int) -> Round:
        """So many queries from so many clients."""
        waiting = iter(requests)
        each: list[float] = []
        messages = 0

        async def client() -> None:
            nonlocal messages
            for request in waiting:
                began = time.perf_counter()
                came = await self.ask(rpc, request)
                messages += came
                each.append(time.perf_counter() - began)

        cpu_s, began = self.cpu_s(), time.perf_counter()
        await asyncio.gather(*(client() for _ in range(clients)))
        took_s = time.perf_counter() - began
        cpu_s = self.cpu_s() - cpu_s
        return Round(messages / took_s, statistics.median(each), cpu_s / messages)


@dataclass
class Round:
    """One server in one round."""

    per_s: float
    p50_s: float
    #: Of one query, or of one message of a stream.
    cpu_s: float


def requests_for(rpc: str, count: int) -> list[bytes]:
    """Serialized requests, each with an id of its own."""
    made = []
    for _ in range(count):
        request = request_of(os.urandom(16).hex())
        if rpc == "GenerateStream":
            made.append(pb.GenerateStreamRequest(request=request).SerializeToString())
        else:
            made.append(request.SerializeToString())
    return made


async def measure(
    ours: Server, bare: Server, rpc: str, clients: int, rounds: int, round_s: float
) -> Row:
    """Ask both in turns."""
    per_client, messages = (10, 1) if rpc == "Generate" else (1, TOKENS)
    warm_up = await ours.once(rpc, requests_for(rpc, per_client * clients), clients)
    await bare.once(rpc, requests_for(rpc, per_client * clients), clients)
    count = clients * max(1, round(warm_up.per_s * round_s / messages / clients))
    pairs: list[tuple[Round, Round]] = []
    for number in range(rounds):
        requests = [requests_for(rpc, count) for _ in range(2)]
        if number % 2:
            second = await bare.once(rpc, requests[1], clients)
            pairs.append((await ours.once(rpc, requests[0], clients), second))
        else:
            first = await ours.once(rpc, requests[0], clients)
            pairs.append((first, await bare.once(rpc, requests[1], clients)))
    median = statistics.median
    return Row(
        rpc=rpc,
        clients=clients,
        ours_per_s=median(mine.per_s for mine, _ in pairs),
        bare_per_s=median(other.per_s for _, other in pairs),
        ours_p50_ms=1e3 * median(mine.p50_s for mine, _ in pairs),
        bare_p50_ms=1e3 * median(other.p50_s for _, other in pairs),
        ours_cpu_us=1e6 * median(mine.cpu_s for mine, _ in pairs),
        bare_cpu_us=1e6 * median(other.cpu_s for _, other in pairs),
        p50_ratio=median(mine.p50_s / other.p50_s for mine, other in pairs),
        throughput_ratio=median(mine.per_s / other.per_s for mine, other in pairs),
    )


async def run(ours: Process, bare: Process, options: argparse.Namespace) -> list[Row]:
    """Every way of asking."""
    async with AsyncExitStack() as stack:
        servers = []
        for process in (ours, bare):
            channel = grpc.aio.insecure_channel(process.address)
            servers.append(Server(process, await stack.enter_async_context(channel)))
        rows = []
        for rpc, clients in (("Generate", 1), ("Generate", 64), ("GenerateStream", 32)):
            rows.append(await measure(*servers, rpc, clients, options.rounds, options.round_s))
        return rows


async def samples(ours: Process) -> tuple[bytes, list[bytes]]:
    """What our server says to one query: whole, and a message for each token."""
    async with grpc.aio.insecure_channel(ours.address) as channel:
        server = Server(ours, channel)
        whole = await server.whole(requests_for("Generate", 1)[0])
        [request] = requests_for("GenerateStream", 1)
        pieces = [message async for message in server.stream(request)]
    return whole, pieces


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--round-s", type=float, default=1.0, help="how long a round lasts")
    parser.add_argument("--loop", choices=LOOPS, default="asyncio", help="of both servers")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with ExitStack() as stack:
        ours = stack.enter_context(in_process(serve_ours, loop=options.loop))
        whole, pieces = asyncio.run(samples(ours))
        bare = stack.enter_context(in_process(serve_bare, whole, pieces, loop=options.loop))
        rows = asyncio.run(run(ours, bare, options))
    load = os.getloadavg()[0]
    if options.json:
        said = {"loop": options.loop, "load_average": load, "rows": [asdict(row) for row in rows]}
        print(json.dumps(said, indent=2))
        return
    table = Table(
        "RPC", "clients", "", "a second", "p50 ms", "server CPU us", title=f"{options.loop}"
    )
    for row in rows:
        for name, per_s, p50_ms, cpu_us in (
            ("ours", row.ours_per_s, row.ours_p50_ms, row.ours_cpu_us),
            ("bare", row.bare_per_s, row.bare_p50_ms, row.bare_cpu_us),
        ):
            numbers = f"{per_s:.0f}", f"{p50_ms:.2f}", f"{cpu_us:.0f}"
            table.add_row(row.rpc, str(row.clients), name, *numbers)
        ratios = f"{row.throughput_ratio:.2f}x", f"{row.p50_ratio:.2f}x"
        table.add_row("", "", "ratio", *ratios, f"{row.ours_cpu_us / row.bare_cpu_us:.2f}x")
    result_console().print(table)
    result_console().print(f"{len(pieces)} messages a stream; load average {load:.1f}")


if __name__ == "__main__":
    main()
