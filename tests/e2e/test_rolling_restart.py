"""A server that is restarted under load costs no query: what it cuts is asked again."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import pytest

from escalade.cloud.backends import Answer, Backend, BackendInfo, Delta, Query, Ticket
from escalade.cloud.server import ServeOptions, serve
from escalade.edge.wire import CloudClient
from escalade.v1 import cascade_pb2 as pb

CLIENTS, AFTER = 4, 10


class Quick(Backend):
    """Answers at once, so that most of a client's time something is on its way."""

    info = BackendInfo(
        model=pb.ModelIdentity(name="quick"),
        engine="none",
        parameter_count=1,
        vocabulary_size=9,
        longest_token_bytes=1,
        context_length=99,
        end_of_sequence_ids=(1,),
        max_new_tokens=5,
        capabilities=(pb.CAPABILITY_GENERATE,),
    )

    def __init__(self, **options: Any) -> None:
        pass

    async def load(self) -> None:
        pass

    def close(self) -> None:
        pass

    def health(self) -> bool:
        return True

    async def generate(self, query: Query, ticket: Ticket) -> AsyncIterator[Delta]:
        await asyncio.sleep(0.001)
        yield Delta(
            answer=Answer(
                token_ids=(1,),
                logprobs=(),
                margins=(),
                end_id=None,
                text="a",
                stop_reason=pb.STOP_REASON_MAX_TOKENS,
                prompt_tokens=1,
                generated_tokens=1,
                compute_s=0.001,
            )
        )


@contextmanager
def served(listen: str) -> Iterator[None]:
    ready: futures.Future[Callable[[], None]] = futures.Future()

    async def main() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        await serve(
            Quick,
            ServeOptions(listen=listen),
            stop=stop,
            on_ready=lambda _: ready.set_result(lambda: loop.call_soon_threadsafe(stop.set)),
        )

    with futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(asyncio.run, main())
        futures.wait([ready, running], 60, futures.FIRST_COMPLETED)
        if running.done():
            running.result()
        try:
            yield
        finally:
            ready.result()()
        running.result(60)


@pytest.mark.parametrize("restarts", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_no_query_is_lost(restarts: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    over, answered = threading.Event(), [0] * CLIENTS

    def ask(number: int) -> None:
        client = CloudClient(address, deadline_s=60)
        try:
            while not over.is_set():
                assert client.generate(pb.GenerateRequest(prompt=pb.Prompt(text="x"))) is not None
                answered[number] += 1
        finally:
            client.close()

    with futures.ThreadPoolExecutor(CLIENTS) as pool:
        asking = [pool.submit(ask, number) for number in range(CLIENTS)]
        try:
            for _ in range(restarts):
                with served(address):
                    before = [*answered]
                    while not any(one.done() for one in asking) and any(
                        now < then + AFTER for now, then in zip(answered, before, strict=True)
                    ):
                        over.wait(0.01)
                if any(one.done() for one in asking):
                    break
        finally:
            over.set()
            with served(address):  # for what is under way
                for one in asking:
                    one.result(60)
