"""Every reason of the contract, provoked on a real server: its code and its details."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import grpc
import pytest

from escalade.cloud.backends.embedded.backend import EmbeddedBackend
from escalade.cloud.backends.query import Delta, Query
from escalade.cloud.backends.ticket import Ticket
from escalade.cloud.errors import LoopError
from escalade.cloud.rpcs.status import CATALOGUE
from escalade.v1 import cascade_pb2 as pb
from escalade.v1.reasons import name_of_reason


def asked(text: str = "w00", **fields: Any) -> pb.GenerateRequest:
    return pb.GenerateRequest(prompt=pb.Prompt(text=text), **fields)


def tokens(*ids: int, fingerprint: str = "") -> pb.Prompt:
    return pb.Prompt(tokens=pb.TokenSequence(ids=ids, tokenizer_fingerprint=fingerprint))


class Looping(EmbeddedBackend):
    """Finds itself among the gateways that a query came through."""

    async def generate(self, query: Query, ticket: Ticket) -> AsyncIterator[Delta]:  # type: ignore[override]
        if query.via:
            raise LoopError("the query came through this gateway already")
        async for delta in super().generate(query, ticket):
            yield delta


# What is sent, and the field that is named. `{}` is the server's tokenizer.
BY_REQUEST: dict[str, tuple[pb.GenerateRequest, str]] = {
    "PROMPT_EMPTY": (asked(""), "prompt"),
    "PROMPT_TOO_LONG": (asked("w00 " * 48), "prompt.text"),
    "TOKEN_OUT_OF_RANGE": (
        pb.GenerateRequest(prompt=tokens(4, 32, fingerprint="{}")),
        "prompt.tokens.ids[1]",
    ),
    "OPTION_OUT_OF_RANGE": (
        asked(sampling=pb.SamplingOptions(temperature=-1)),
        "sampling.temperature",
    ),
    "TOKENIZER_MISMATCH": (pb.GenerateRequest(prompt=tokens(4, fingerprint="0" * 64)), ""),
    "MODEL_MISMATCH": (asked(expected_model=pb.ModelIdentity(name="other")), ""),
    "LOOP": (asked(via=["gateway"]), ""),
}
# What the server is brought to.
BY_STATE = {"QUEUE_FULL", "ENGINE_DEAD", "DEADLINE_EXCEEDED"}
# What only one RPC or one backend refuses.
BY_RPC = {"NOT_SUPPORTED", "STREAM_CHANGED"}
# Of what is asked for while a server ends: `test_a_drain_lets_a_stream_end_and_begins_none`.
IN_TEST_STREAM = {"DRAINING"}
# Of who asks: `tests/cloud/access/test_gate.py`.
OF_THE_GATE = {"UNAUTHENTICATED", "QUOTA_EXCEEDED"}


def test_each_reason_has_its_row() -> None:
    reasons = {name_of_reason(entry.reason) for entry in CATALOGUE.values()}
    assert reasons == {*BY_REQUEST} | BY_STATE | BY_RPC | IN_TEST_STREAM | OF_THE_GATE


CODES = {name_of_reason(entry.reason): entry.code for entry in CATALOGUE.values()}


def check(refusal: Any, reason: str, field: str = "") -> None:
    """Hold a refusal to the head of cascade.proto; `refused` has read its google.rpc.Status."""
    assert (refusal.reason, refusal.code, refusal.field) == (reason, CODES[reason], field)
    assert bool(refusal.field) == (refusal.code is grpc.StatusCode.INVALID_ARGUMENT)
    assert (refusal.retry_delay_s is not None) == (reason == "QUEUE_FULL")
    assert refusal.message.isprintable()


def both(running: Any, request: pb.GenerateRequest, **options: Any) -> list[Callable[[], Any]]:
    """The two ways to ask; a call begins when it is made."""
    stub, stream = running.stub, pb.GenerateStreamRequest(request=request)
    return [
        lambda: stub.Generate(request, **options),
        lambda: stub.GenerateStream(stream, **options).read(),
    ]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("reason", BY_REQUEST)
def test_what_is_wrong_with_a_request(
    serving: Any, engine: Any, clock: Any, refused: Any, reason: str
) -> None:
    sent, field = BY_REQUEST[reason]
    request = pb.GenerateRequest()
    request.CopyFrom(sent)
    if request.prompt.tokens.tokenizer_fingerprint == "{}":
        own = engine.info.model.tokenizer_fingerprint
        request.prompt.tokens.tokenizer_fingerprint = own
    backend = Looping(lambda: engine, queue_capacity=4, clock=clock)

    async def main() -> None:
        async with serving(backend=backend) as running:
            for call in both(running, request):
                check(await refused(call()), reason, field)

    asyncio.run(main())


@pytest.mark.parametrize("reason", sorted(BY_STATE))
def test_what_is_wrong_with_a_server(
    serving: Any, held: Any, clock: Any, refused: Any, reason: str
) -> None:
    """One query is held in the engine, and with it the server; then another is asked."""

    async def main() -> None:
        async with serving(held, clock, queue_capacity=1) as running:
            for number in (0, 1):
                held.gate.clear()
                first = asyncio.ensure_future(running.stub.Generate(asked(f"w{number:02d}")))
                await until(lambda number=number: len(held.queries) == number + 1)  # type: ignore[misc]
                waiting = [first]
                if reason == "QUEUE_FULL":
                    waiting.append(asyncio.ensure_future(running.stub.Generate(asked("w10"))))
                    await until(lambda number=number: running.queued() == 2 + 3 * number)  # type: ignore[misc]
                queued = running.queued()
                call = both(running, asked("w20"), timeout=30)[number]
                task = asyncio.ensure_future(refused(call()))
                await until(lambda queued=queued: running.queued() > queued)  # type: ignore[misc]
                if reason == "DEADLINE_EXCEEDED":
                    clock.now_s += 60
                if reason == "ENGINE_DEAD":
                    held.error = RuntimeError("secret")
                held.gate.set()
                check(await task, reason)
                await asyncio.gather(*waiting, return_exceptions=True)
                held.error = None
                held.queries[:] = held.queries[: number + 1]

    asyncio.run(main())


def test_what_a_backend_does_not_offer(serving: Any, engine: Any, clock: Any, refused: Any) -> None:
    class Plain(EmbeddedBackend):
        """One answer, greedily, and nothing else."""

        @property
        def info(self) -> Any:
            return replace(super().info, capabilities=(pb.CAPABILITY_GENERATE,), max_top_logprobs=0)

    backend = Plain(lambda: engine, queue_capacity=4, clock=clock)
    drawn = asked(sampling=pb.SamplingOptions(temperature=1))
    alternatives = asked(output=pb.OutputOptions(top_logprobs=1))

    async def main() -> None:
        async with serving(backend=backend) as running:
            stub = running.stub
            for call in (
                stub.Generate(drawn),
                stub.Generate(alternatives),
                stub.GenerateStream(pb.GenerateStreamRequest(request=asked())).read(),
                stub.Score(pb.ScoreRequest()).read(),
                stub.Verify(pb.VerifyRequest()),
            ):
                check(await refused(call), "NOT_SUPPORTED")
            assert (await stub.Generate(asked())).token_ids

    asyncio.run(main())


def test_an_answer_that_has_changed(serving: Any, engine: Any, refused: Any) -> None:
    stream = pb.GenerateStreamRequest(
        request=asked(request_id="x"), resume_from=pb.ResumePoint(token_offset=1, token_crc32=1)
    )

    async def main() -> None:
        async with serving(engine) as running:
            check(await refused(running.stub.GenerateStream(stream).read()), "STREAM_CHANGED")

    asyncio.run(main())
