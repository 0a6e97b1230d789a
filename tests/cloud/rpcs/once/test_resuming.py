"""Streams that are cut: what is sent after each cut is what was lacking, no more and no less."""

from __future__ import annotations

import asyncio
import math
import zlib
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from escalade.cloud.backends.query import Answer, Delta, TopRow
from escalade.cloud.backends.ticket import Ticket
from escalade.cloud.errors import StreamChangedError
from escalade.cloud.rpcs.once.once import SharedAnswers
from escalade.cloud.rpcs.once.resuming import NOTHING, Received, crc32_of
from escalade.v1 import cascade_pb2 as pb

WORDS = [" bêta", "a", " 長い", "", " end", "x", " y z", "", "🙂", " w"]


def whole_of(count: int, text: str) -> Answer:
    return Answer(
        token_ids=list(range(5, 5 + count)),
        logprobs=[-0.5 * n for n in range(count + 1)],
        margins=[0.1] * (count + 1),
        end_id=2,
        text=text,
        stop_reason=pb.STOP_REASON_END_OF_SEQUENCE,
        prompt_tokens=2,
        generated_tokens=count + 1,
        top=[TopRow(bytes([n] * 4), bytes(4)) for n in range(count + 1)],
    )


class Told:
    """A computation that goes on by a piece when it is told to."""

    def __init__(self, deltas: list[Delta]) -> None:
        self.begun = self.ended = 0
        self._deltas = deltas
        self._steps: asyncio.Queue[None] = asyncio.Queue()

    async def compute(self, ticket: Ticket) -> AsyncIterator[Delta]:
        self.begun += 1
        try:
            for delta in self._deltas:
                await self._steps.get()
                yield delta
        finally:
            self.ended += 1

    async def step(self, count: int) -> None:
        for _ in range(count):
            self._steps.put_nowait(None)
        await turns()


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


class Reader:
    """A client that puts what it gets behind what it has, whatever it was cut."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.logprobs: list[float] = []
        self.top: list[TopRow] = []
        self.text = ""
        self.answer: Answer | None = None

    def take(self, delta: Delta) -> None:
        self.ids += delta.token_ids
        self.logprobs += delta.logprobs
        self.top += delta.top
        self.text += delta.text
        self.answer = delta.answer

    def received(self) -> Received:
        return Received(len(self.ids), len(self.text), crc32_of(self.ids))


def pieces(draw: st.DrawFn) -> tuple[list[Delta], Answer, str]:
    """Deltas of an answer, the answer, and what its stream says."""
    words = draw(st.lists(st.sampled_from(WORDS), max_size=12))
    answer = whole_of(len(words), "".join(words))
    # How the tokens are spread over deltas; text may come later than its token.
    ends = sorted(draw(st.lists(st.integers(0, len(words)), max_size=8)))
    deltas, given, said = [], 0, 0
    for end in ends:
        behind = draw(st.integers(0, 3))
        text = "".join(words[: max(0, end - behind)])
        text = text if len(text) >= said else answer.text[:said]
        ids = slice(given, end)
        deltas.append(
            Delta(answer.token_ids[ids], answer.logprobs[ids], text[said:], top=answer.top[ids])
        )
        given, said = end, len(text)
    if draw(st.booleans()):  # bytes that were taken for characters, until more of them came
        stream = answer.text[:said] + "\ufffd\ufffd"
        answer = replace(answer, text="\ufffd\ufffd")
        return [*deltas, Delta(answer=answer)], answer, stream
    return [*deltas, Delta(answer=answer)], answer, answer.text


@given(data=st.data())
def test_any_cuts_and_any_merges_together_are_the_stream(data: st.DataObject) -> None:
    """Steps of the computation, pieces taken by a reader, and cuts, in any order."""
    deltas, answer, stream = data.draw(st.composite(pieces)())
    moves = data.draw(st.lists(st.sampled_from(["step", "step", "take", "take", "cut"])))

    async def main() -> None:
        told, answers, reader = Told(deltas), SharedAnswers(8, lambda: 0.0), Reader()

        def follow() -> Any:
            return answers.follow(
                b"k", math.inf, told.compute, received=reader.received(), keep_s=60.0
            )

        following = follow()
        pending: asyncio.Future[Delta] | None = None

        async def take() -> None:
            nonlocal pending
            pending = pending or asyncio.ensure_future(anext(following))
            await turns()
            if pending.done():
                try:
                    reader.take(pending.result())
                except StopAsyncIteration:
                    assert reader.answer is not None
                pending = None

        for move in [*moves, *["step"] * len(deltas), *["take"] * (len(deltas) + 1)]:
            if reader.answer is not None:
                break
            if move == "step":
                await told.step(1)
            elif move == "take":
                await take()
            else:
                if pending is not None:
                    pending.cancel()
                    await asyncio.wait([pending])
                    pending = None
                await following.aclose()
                following = follow()
        assert reader.answer == answer
        assert reader.ids == answer.token_ids
        assert reader.logprobs == answer.logprobs[: len(reader.ids)]
        assert reader.top == answer.top[: len(reader.ids)]
        assert reader.text == stream
        assert (told.begun, told.ended) == (1, 1)
        await following.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("kept", [0, 8])
def test_an_answer_that_begins_otherwise_is_not_gone_on_with(kept: int) -> None:
    """Running, just ended, and kept; the answer is 5, 6, 7."""
    answer = whole_of(3, "a b c")
    deltas = [Delta([5], [-0.0], "a"), Delta([6], [-0.5], " b"), Delta(answer=answer)]

    async def refused(steps: int, received: Received) -> bool:
        told, answers = Told(deltas), SharedAnswers(kept, lambda: 0.0)
        following = answers.follow(b"k", math.inf, told.compute, received=received)
        first = asyncio.ensure_future(anext(following))
        await told.step(steps)
        await told.step(3)
        try:
            await first
        except StreamChangedError:
            return True
        finally:
            await following.aclose()
        return False

    async def main() -> None:
        for steps in range(4):
            assert not await refused(steps, NOTHING)
            assert not await refused(steps, Received(2, 3, crc32_of([5, 6])))
            assert not await refused(steps, Received(2, 3))
            assert not await refused(steps, Received(3, 5, crc32_of([5, 6, 7])))
            assert await refused(steps, Received(2, 3, crc32_of([5, 7])))
            assert await refused(steps, Received(4, 5))
            assert await refused(steps, Received(3, 6))
        # From what is kept, too.
        told, answers = Told(deltas), SharedAnswers(8, lambda: 0.0)
        asked = asyncio.ensure_future(answers.once(b"k", math.inf, told.compute))
        await told.step(3)
        assert await asked == answer
        for received in (Received(2, 3, crc32_of([5, 7])), Received(4, 5), Received(3, 6)):
            with pytest.raises(StreamChangedError):
                await anext(answers.follow(b"k", math.inf, told.compute, received=received))

    asyncio.run(main())


def test_the_checksum_is_that_of_the_contract() -> None:
    ids = [0, 1, 255, 256, 65_536, (1 << 32) - 1]
    assert crc32_of(ids) == zlib.crc32(np.array(ids, "<u4").tobytes())
    assert crc32_of([]) == 0


def test_what_nobody_follows_goes_on_as_long_as_somebody_wished() -> None:
    deltas = [Delta([5], [-0.0], "a"), Delta(answer=whole_of(1, "a"))]

    async def left(keep_s: float, answers: SharedAnswers) -> Told:
        told = Told(deltas)
        following = answers.follow(b"k", math.inf, told.compute, keep_s=keep_s)
        first = asyncio.ensure_future(anext(following))
        await told.step(1)
        await first
        await following.aclose()
        await turns()
        return told

    async def main() -> None:
        assert (await left(0.0, SharedAnswers(8, lambda: 0.0))).ended == 1
        told = await left(1e-3, SharedAnswers(8, lambda: 0.0))
        async with asyncio.timeout(60):
            while not told.ended:
                await asyncio.sleep(0)
        # It ends by itself, and is kept for who comes back.
        answers = SharedAnswers(8, lambda: 0.0)
        told = await left(60.0, answers)
        assert not told.ended
        await told.step(1)
        assert told.ended == 1
        assert (await answers.once(b"k", math.inf, told.compute)).text == "a"
        assert told.begun == 1
        # Not past a drain, whether it is left before or after that begins.
        answers = SharedAnswers(8, lambda: 0.0)
        told = await left(60.0, answers)
        answers.keep_none()
        await turns()
        assert told.ended == 1
        assert (await left(60.0, answers)).ended == 1

    asyncio.run(main())
