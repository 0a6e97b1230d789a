"""An engine's process that ends, hangs or does not start, and whoever waits for it."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import faulty_engine
import psutil
import pytest

from escalade.cloud.backends import Answer, Backend, Query, Ticket, process_factory
from escalade.cloud.errors import DeadlineError, EngineDeadError, ModelError

PROMPTS = [f"g2p: {word}" for word in ("cat", "dog", "banana", "zebra", "apple", "cascade")]
TOKENS = 24
_CHILD = "escalade.cloud.backends.process.child"  # the module that an engine's process runs


def forever() -> Ticket:
    return Ticket(math.inf, time.monotonic)


@asynccontextmanager
async def engine(folder: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Backend]:
    """A backend whose engine is `faulty_engine`'s."""
    here = str(Path(faulty_engine.__file__).parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, *filter(None, sys.path)]))
    make = process_factory(str(folder), threads=1, before="faulty_engine:install")
    backend = make(queue_capacity=64, clock=time.monotonic)
    try:
        await backend.load()
        yield backend
    finally:
        backend.close()


async def said(
    backend: Backend,
    prompt: str,
    ticket: Ticket | None = None,
    on_piece: Callable[[], object] = lambda: None,
) -> list[int]:
    """The tokens of an answer, which are those of its pieces."""
    query = Query((), TOKENS, prompt_text=prompt, streamed=True)
    given, answer = list[int](), None
    async for delta in backend.generate(query, ticket or forever()):
        given += delta.token_ids
        on_piece()
        answer = delta.answer
    assert isinstance(answer, Answer)
    assert given == [*answer.token_ids][: len(given)]
    return [*answer.token_ids]


def children() -> list[psutil.Process]:
    """Engines of this process; beside them may be what tests before it started, and Python."""
    return [one for one in psutil.Process().children() if _CHILD in one.cmdline()]


def child() -> psutil.Process:
    [process] = children()
    return process


async def until(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    """Look until it is so."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)


def test_a_process_that_is_killed_costs_no_query(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with engine(tiny_model_dir, monkeypatch) as backend:
            expected = {prompt: await said(backend, prompt) for prompt in PROMPTS}
            first = child()
            begun = asyncio.Event()
            under_way = [
                asyncio.create_task(said(backend, one, on_piece=begun.set))
                for one in PROMPTS
                for _ in "1234"
            ]
            await begun.wait()
            first.kill()
            await until(lambda: not backend.health())
            short = Ticket(time.monotonic() + 0.05, time.monotonic)
            with pytest.raises(DeadlineError):  # it is not there again so soon
                await said(backend, PROMPTS[0], short)
            got = await asyncio.gather(*under_way)
            assert got == [expected[one] for one in PROMPTS for _ in "1234"]
            assert child().pid != first.pid
            assert backend.health()
            gauges = {one.name: one.value for one in backend.gauges()}
            assert (gauges["engine_restarts"], gauges["queue_length"]) == (1, 0)
            assert [one.message for one in caplog.records if one.name.startswith("escalade")] == [
                "engine: its process was ended by SIGKILL; it is started again",
                "engine: started again",
            ]
        assert children() == []

    asyncio.run(main())


@pytest.mark.slow
def test_a_query_that_ends_processes_is_given_up_and_a_sick_one_is_replaced(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with engine(tiny_model_dir, monkeypatch) as backend:
            expected = await said(backend, PROMPTS[0])
            # What ends one ends the next: it is not asked for ever.
            with pytest.raises(EngineDeadError, match="ended by SIGKILL"):
                await said(backend, faulty_engine.FATAL)
            assert await said(backend, PROMPTS[0]) == expected
            sick = child()
            await said(backend, faulty_engine.SICKENING)
            await asyncio.to_thread(sick.wait, 20)
            assert await said(backend, PROMPTS[0]) == expected
        assert children() == []

    asyncio.run(main())


@pytest.mark.slow
def test_a_process_that_is_stopped_is_not_healthy_until_it_goes_on(
    tiny_model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("escalade.cloud.backends.process.engine_process.SILENT_S", 2.0)

    async def main() -> None:
        async with engine(tiny_model_dir, monkeypatch) as backend:
            assert backend.health()
            child().suspend()
            await until(lambda: not backend.health())
            asked = asyncio.create_task(said(backend, PROMPTS[0]))
            with pytest.raises(DeadlineError):
                await said(backend, PROMPTS[1], Ticket(time.monotonic() + 0.1, time.monotonic))
            child().resume()
            assert await asked
            await until(backend.health)
            # A stopped process ends with its server, too.
            child().suspend()
        assert children() == []

    asyncio.run(main())


def test_a_model_that_does_not_load_is_one_line(tmp_path: Path) -> None:
    async def main() -> None:
        backend = process_factory(str(tmp_path / "none"))(queue_capacity=1, clock=time.monotonic)
        with pytest.raises(ModelError, match="none"):
            await backend.load()
        backend.close()

    asyncio.run(main())
    assert children() == []


def test_the_process_ends_with_a_server_that_is_killed(tiny_model_dir: Path) -> None:
    script = f"""
import asyncio, time
from escalade.cloud.backends import process_factory
async def main():
    backend = process_factory({str(tiny_model_dir)!r}, threads=1)(
        queue_capacity=1, clock=time.monotonic)
    await backend.load()
    print("ready", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""

    async def main() -> None:
        server = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE
        )
        assert server.stdout is not None
        assert await server.stdout.readline() == b"ready\n"
        [process] = psutil.Process(server.pid).children()
        server.send_signal(signal.SIGKILL)
        await server.wait()
        await asyncio.to_thread(process.wait, 20)

    asyncio.run(main())
