"""The server's process: serves, and counts what it and its engine hold, asked on stdin."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil

from escalade.cli.process.quiet import quiet_third_party
from escalade.cloud.backends import Backend, Clock, Delta, Query, Ticket, process_factory
from escalade.cloud.server import ServeOptions, serve

LARGE = Path(__file__).parents[2] / "training" / "checkpoints" / "large"


class Leaking:
    """A backend that keeps something of every request."""

    def __init__(self, backend: Backend, leak_bytes: int) -> None:
        self._backend, self._leak_bytes = backend, leak_bytes
        self._kept: list[bytes] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._backend, name)

    def generate(self, query: Query, ticket: Ticket) -> AsyncIterator[Delta]:
        self._kept.append(b"x" * self._leak_bytes)
        return self._backend.generate(query, ticket)


async def main(leak_bytes: int) -> None:
    """Serve until stdin ends."""
    make = process_factory(
        str(LARGE), threads=1, before="escalade.cli.process.quiet:quiet_third_party"
    )

    def made(*, queue_capacity: int, clock: Clock) -> Backend:
        backend = make(queue_capacity=queue_capacity, clock=clock)
        return Leaking(backend, leak_bytes) if leak_bytes else backend  # type: ignore[return-value]

    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    serving = asyncio.create_task(
        serve(
            made,
            ServeOptions(listen="127.0.0.1:0"),
            stop=stop,
            on_ready=lambda address: print(address, flush=True),  # noqa: T201 - to its parent
        )
    )
    while await loop.run_in_executor(None, sys.stdin.readline):
        gc.collect()
        me = psutil.Process()
        all_of_us = [me, *me.children()]
        resident_mb = [round(one.memory_info().rss / 1e6, 1) for one in all_of_us]
        held = {
            "memory_mb": round(sum(resident_mb), 1),
            "server_mb": resident_mb[0],
            "tasks": len(asyncio.all_tasks()),
            "descriptors": sum(one.num_fds() for one in all_of_us),
            "threads": sum(one.num_threads() for one in all_of_us),
        }
        print(json.dumps(held), flush=True)  # noqa: T201 - to its parent
    stop.set()
    await serving


if __name__ == "__main__":
    quiet_third_party()
    asyncio.run(main(int(sys.argv[1])))
