"""GenerateStream on a real server: its form, its pace, its end, and every way it can be cut."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from escalade.cloud.backends.embedded.backend import EmbeddedBackend
from escalade.cloud.backends.query import Query
from escalade.cloud.rpcs.generate import send_stream
from escalade.cloud.rpcs.once.once import SharedAnswers
from escalade.v1 import cascade_pb2 as pb

Pieces = list[pb.GenerateStreamResponse]


@pytest.fixture
def asked(engine: Any) -> Callable[..., pb.GenerateRequest]:
    """Makes a request in token ids, which the service queues without leaving the loop."""

    def make(text: str, max_new_tokens: int = 20, **fields: Any) -> pb.GenerateRequest:
        tokens = pb.TokenSequence(
            ids=engine.encode(text), tokenizer_fingerprint=engine.info.model.tokenizer_fingerprint
        )
        return pb.GenerateRequest(
            prompt=pb.Prompt(tokens=tokens),
            stopping=pb.StoppingOptions(max_new_tokens=max_new_tokens),
            **fields,
        )

    return make


async def until(condition: Callable[[], bool]) -> None:
    """Let the server go on until `condition` holds; a minute without it is a failure."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


def stream(running: Any, request: pb.GenerateRequest, **options: Any) -> Any:
    return running.stub.GenerateStream(pb.GenerateStreamRequest(request=request), **options)


async def pieces_of(call: Any) -> Pieces:
    return [message async for message in call]


def joined(pieces: Pieces, *, whole: bool = True) -> pb.TokenChunk:
    """All chunks as one; the form of the stream is checked on the way."""
    assert [piece.sequence for piece in pieces] == list(range(len(pieces)))
    together = pb.TokenChunk()
    for number, piece in enumerate(pieces, start=1):
        assert piece.token_offset == len(together.token_ids)
        last = whole and number == len(pieces)
        assert piece.WhichOneof("event") == ("final" if last else "chunk")
        if not last:
            together.token_ids.extend(piece.chunk.token_ids)
            together.logprobs.extend(piece.chunk.logprobs)
            together.text += piece.chunk.text
    return together


@pytest.mark.parametrize("logprobs", [True, False])
@pytest.mark.parametrize("text", [True, False])
def test_chunks_together_are_the_unary_answer(
    serving: Any, engine: Any, asked: Any, logprobs: bool, text: bool
) -> None:
    output = pb.OutputOptions(logprobs=logprobs, text=text)

    async def main() -> None:
        async with serving(engine) as running:
            for number in range(8):
                request = asked(f"w{number:02d}", output=output)
                pieces = await pieces_of(stream(running, request))
                unary = await running.stub.Generate(request)
                chunk, final = joined(pieces), pieces[-1].final
                assert final.usage == unary.usage
                assert final.model == unary.model == engine.info.model
                assert len(final.reports) == 1
                for name in ("token_ids", "text", "logprobs", "stop_reason"):
                    assert getattr(final, name) == getattr(unary, name), name
                assert chunk.token_ids == final.token_ids
                assert chunk.text == final.text
                # The end-of-sequence token's comes with the whole alone.
                assert list(chunk.logprobs) == list(final.logprobs)[: len(final.token_ids)]

    asyncio.run(main())


def test_tokens_come_while_the_model_still_computes(serving: Any, held: Any, asked: Any) -> None:
    async def main() -> None:
        held.stall_at = 3
        async with serving(held) as running:
            call = stream(running, asked("w00"))
            pieces: Pieces = []
            while len(joined(pieces, whole=False).token_ids) < 3:
                pieces.append(await call.read())
            await until(lambda: held.stalled)
            assert not held.answers
            call.cancel()

    asyncio.run(main())


def test_a_slow_reader_gets_few_and_long_messages(engine: Any, asked: Any, clock: Any) -> None:
    sent: Pieces = []

    async def main() -> None:
        backend = EmbeddedBackend(lambda: engine, queue_capacity=1, clock=clock)
        await backend.load()
        done = asyncio.Event()
        query = Query(tuple(engine.encode("w00")), 20, streamed=True)

        async def compute(ticket: Any) -> Any:
            async for delta in backend.generate(query, ticket):
                yield delta
            done.set()

        async def send(message: pb.GenerateStreamResponse) -> None:
            sent.append(message)
            await done.wait()

        deltas = SharedAnswers(1, clock).follow(None, math.inf, compute)
        await send_stream(asked("w00"), deltas, engine.info, send=send)
        backend.close()

    asyncio.run(main())
    # The first tokens, all that came while they were sent, and the end.
    assert len(sent) <= 3
    assert len(sent[-1].final.token_ids) > 3
    assert joined(sent).token_ids == sent[-1].final.token_ids


def test_a_stop_text_is_cut_out_of_the_stream(serving: Any, engine: Any, asked: Any) -> None:
    async def main() -> None:
        async with serving(engine) as running:
            for number in range(28):
                request = asked(f"w{number:02d}")
                words = (await running.stub.Generate(request)).text.split()
                if len(words) > 4 and len(set(words[:5])) == 5:
                    break
            else:
                raise AssertionError("the random model has no such response; change its seed")
            # From within the fourth word into the fifth.
            stop = f"{words[3][1:]} {words[4][:2]}"
            request.stopping.stop_sequences.extend([stop, "no such word"])
            pieces = await pieces_of(stream(running, request))
            final = pieces[-1].final
            assert final.stop_reason == pb.STOP_REASON_STOP_SEQUENCE
            assert final.text == " ".join(words[:3]) + f" {words[3][:1]}"
            assert len(final.token_ids) == 3
            assert final.usage.generated_tokens == 5
            chunk = joined(pieces)
            assert (chunk.text, chunk.token_ids) == (final.text, final.token_ids)

    asyncio.run(main())


def test_cancelling_reaches_the_model_at_its_next_token(
    serving: Any, held: Any, asked: Any
) -> None:
    async def main() -> None:
        held.stall_at = 3
        async with serving(held, queue_capacity=1) as running:
            call = stream(running, asked("w00"))
            await until(lambda: held.stalled)
            call.cancel()
            await until(lambda: bool(held.answers))
            held.stall_at = None
            assert (await pieces_of(stream(running, asked("w01"))))[-1].final.token_ids

    asyncio.run(main())
    assert held.answers[0].stop_reason == pb.STOP_REASON_CANCELLED
    assert len(held.answers[0].token_ids) == 3


def test_a_storm_of_cancellations_leaves_nothing_behind(
    serving: Any, engine: Any, asked: Any, caplog: pytest.LogCaptureFixture
) -> None:
    rng = random.Random(4)

    async def one(running: Any, number: int) -> None:
        # Few ids, so that many share a computation and leave it at different times.
        request = asked(f"w{number % 28:02d}", request_id=f"id-{number % 9}")
        if rng.random() < 0.5:
            call = running.stub.Generate(request)
        else:
            call = stream(running, request)
            for _ in range(rng.randrange(3)):
                await call.read()
        for _ in range(rng.randrange(6)):
            await asyncio.sleep(0)
        call.cancel()

    async def main() -> None:
        # Places for all: a refusal would only make the storm milder.
        async with serving(engine, queue_capacity=500, answers_kept=1, grace_s=60) as running:
            for _ in range(5):
                await asyncio.gather(*(one(running, n) for n in range(60)), return_exceptions=True)
            whole = await asyncio.gather(
                *(pieces_of(stream(running, asked(f"w{n:02d}"))) for n in range(8))
            )
            for pieces in whole:
                assert joined(pieces).token_ids == pieces[-1].final.token_ids
            running.stop.set()
            # Whatever were still under way would be waited for.
            async with asyncio.timeout(30):
                await running.task

    asyncio.run(main())
    assert [record.message for record in caplog.records] == []


def test_a_deadline_ends_the_stream_in_its_status(
    serving: Any, held: Any, asked: Any, clock: Any, refused: Any
) -> None:
    async def main() -> None:
        held.stall_at = 3
        async with serving(held, clock) as running:
            call = stream(running, asked("w00"), timeout=60)
            pieces: Pieces = []

            async def read() -> None:
                while True:
                    pieces.append(await call.read())

            reading = asyncio.create_task(read())
            await until(lambda: held.stalled)
            await until(lambda: len(joined(pieces, whole=False).token_ids) == 3)
            clock.now_s += 120
            refusal = await refused(reading)
            assert refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED
            assert refusal.reason == "DEADLINE_EXCEEDED"
            # What came is how the answer begins.
            assert len(joined(pieces, whole=False).token_ids) == 3

    asyncio.run(main())
    assert held.answers[0].stop_reason == pb.STOP_REASON_DEADLINE


def test_refusals_come_before_any_message(
    serving: Any, held: Any, asked: Any, refused: Any
) -> None:
    async def main() -> None:
        held.gate.clear()
        async with serving(held, queue_capacity=1) as running:
            wrong = await refused(pieces_of(stream(running, asked("w00", max_new_tokens=48))))
            assert (wrong.code, wrong.reason, wrong.field) == (
                grpc.StatusCode.INVALID_ARGUMENT,
                "OPTION_OUT_OF_RANGE",
                "stopping.max_new_tokens",
            )
            empty = await refused(pieces_of(stream(running, pb.GenerateRequest())))
            assert empty.reason == "PROMPT_EMPTY"
            calls = [asyncio.ensure_future(pieces_of(stream(running, asked("w00"))))]
            await until(lambda: len(held.queries) == 1)
            calls.append(asyncio.ensure_future(pieces_of(stream(running, asked("w01")))))
            await until(lambda: running.queued() == 2)
            full = await refused(pieces_of(stream(running, asked("w02"))))
            assert (full.code, full.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
            assert full.retry_delay_s > 0
            held.gate.set()
            for pieces in await asyncio.gather(*calls):
                assert pieces[-1].final.token_ids

    asyncio.run(main())


def test_a_failing_engine_is_unavailable(serving: Any, held: Any, asked: Any, refused: Any) -> None:
    async def main() -> None:
        async with serving(held) as running:
            held.error = RuntimeError("out of memory")
            refusal = await refused(pieces_of(stream(running, asked("w00"))))
            assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "ENGINE_DEAD")
            assert "out of memory" not in refusal.message, "internals leaked"

    asyncio.run(main())


def test_a_repeated_id_is_computed_once_however_it_is_asked(
    serving: Any, held: Any, asked: Any
) -> None:
    async def main() -> None:
        held.gate.clear()
        async with serving(held) as running:
            request = asked("w00", request_id="id-1")
            streams = [asyncio.ensure_future(pieces_of(stream(running, request))) for _ in "ab"]
            await until(lambda: len(held.queries) == 1)
            leaving = stream(running, request)
            unary = asyncio.ensure_future(running.stub.Generate(request))
            leaving.cancel()
            held.gate.set()
            answer = await unary
            for pieces in await asyncio.gather(*streams):
                assert pieces[-1].final == answer
                assert joined(pieces).token_ids == answer.token_ids
            again = await pieces_of(stream(running, request))
            assert again[-1].final == answer
            # Kept whole, and so given whole.
            assert len(again) == 2
            assert joined(again).token_ids == answer.token_ids

    asyncio.run(main())
    assert len(held.queries) == 1


def test_a_drain_lets_a_stream_end_and_begins_none(
    serving: Any, held: Any, asked: Any, refused: Any
) -> None:
    async def main() -> None:
        held.gate.clear()
        async with serving(held) as running:
            call = asyncio.ensure_future(pieces_of(stream(running, asked("w00"))))
            await until(lambda: len(held.queries) == 1)
            running.stop.set()
            # The service learns of it within a turn or two of the loop.
            async with asyncio.timeout(60):
                while (
                    late := await refused(pieces_of(stream(running, asked("w01"), timeout=0.2)))
                ).reason != "DRAINING":
                    pass
            assert late.code is grpc.StatusCode.UNAVAILABLE
            held.gate.set()
            assert joined(await call).token_ids
            await running.task

    asyncio.run(main())


def test_a_drain_past_its_grace_cuts_the_stream(
    serving: Any, held: Any, asked: Any, refused: Any
) -> None:
    async def main() -> None:
        held.stall_at = 2
        async with serving(held, grace_s=0) as running:
            call = asyncio.ensure_future(pieces_of(stream(running, asked("w00"))))
            await until(lambda: held.stalled)
            running.stop.set()
            refusal = await refused(call)
            assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNAVAILABLE, "DRAINING")
            await running.task
            await until(lambda: bool(held.answers))

    asyncio.run(main())
    assert held.answers[0].stop_reason == pb.STOP_REASON_CANCELLED
