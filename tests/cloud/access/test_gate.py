"""The gate on a real server: who is let in, what a refusal says, and what it costs nobody."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from escalade.cloud.access import (
    AccessOptions,
    make_token,
)
from escalade.v1 import cascade_pb2 as pb
from escalade.v1.watched_files import LOOK_EVERY_S

INFO = pb.GetModelInfoRequest()
PROMPT = pb.GenerateRequest(prompt=pb.Prompt(text="w01"))
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
UNKNOWN = grpc.StatusCode.UNAUTHENTICATED


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


def every_rpc(stub: Any, metadata: Any) -> dict[str, Any]:
    """Each RPC of ours, begun."""
    return {
        "Generate": stub.Generate(PROMPT, metadata=metadata),
        "GenerateStream": stub.GenerateStream(
            pb.GenerateStreamRequest(request=PROMPT), metadata=metadata
        ).read(),
        "Score": stub.Score(pb.ScoreRequest(), metadata=metadata).read(),
        "Verify": stub.Verify(pb.VerifyRequest(), metadata=metadata),
        "GetModelInfo": stub.GetModelInfo(INFO, metadata=metadata),
    }


def test_every_rpc_of_ours_needs_a_token_and_health_needs_none(
    serving: Any, held: Any, issued: Any, refused: Any
) -> None:
    token = issued.new("phone")

    async def main() -> None:
        async with serving(held, access=AccessOptions(tokens=issued.path)) as running:
            methods = {one.name for one in pb.DESCRIPTOR.services_by_name["CascadeService"].methods}
            calls = every_rpc(running.stub, ())
            assert set(calls) == methods
            for call in calls.values():
                refusal = await refused(call)
                assert (refusal.code, refusal.reason) == (UNKNOWN, "UNAUTHENTICATED")
                assert refusal.message.startswith("authorization: missing")
            assert not held.queries
            health = health_pb2_grpc.HealthStub(running.channel)
            answer = await health.Check(health_pb2.HealthCheckRequest())
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
            assert (await running.stub.Generate(PROMPT, metadata=bearer(token))).token_ids
            stream = running.stub.GenerateStream(
                pb.GenerateStreamRequest(request=PROMPT), metadata=bearer(token)
            )
            assert [message async for message in stream][-1].final.token_ids
            info = await running.stub.GetModelInfo(INFO, metadata=bearer(token))
            assert info.model.name == "tiny"

    asyncio.run(main())


def test_reflection_needs_a_token(serving: Any, engine: Any, issued: Any, refused: Any) -> None:
    token = issued.new("phone")
    asked = reflection_pb2.ServerReflectionRequest(list_services="")

    async def main() -> None:
        async with serving(engine, access=AccessOptions(tokens=issued.path)) as running:
            stub = reflection_pb2_grpc.ServerReflectionStub(running.channel)
            refusal = await refused(stub.ServerReflectionInfo(iter([asked])).read())
            assert refusal.reason == "UNAUTHENTICATED"
            call = stub.ServerReflectionInfo(iter([asked, asked]), metadata=bearer(token))
            answers = [message async for message in call]
            assert len(answers) == 2
            assert len(answers[0].list_services_response.service) == 3

    asyncio.run(main())


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        ((("authorization", "Basic eDp5"),), "must be `Bearer TOKEN`"),
        ((*bearer("a"), *bearer("b")), "must be sent once, got 2 headers"),
        (bearer(make_token()), "token: is not known here, or was revoked"),
        (bearer(""), "must be `Bearer TOKEN`"),
    ],
)
def test_a_refusal_is_stable_and_says_nothing_of_the_token(
    serving: Any,
    engine: Any,
    issued: Any,
    refused: Any,
    caplog: pytest.LogCaptureFixture,
    metadata: Any,
    said: str,
) -> None:
    async def main() -> Any:
        async with serving(engine, access=AccessOptions(tokens=issued.path)) as running:
            return await refused(running.stub.GetModelInfo(INFO, metadata=metadata))

    with caplog.at_level(logging.DEBUG, "escalade"):
        refusal = asyncio.run(main())
    assert (refusal.code, refusal.reason) == (UNKNOWN, "UNAUTHENTICATED")
    assert said in refusal.message
    sent = str(metadata[0][1]).partition(" ")[2]
    assert len(sent) < 3 or sent not in refusal.message + caplog.text


def test_a_header_of_a_megabyte_is_refused_and_the_server_goes_on(
    serving: Any, engine: Any, issued: Any
) -> None:
    token = issued.new("phone")

    async def main() -> None:
        async with serving(engine, access=AccessOptions(tokens=issued.path)) as running:
            with pytest.raises(grpc.aio.AioRpcError) as failure:
                await running.stub.GetModelInfo(INFO, metadata=bearer("a" * (1 << 20)), timeout=30)
            assert failure.value.code() in {EXHAUSTED, grpc.StatusCode.INTERNAL}
            assert await running.stub.GetModelInfo(INFO, metadata=bearer(token), timeout=30)

    asyncio.run(main())


def test_a_changed_file_is_taken_within_a_second_and_a_broken_one_is_not(
    serving: Any,
    engine: Any,
    issued: Any,
    refused: Any,
    clock: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, second = issued.new("first"), issued.new("second")

    async def main() -> None:
        access = AccessOptions(tokens=issued.path)
        async with serving(engine, access=access, clock=clock) as running:

            async def ask(token: str) -> Any:
                return await running.stub.GetModelInfo(INFO, metadata=bearer(token))

            issued.revoke("first")
            third = issued.new("third")
            assert await ask(first)
            assert (await refused(ask(third))).reason == "UNAUTHENTICATED"
            clock.now_s += LOOK_EVERY_S
            assert (await refused(ask(first))).message.endswith("or was revoked")
            assert await ask(third)
            good = issued.path.read_text()
            for broken in (good[:-20], "what = 'is this'"):
                issued.path.write_text(broken)
                clock.now_s += LOOK_EVERY_S
                assert await ask(second)
                assert await ask(third)
            issued.path.unlink()
            clock.now_s += LOOK_EVERY_S
            assert await ask(third)

    with caplog.at_level(logging.WARNING, "escalade"):
        asyncio.run(main())
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3, said
    assert all(line.startswith(str(issued.path)) and "\n" not in line for line in said)


def test_an_expired_token_is_refused(serving: Any, engine: Any, issued: Any, refused: Any) -> None:
    token = issued.new("phone", expires=datetime(2020, 1, 1, tzinfo=UTC))

    async def main() -> None:
        async with serving(engine, access=AccessOptions(tokens=issued.path)) as running:
            refusal = await refused(running.stub.Generate(PROMPT, metadata=bearer(token)))
            assert refusal.reason == "UNAUTHENTICATED"
            assert refusal.message.startswith("token of phone: expired at 2020-01-01")

    asyncio.run(main())


def test_a_clients_name_is_whose_turn_it_is(serving: Any, held: Any, issued: Any) -> None:
    """Two clients behind one address: one sends much, and waits for itself alone."""
    many, few = issued.new("many"), issued.new("few")

    async def main() -> list[str]:
        async with serving(held, access=AccessOptions(tokens=issued.path)) as running:
            held.gate.clear()
            calls = []
            for number, (word, token) in enumerate(
                [*(("w01", many),) * 4, ("w02", few), ("w02", few)]
            ):
                request = pb.GenerateRequest(prompt=pb.Prompt(text=word))
                calls.append(
                    asyncio.ensure_future(running.stub.Generate(request, metadata=bearer(token)))
                )
                async with asyncio.timeout(60):
                    while running.queued() <= number:
                        await asyncio.sleep(0.001)
            held.gate.set()
            await asyncio.gather(*calls)
        return ["many" if query.prompt_ids[0] == 5 else "few" for query in held.queries]

    order = asyncio.run(main())
    assert order[0] == "many"
    assert sorted(order[1:5]) == ["few", "few", "many", "many"]


def test_a_request_that_never_comes_is_not_waited_for(
    serving: Any, engine: Any, issued: Any, refused: Any
) -> None:
    token = issued.new("phone")

    async def main() -> None:
        access = AccessOptions(tokens=issued.path)
        async with serving(engine, access=access, unread_s=0.05) as running:
            # A stream by the client's account: it may leave the request out, or take its time.
            method = running.channel.stream_unary("/escalade.v1.CascadeService/Generate")
            silent = method(metadata=bearer(token))
            assert (await refused(silent)).message == "request: not sent within 0.05 s"
            none = method(iter(()), metadata=bearer(token))
            assert (await refused(none)).field == "request"

    asyncio.run(main())
