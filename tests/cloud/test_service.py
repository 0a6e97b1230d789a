"""The service in front of a backend that is no engine: what it hands on and what it tells."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from escalade.cloud.backends.backend import Backend, BackendInfo
from escalade.cloud.backends.query import Answer, Delta, Query
from escalade.cloud.backends.ticket import Ticket
from escalade.cloud.errors import LoopError
from escalade.cloud.service import SERVICE_NAME
from escalade.v1 import cascade_pb2 as pb

ME = "gateway-1"
OWN = pb.ModelIdentity(name="gateway", tokenizer_fingerprint="f")
ABOVE = pb.ModelIdentity(name="large", revision="r", tokenizer_fingerprint="g")
REPORTS = (
    pb.TierReport(
        tier="small",
        place=pb.PLACE_GATEWAY,
        members=[pb.MemberReport(model=OWN, parameter_count=7, generated_tokens=2)],
        rule="mean",
        score=0.75,
        threshold=0.5,
    ),
    pb.TierReport(tier="cloud", place=pb.PLACE_CLOUD, reason="UNAVAILABLE: nobody there"),
)


class Gateway(Backend):
    """Answers at once what it was made with, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Query] = []
        self.remaining_s: list[float] = []
        self.events: list[str] = []
        self.healthy = True

    async def load(self) -> None:
        self.events.append("load")

    def close(self) -> None:
        self.events.append("close")

    @property
    def info(self) -> BackendInfo:
        member = pb.MemberReport(model=OWN, parameter_count=7)
        return BackendInfo(
            model=OWN,
            engine="cascade",
            parameter_count=7,
            vocabulary_size=10,
            context_length=8,
            end_of_sequence_ids=(2,),
            longest_token_bytes=8,
            max_new_tokens=5,
            queue_capacity=3,
            capabilities=(pb.CAPABILITY_GENERATE,),
            tiers=(pb.TierDescription(tier="small", place=pb.PLACE_GATEWAY, members=[member]),),
        )

    def health(self) -> bool:
        return self.healthy

    async def generate(self, query: Query, ticket: Ticket) -> AsyncIterator[Delta]:
        if ME in query.via:
            raise LoopError(f"via: holds {ME!r}, which is this gateway")
        self.asked.append(query)
        self.remaining_s.append(ticket.remaining_s())
        yield Delta(
            answer=Answer(
                token_ids=(4, 5),
                logprobs=(),
                margins=(),
                end_id=None,
                text="four five",
                stop_reason=pb.STOP_REASON_MAX_TOKENS,
                prompt_tokens=3,
                generated_tokens=2,
                reports=REPORTS,
                degraded=True,
                model=ABOVE,
            )
        )


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


def test_a_query_reaches_the_backend_as_it_came(serving: Any, gateway: Gateway) -> None:
    draft = pb.Draft(
        tokens=pb.TokenSequence(ids=[4, 6], tokenizer_fingerprint="f"), score=0.75, rule="mean"
    )
    request = pb.GenerateRequest(
        prompt=pb.Prompt(text="a text " * 100),
        draft=draft,
        stopping=pb.StoppingOptions(max_new_tokens=4, stop_sequences=["x", "y"]),
        via=["another"],
    )

    async def main() -> pb.GenerateResponse:
        async with serving(backend=gateway) as running:
            return await running.stub.Generate(request, timeout=30)

    response = asyncio.run(main())
    (query,) = gateway.asked
    # As text, however long: only the backend knows what it is in tokens.
    assert query == Query(
        (), 4, ("x", "y"), prompt_text="a text " * 100, draft=draft, via=("another",)
    )
    assert 0 < gateway.remaining_s[0] < 31
    assert gateway.events == ["load", "close"]
    assert response.model == ABOVE
    assert tuple(response.reports) == REPORTS
    assert response.degraded
    assert response.draft_outcome.accepted_count == 1
    assert response.draft_outcome.correction_id == 5
    assert response.usage == pb.Usage(prompt_tokens=3, generated_tokens=2, accepted_draft_tokens=1)


def test_model_info_lists_tiers_and_what_is_offered(serving: Any, gateway: Gateway) -> None:
    async def main() -> pb.GetModelInfoResponse:
        async with serving(backend=gateway) as running:
            return await running.stub.GetModelInfo(pb.GetModelInfoRequest())

    info = asyncio.run(main())
    assert info.model == OWN
    assert tuple(info.tiers) == gateway.info.tiers
    assert list(info.capabilities) == [pb.CAPABILITY_GENERATE]
    assert (info.queue_capacity, info.max_top_k) == (3, 0)


def test_what_is_not_offered_is_refused(serving: Any, gateway: Gateway, refused: Any) -> None:
    async def main() -> list[Any]:
        async with serving(backend=gateway) as running:
            stub = running.stub
            return [
                await refused(stub.GenerateStream(pb.GenerateStreamRequest()).read()),
                await refused(stub.Score(pb.ScoreRequest()).read()),
                await refused(stub.Verify(pb.VerifyRequest())),
            ]

    refusals = asyncio.run(main())
    for refusal in refusals:
        assert (refusal.code, refusal.reason) == (grpc.StatusCode.UNIMPLEMENTED, "NOT_SUPPORTED")
    names = [refusal.message.partition(":")[0] for refusal in refusals]
    assert names == ["GENERATE_STREAM", "SCORE", "VERIFY"]


def test_a_loop_is_refused(serving: Any, gateway: Gateway, refused: Any) -> None:
    request = pb.GenerateRequest(prompt=pb.Prompt(text="x"), via=["another", ME])

    async def main() -> Any:
        async with serving(backend=gateway) as running:
            return await refused(running.stub.Generate(request))

    refusal = asyncio.run(main())
    assert (refusal.code, refusal.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "LOOP")


def test_health_follows_the_backend(serving: Any, gateway: Gateway) -> None:
    async def main() -> list[int]:
        told = []
        async with serving(backend=gateway) as running:
            health = health_pb2_grpc.HealthStub(running.channel)
            for healthy in (True, False, False, True):
                gateway.healthy = healthy
                await running.stub.Generate(pb.GenerateRequest(prompt=pb.Prompt(text="x")))
                answer = await health.Check(health_pb2.HealthCheckRequest(service=SERVICE_NAME))
                told.append(answer.status)
        return told

    up, down = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    assert asyncio.run(main()) == [up, down, down, up]


def test_a_bug_in_a_backend_says_nothing_to_a_client(
    serving: Any, gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> bool:
        raise RuntimeError("the secret")

    gateway.health = broken  # type: ignore[method-assign]

    async def main() -> Any:
        async with serving(backend=gateway) as running:
            call = running.stub.Generate(pb.GenerateRequest(prompt=pb.Prompt(text="x")))
            return await call.code(), await call.details()

    code, details = asyncio.run(main())
    assert (code, details) == (grpc.StatusCode.INTERNAL, "server: internal error")
    (record,) = caplog.records
    assert record.exc_info is not None
    assert "the secret" in str(record.exc_info[1])
