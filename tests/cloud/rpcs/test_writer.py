"""How long a message of a stream may wait for its reader, on a loop whose time jumps."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jumping_loop import JumpingLoop

from escalade.cloud.errors import DeadlineError
from escalade.cloud.rpcs import writer

UNREAD_S = 30.0


class Reader:
    """A client that takes a while for a message."""

    def __init__(self) -> None:
        self.read = 0

    async def write(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.read += 1


def sent(messages: Sequence[tuple[float, float]]) -> tuple[int, float]:
    """Messages that were read, each after a pause and so many seconds, and when that ended."""
    reader: Any = Reader()

    async def main() -> tuple[int, float]:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        with suppress(DeadlineError):
            async with writer(reader, UNREAD_S) as send:
                for pause_s, read_s in messages:
                    await asyncio.sleep(pause_s)
                    await send(read_s)
        return reader.read, loop.time() - began_s

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(main())


@settings(max_examples=50, deadline=None)
@given(
    before=st.lists(st.tuples(st.floats(0, 100), st.floats(0, 29.9)), max_size=8),
    last=st.floats(30.1, 500),
)
def test_each_message_has_its_own_time_and_none_has_more(
    before: list[tuple[float, float]], last: float
) -> None:
    took_s = sum(map(sum, before))
    assert sent(before) == (len(before), pytest.approx(took_s, abs=0.1))
    assert sent([*before, (1.0, last)]) == (
        len(before),
        pytest.approx(took_s + 1.0 + UNREAD_S, abs=0.1),
    )


def test_whoever_cancels_the_stream_is_not_told_of_a_deadline() -> None:
    reader: Any = Reader()

    async def main() -> None:
        async with writer(reader, UNREAD_S) as send:
            await send(20.0)

    async def cancelled() -> None:
        task = asyncio.create_task(main())
        await asyncio.sleep(10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        runner.run(cancelled())
