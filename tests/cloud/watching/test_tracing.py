"""Spans as a real collector takes them: of answers and refusals, joined to the client's or not."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Any

import grpc
import grpc.aio
import pytest
from collector import Collector, attributes, collecting

from escalade.cloud.errors import StartError
from escalade.cloud.watching import WatchOptions
from escalade.v1 import cascade_pb2 as pb

GENERATE = "escalade.v1.CascadeService/Generate"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


def served(serving: Any, collector: Collector, calls: Any, *given: Any, **options: Any) -> None:
    """Run `calls(stub)` against a traced server; its spans have left when it has ended."""

    async def main() -> None:
        watch = WatchOptions(otlp=collector.address)
        async with serving(*given, watch=watch, **options) as running:
            await calls(running.stub)

    asyncio.run(main())


def test_an_answer_is_a_span_with_its_queue_and_its_computation(
    serving: Any, said: Any, collector: Collector
) -> None:
    reports = [pb.TierReport(tier="here"), pb.TierReport(tier="above")]
    request = pb.GenerateRequest(prompt=pb.Prompt(text="a"))
    request.draft.tokens.ids.extend([5, 6])
    request.draft.tokens.tokenizer_fingerprint = "t1"

    async def calls(stub: Any) -> None:
        metadata = (("traceparent", f"00-{TRACE}-{PARENT}-01"), ("baggage", "who=me"))
        await stub.Generate(request, metadata=metadata)

    before_ns = time.time_ns()
    served(serving, collector, calls, backend=said(reports=reports))
    spans = collector.wait_for(*(("escalade", name) for name in (GENERATE, "queue", "compute")))
    whole, queue, compute = spans
    assert {span.trace_id.hex() for span in spans} == {TRACE}
    assert whole.parent_span_id.hex() == PARENT
    assert queue.parent_span_id == compute.parent_span_id == whole.span_id
    assert whole.kind == whole.SPAN_KIND_SERVER
    assert before_ns <= whole.start_time_unix_nano <= whole.end_time_unix_nano <= time.time_ns()
    assert queue.end_time_unix_nano - queue.start_time_unix_nano == 250_000_000
    assert compute.start_time_unix_nano == queue.end_time_unix_nano
    assert compute.end_time_unix_nano - compute.start_time_unix_nano == 500_000_000
    assert attributes(whole) == {
        "rpc.system": "grpc",
        "rpc.service": "escalade.v1.CascadeService",
        "rpc.method": "Generate",
        "rpc.grpc.status_code": 0,
        "gen_ai.response.model": "said",
        "gen_ai.usage.input_tokens": 4,
        "gen_ai.usage.output_tokens": 3,
        "gen_ai.response.finish_reasons": ["max_tokens"],
        "escalade.queue_seconds": 0.25,
        "escalade.draft.accepted_tokens": 2,
        "escalade.degraded": False,
        "escalade.tiers": ["here", "above"],
    }


def test_a_refusal_says_why_and_is_no_fault_of_the_servers(
    serving: Any, engine: Any, collector: Collector
) -> None:
    async def calls(stub: Any) -> None:
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.Generate(pb.GenerateRequest(prompt=pb.Prompt(text="")))

    served(serving, collector, calls, engine)
    [span] = collector.wait_for(("escalade", GENERATE))
    assert attributes(span)["error.type"] == "PROMPT_EMPTY"
    assert attributes(span)["rpc.grpc.status_code"] == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert span.status.code == span.status.STATUS_CODE_UNSET


def test_a_failure_is_an_error(serving: Any, said: Any, collector: Collector) -> None:
    backend = said()
    backend.error = ZeroDivisionError("private")

    async def calls(stub: Any) -> None:
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.Generate(pb.GenerateRequest(prompt=pb.Prompt(text="a")))

    served(serving, collector, calls, backend=backend)
    [span] = collector.wait_for(("escalade", GENERATE))
    assert (span.status.code, span.status.message) == (span.status.STATUS_CODE_ERROR, "INTERNAL")
    assert "private" not in str(span)


@pytest.mark.parametrize("header", [None, "", "00-0-0-01", "x" * 5000, f"ff-{TRACE}-{PARENT}-01"])
def test_without_a_parent_that_can_be_read_each_call_is_a_trace(
    serving: Any,
    said: Any,
    collector: Collector,
    caplog: pytest.LogCaptureFixture,
    header: str | None,
) -> None:
    metadata = () if header is None else (("traceparent", header),)

    async def calls(stub: Any) -> None:
        for _ in range(2):
            await stub.Generate(pb.GenerateRequest(prompt=pb.Prompt(text="a")), metadata=metadata)

    served(serving, collector, calls, backend=said())
    collector.wait_for(("escalade", GENERATE))
    spans = collector.spans["escalade", GENERATE]
    assert len({span.trace_id for span in spans}) == len(spans) == 2
    assert not any(span.parent_span_id for span in spans)
    assert not caplog.records  # or a client could fill the log


def test_a_collector_that_is_not_there_costs_no_answer_and_no_end(
    serving: Any, said: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with collecting() as gone:
        address = gone.address

    async def main() -> str:
        async with serving(backend=said(), watch=WatchOptions(otlp=address)) as running:
            answer = await running.stub.Generate(pb.GenerateRequest(prompt=pb.Prompt(text="a")))
            return str(answer.text)

    began_s = time.monotonic()
    with caplog.at_level(logging.CRITICAL):
        assert asyncio.run(main()) == "a b c"
    assert time.monotonic() - began_s < 30


@pytest.mark.parametrize("address", ["", "4317", "http://127.0.0.1:4317", "127.0.0.1:0"])
def test_a_malformed_address_ends_the_start(serving: Any, said: Any, address: str) -> None:
    async def main() -> None:
        async with serving(backend=said(), watch=WatchOptions(otlp=address)):
            pass

    with pytest.raises(StartError, match="otlp must be HOST:PORT"):
        asyncio.run(main())
