"""Servers in processes of their own, and what they cost; knows no server."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

from escalade.cli.process.quiet import quiet_third_party

START_S = 180.0


@dataclass(frozen=True)
class Process:
    """A server that answers."""

    address: str
    pid: int


def cpu_us(pid: int) -> float:
    """Processor time of all threads of a process that still run (proc(5), schedstat)."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e3


def _run(
    serve: Callable[..., Awaitable[None]], ready: Connection, loop: str, arguments: tuple[object]
) -> None:
    quiet_third_party()
    if loop == "uvloop":
        import uvloop

        uvloop.run(serve(ready.send, *arguments))
    else:
        asyncio.run(serve(ready.send, *arguments))


@contextmanager
def in_process(
    serve: Callable[..., Awaitable[None]], *arguments: object, loop: str = "asyncio"
) -> Iterator[Process]:
    """Run a coroutine function in a process of its own until the block ends.

    Args:
        serve: of a module; called with what tells the address, then `arguments`.
        arguments: picklable.
        loop: `asyncio`, or `uvloop` where that is installed.
    """
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=_run, args=(serve, theirs, loop, arguments)
    )
    process.start()
    try:
        if not ours.poll(START_S):
            raise SystemExit(f"{serve.__name__}: did not start within {START_S:g} s")
        yield Process(ours.recv(), process.pid or 0)
    finally:
        process.terminate()
        process.join()
