"""Limits on a real server: whose they are, what counts, and what a refusal says."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import grpc
import pytest
from authority import Authority, needs_openssl

from escalade.cloud.access import (
    AccessOptions,
    Limits,
    Metered,
)
from escalade.cloud.backends import Backend
from escalade.cloud.certificates import TlsFiles
from escalade.v1 import cascade_pb2 as pb
from escalade.v1 import cascade_pb2_grpc as pb_grpc

INFO = pb.GetModelInfoRequest()
PROMPT = pb.GenerateRequest(prompt=pb.Prompt(text="w01"))
ALONE = [("grpc.use_local_subchannel_pool", 1)]
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


def bearer(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),)


def test_who_asks_too_often_is_told_when_to_come_back(
    serving: Any, engine: Any, issued: Any, refused: Any, clock: Any
) -> None:
    slow, fast = issued.new("slow", 6), issued.new("fast")

    async def main() -> None:
        access = AccessOptions(tokens=issued.path, limits=Limits(requests_per_minute=60))
        async with serving(engine, access=access, clock=clock) as running:

            async def ask(token: str) -> Any:
                return await running.stub.GetModelInfo(INFO, metadata=bearer(token))

            for _ in range(6):
                await ask(slow)
            refusal = await refused(ask(slow))
            assert (refusal.code, refusal.reason) == (EXHAUSTED, "QUOTA_EXCEEDED")
            assert refusal.retry_delay_s == pytest.approx(10.0)
            for _ in range(60):
                await ask(fast)
            assert (await refused(ask(fast))).retry_delay_s == pytest.approx(1.0)
            clock.now_s += refusal.retry_delay_s
            assert await ask(slow)

    asyncio.run(main())


def test_tokens_are_counted_once_an_answer_and_never_cut_one(
    serving: Any, held: Any, issued: Any, refused: Any, clock: Any
) -> None:
    """Two are under way when the first uses all up: the second is answered, the third is not."""
    token = issued.new("phone", None, 1)

    async def main() -> None:
        access = AccessOptions(tokens=issued.path)
        async with serving(held, access=access, clock=clock) as running:

            def ask(request_id: str) -> Any:
                request = pb.GenerateRequest(request_id=request_id, prompt=PROMPT.prompt)
                return running.stub.Generate(request, metadata=bearer(token))

            held.gate.clear()
            begun = [ask(name) for name in ("a", "a", "b")]
            async with asyncio.timeout(60):
                while running.queued() < 2:
                    await asyncio.sleep(0.001)
            held.gate.set()
            first, _, last = await asyncio.gather(*begun)
            used = sum(
                one.usage.prompt_tokens + one.usage.generated_tokens for one in (first, last)
            )
            refusal = await refused(ask("c"))
            assert refusal.reason == "QUOTA_EXCEEDED"
            # It began with 1, owes the rest, and may ask when it has 1 again.
            assert refusal.retry_delay_s == pytest.approx(used * 86_400)

    asyncio.run(main())


def test_scores_are_counted_by_what_is_read(
    serving: Any, engine: Any, issued: Any, refused: Any, clock: Any, score_request: Any
) -> None:
    token = issued.new("phone", None, 1)

    async def main() -> None:
        access = AccessOptions(tokens=issued.path)
        async with serving(engine, access=access, clock=clock) as running:
            request = score_request([([4, 5], [6, 7, 8]), ([4], [5])])
            call = running.stub.Score(request, metadata=bearer(token))
            assert [message async for message in call][-1].final.items == 2
            refusal = await refused(running.stub.GetModelInfo(INFO, metadata=bearer(token)))
            assert refusal.retry_delay_s == pytest.approx(7 * 86_400)

    asyncio.run(main())


@pytest.mark.parametrize("form", ["tokens", "text"])
@pytest.mark.parametrize("rpc", ["Generate", "GenerateStream"])
def test_who_leaves_pays_as_far_as_it_went(
    serving: Any, held: Any, issued: Any, refused: Any, clock: Any, form: str, rpc: str
) -> None:
    token = issued.new("phone", None, 1)
    ids = held.encode("w01")
    held.stall_at = 3

    async def main() -> None:
        access = AccessOptions(tokens=issued.path)
        async with serving(held, access=access, clock=clock) as running:
            tokens = pb.TokenSequence(
                ids=ids, tokenizer_fingerprint=held.info.model.tokenizer_fingerprint
            )
            prompt = pb.Prompt(tokens=tokens) if form == "tokens" else pb.Prompt(text="w01")
            request = pb.GenerateRequest(prompt=prompt)
            if rpc == "GenerateStream":
                request = pb.GenerateStreamRequest(request=request)
            call = getattr(running.stub, rpc)(request, metadata=bearer(token))
            begun = asyncio.ensure_future(call.read() if rpc == "GenerateStream" else call)
            async with asyncio.timeout(60):
                while not held.stalled:
                    await asyncio.sleep(0.001)
                call.cancel()
                while not held.answers:
                    await asyncio.sleep(0.001)
            await asyncio.wait([begun])
            refusal = await refused(running.stub.GetModelInfo(INFO, metadata=bearer(token)))
            assert refusal.retry_delay_s == pytest.approx((len(ids) + 3) * 86_400)

    asyncio.run(main())


def test_who_leaves_the_queue_pays_nothing(
    serving: Any, held: Any, issued: Any, clock: Any
) -> None:
    token, other = issued.new("phone", None, 1), issued.new("other")

    async def main() -> None:
        access = AccessOptions(tokens=issued.path)
        async with serving(held, access=access, clock=clock) as running:
            held.gate.clear()
            first = running.stub.Generate(PROMPT, metadata=bearer(other))
            async with asyncio.timeout(60):
                while not held.queries:
                    await asyncio.sleep(0.001)
                waits = running.stub.Generate(PROMPT, metadata=bearer(token))
                while running.queued() < 2:
                    await asyncio.sleep(0.001)
            waits.cancel()
            held.gate.set()
            await first
            assert await running.stub.GetModelInfo(INFO, metadata=bearer(token))

    asyncio.run(main())


def test_without_tokens_the_address_is_who_asks(serving: Any, engine: Any, refused: Any) -> None:
    async def main() -> None:
        access = AccessOptions(limits=Limits(requests_per_minute=2))
        async with serving(engine, access=access) as running:
            for n in range(3):  # each over a connection of its own
                async with grpc.aio.insecure_channel(running.address, options=ALONE) as line:
                    call = pb_grpc.CascadeServiceStub(line).GetModelInfo(INFO)
                    if n < 2:
                        await call
                    else:
                        assert "quota of 127.0.0.1: 2 requests" in (await refused(call)).message

    asyncio.run(main())


@needs_openssl
def test_without_tokens_the_subject_of_a_certificate_is_who_asks(
    serving: Any, engine: Any, refused: Any, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    files = TlsFiles(*authority.issue("server"), authority.ca)

    async def main() -> None:
        access = AccessOptions(limits=Limits(requests_per_minute=1))
        async with serving(engine, access=access, tls=files) as running:
            for name in ("one", "two", "one"):
                cert, key = authority.issue(name)
                credentials = grpc.ssl_channel_credentials(
                    authority.ca.read_bytes(), key.read_bytes(), cert.read_bytes()
                )
                async with grpc.aio.secure_channel(
                    running.address, credentials, options=ALONE
                ) as line:
                    answers.append(pb_grpc.CascadeServiceStub(line).GetModelInfo(INFO))
                    if len(answers) < 3:
                        await answers[-1]
                    else:
                        message = (await refused(answers[-1])).message
                        assert message.startswith("quota of CN=one,O=tests: 1 requests a minute")

    answers: list[Any] = []
    asyncio.run(main())


def test_all_of_a_backend_is_metered() -> None:
    ours = {name for name in vars(Backend) if not name.startswith("_")}
    assert ours - vars(Metered).keys() == set()
