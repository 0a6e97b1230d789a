"""The real server before a backend that computes nothing: in a thread, or in a process to kill."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from escalade.cloud.backends import Answer, Backend, BackendInfo, Delta, Query, Ticket
from escalade.cloud.server import ServeOptions, serve
from escalade.v1 import cascade_pb2 as pb


class Quick(Backend):
    """Answers at once, or after `seconds`; counts what it has computed."""

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

    def __init__(self, seconds: float = 0.001) -> None:
        self.seconds, self.computed = seconds, 0

    async def load(self) -> None:
        pass

    def close(self) -> None:
        pass

    def health(self) -> bool:
        return True

    async def generate(self, query: Query, ticket: Ticket) -> AsyncIterator[Delta]:
        await asyncio.sleep(self.seconds)
        self.computed += 1
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
                compute_s=self.seconds,
            )
        )


@contextmanager
def served(listen: str = "127.0.0.1:0", backend: Quick | None = None) -> Iterator[str]:
    """A server in a thread, which drains in the end; gives its address."""
    ready: futures.Future[tuple[str, Callable[[], None]]] = futures.Future()
    quick = backend or Quick()

    async def main() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()
        await serve(
            lambda **options: quick,
            ServeOptions(listen=listen),
            stop=stop,
            on_ready=lambda address: ready.set_result(
                (address, lambda: loop.call_soon_threadsafe(stop.set))
            ),
        )

    with futures.ThreadPoolExecutor(1) as pool:
        running = pool.submit(asyncio.run, main())
        futures.wait([ready, running], 60, futures.FIRST_COMPLETED)
        if running.done():
            running.result()
        address, stop = ready.result()
        try:
            yield address
        finally:
            stop()
        running.result(60)


def _serve(listen: str, ready: Connection) -> None:
    with served(listen) as address:
        ready.send(address)
        ready.poll(None)  # until it is killed


@contextmanager
def killable(listen: str = "127.0.0.1:0") -> Iterator[tuple[str, Any]]:
    """A server in a process of its own; gives its address and the process."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(listen, theirs))
    process.start()
    try:
        assert ours.poll(120), "the server did not start"
        yield ours.recv(), process
    finally:
        process.kill()
        process.join()
        ours.close()
        theirs.close()
