"""What Prometheus reads: names and labels as promised, counts exact, series bounded."""

from __future__ import annotations

import asyncio
import random
import re
import string
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from escalade.cloud.access import AccessOptions, Limits
from escalade.cloud.backends import process_factory
from escalade.v1 import cascade_pb2 as pb

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED

# The contract with dashboards and alerts: changing a line breaks somebody's.
GOLDEN = """
escalade_batch_size gauge
escalade_degraded_answers_total counter
escalade_draft_tokens_accepted_total counter
escalade_draft_tokens_offered_total counter
escalade_engine_restarts gauge
escalade_generated_tokens_total counter
escalade_healthy gauge
escalade_kv_pages gauge
escalade_kv_pages_kept gauge
escalade_kv_pages_used gauge
escalade_model_info gauge engine model revision
escalade_prompt_tokens_total counter
escalade_queue_capacity gauge
escalade_queue_length gauge
escalade_queue_wait_seconds histogram rpc
escalade_request_duration_seconds histogram rpc
escalade_requests_in_flight gauge rpc
escalade_requests_total counter code reason rpc
escalade_tier_answers_total counter outcome tier
escalade_time_between_tokens_seconds histogram
escalade_time_to_first_token_seconds histogram
""".strip().splitlines()


def ask(text: str = "w01", **fields: Any) -> pb.GenerateRequest:
    return pb.GenerateRequest(prompt=pb.Prompt(text=text), **fields)


def stream(request: pb.GenerateRequest) -> pb.GenerateStreamRequest:
    return pb.GenerateStreamRequest(request=request)


async def code_of(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as failure:
        await call
    return failure.value.code()


async def until(metrics: Any, wanted: str) -> str:
    """The page, once it holds a line: a server hears of a client that leaves a little later."""
    give_up = time.monotonic() + 60
    while wanted not in (page := await metrics()):
        assert time.monotonic() < give_up, f"{wanted!r} did not come:\n{page}"
    return str(page)


def test_names_and_labels_are_the_contract(watched: Any, tiny_model: Path) -> None:
    make = process_factory(str(tiny_model), threads=1)
    backend = make(queue_capacity=64, clock=time.monotonic)

    async def main() -> str:
        async with watched(backend=backend) as (running, metrics):
            await running.stub.Generate(ask())
            async for _ in running.stub.GenerateStream(stream(ask())):
                pass
            return await metrics()

    page = asyncio.run(main())
    kinds = dict(re.findall(r"^# TYPE (escalade_\w+) (\w+)$", page, re.M))
    labels: dict[str, set[str]] = {name: set() for name in kinds}
    for name, given in re.findall(r"^(escalade_\w+)(?:\{(.*)\})? \S+$", page, re.M):
        family = name if name in kinds else re.sub(r"_(bucket|sum|count)$", "", name)
        labels[family] |= set(re.findall(r"(\w+)=\"", given)) - {"le"}
    found = [" ".join([name, kinds[name], *sorted(labels[name])]) for name in sorted(kinds)]
    assert found == GOLDEN
    # One help for each, a sentence.
    helps = dict(re.findall(r"^# HELP (escalade_\w+) (.*)$", page, re.M))
    assert helps.keys() == kinds.keys()
    assert all(text.endswith(".") for text in helps.values())


def test_what_is_counted_is_what_was_asked(
    watched: Any, held: Any, samples_of: Callable[[str], Any]
) -> None:
    drafted = pb.Draft(
        tokens=pb.TokenSequence(
            ids=[5, 6], tokenizer_fingerprint=held.info.model.tokenizer_fingerprint
        )
    )

    async def main() -> None:
        async with watched(held, queue_capacity=64) as (running, metrics):
            stub = running.stub
            answers = [await stub.Generate(ask(f"w{n:02d}")) for n in range(3)]
            for draft in (drafted, pb.Draft(text="w05 w06 w07")):
                answers.append(await stub.Generate(ask("w07", draft=draft)))
            pieces = []
            for text in ("w01", "w02"):
                messages = [one async for one in stub.GenerateStream(stream(ask(text)))]
                answers.append(messages[-1].final)
                pieces += [len(one.chunk.token_ids) for one in messages[1:-1]]
            await stub.GetModelInfo(pb.GetModelInfoRequest())
            for _ in range(2):
                code = await code_of(stub.Generate(pb.GenerateRequest()))
                assert code is grpc.StatusCode.INVALID_ARGUMENT
            code = await code_of(stub.Generate(ask("w" * 300_000)))  # not even parsed
            assert code is grpc.StatusCode.INVALID_ARGUMENT
            held.gate.clear()
            late = stub.Generate(ask("w03"), timeout=0.2)
            assert await code_of(late) is grpc.StatusCode.DEADLINE_EXCEEDED
            leaving = stub.Generate(ask("w04"))
            in_flight = 'escalade_requests_in_flight{rpc="Generate"} '
            await until(metrics, in_flight + "1.0")
            leaving.cancel()
            await until(metrics, 'code="CANCELLED"')
            held.gate.set()
            seen = samples_of(await until(metrics, in_flight + "0.0"))

        def value(name: str, **labels: str) -> float:
            return float(seen[f"escalade_{name}", frozenset(labels.items())])

        def requests(rpc: str, code: str, reason: str = "") -> float:
            return value("requests_total", rpc=rpc, code=code, reason=reason)

        assert requests("Generate", "OK") == 5
        assert requests("GenerateStream", "OK") == 2
        assert requests("GetModelInfo", "OK") == 1
        assert requests("Generate", "INVALID_ARGUMENT", "PROMPT_EMPTY") == 2
        assert requests("Generate", "INVALID_ARGUMENT", "PROMPT_TOO_LONG") == 1
        assert requests("Generate", "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED") == 1
        assert requests("Generate", "CANCELLED") == 1
        assert sum(v for (name, _), v in seen.items() if name == "escalade_requests_total") == 13
        usages = [answer.usage for answer in answers]
        assert value("prompt_tokens_total") == sum(one.prompt_tokens for one in usages)
        assert value("generated_tokens_total") == sum(one.generated_tokens for one in usages)
        assert value("draft_tokens_offered_total") == 2 + 3
        accepted = sum(one.accepted_draft_tokens for one in usages)
        assert value("draft_tokens_accepted_total") == accepted
        assert value("time_to_first_token_seconds_count") == 2
        assert value("time_between_tokens_seconds_count") == sum(pieces)
        assert sum(pieces) > 2
        assert value("request_duration_seconds_count", rpc="Generate") == 5
        assert value("queue_wait_seconds_count", rpc="GenerateStream") == 2
        assert value("queue_wait_seconds_sum", rpc="Generate") == pytest.approx(
            sum(answer.timing.queue_s for answer in answers[:5])
        )
        assert value("tier_answers_total", tier="cloud", outcome="answered") == 7
        assert value("degraded_answers_total") == 0

    asyncio.run(main())


def test_queue_and_refusals_are_told_while_it_is_full(
    watched: Any, held: Any, samples_of: Callable[[str], Any]
) -> None:
    async def main() -> None:
        async with watched(held, queue_capacity=2) as (running, metrics):
            held.gate.clear()
            waiting = [running.stub.Generate(ask(f"w0{n}")) for n in range(3)]
            await until(metrics, "escalade_queue_length 2.0")
            code = await code_of(running.stub.Generate(ask("w09")))
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
            held.gate.set()
            await asyncio.gather(*waiting)
            seen = samples_of(await until(metrics, "escalade_queue_length 0.0"))
        key = {"rpc": "Generate", "code": "RESOURCE_EXHAUSTED", "reason": "QUEUE_FULL"}
        assert seen["escalade_requests_total", frozenset(key.items())] == 1
        assert seen["escalade_queue_capacity", frozenset()] == 2

    asyncio.run(main())


@pytest.mark.parametrize(
    ("reports", "degraded", "outcomes"),
    [
        (["here"], False, {("here", "answered"): 1}),
        (["here", "above"], False, {("here", "deferred"): 1, ("above", "answered"): 1}),
        (["here", "above!"], True, {("here", "answered"): 1, ("above", "failed"): 1}),
        (
            ["here", "above!", "their-cloud"],
            False,
            {("here", "deferred"): 1, ("above", "failed"): 1, ("other", "answered"): 1},
        ),
    ],
)
def test_what_each_tier_said(
    watched: Any,
    said: Any,
    samples_of: Callable[[str], Any],
    reports: list[str],
    degraded: bool,
    outcomes: dict[tuple[str, str], int],
) -> None:
    given = [
        pb.TierReport(tier=name.rstrip("!"), reason="silent" if name.endswith("!") else "")
        for name in reports
    ]

    async def main() -> str:
        async with watched(backend=said(reports=given, degraded=degraded)) as (running, metrics):
            await running.stub.Generate(ask())
            return await metrics()

    seen = samples_of(asyncio.run(main()))
    found = {
        (dict(labels)["tier"], dict(labels)["outcome"]): value
        for (name, labels), value in seen.items()
        if name == "escalade_tier_answers_total"
    }
    assert found == outcomes
    assert seen["escalade_degraded_answers_total", frozenset()] == degraded


def test_what_the_gate_refuses_is_counted_too(watched: Any, said: Any, samples_of: Any) -> None:
    async def main() -> None:
        access = AccessOptions(limits=Limits(requests_per_minute=1))
        async with watched(backend=said(), access=access) as (running, metrics):
            await running.stub.Generate(ask())
            assert await code_of(running.stub.Generate(ask())) is EXHAUSTED
            seen = samples_of(await metrics())
        refused = {"rpc": "Generate", "code": EXHAUSTED.name, "reason": "QUOTA_EXCEEDED"}
        assert seen["escalade_requests_total", frozenset(refused.items())] == 1
        assert seen["escalade_requests_in_flight", frozenset({("rpc", "Generate")})] == 0

    asyncio.run(main())


def test_nothing_that_a_client_chooses_makes_a_series(
    watched: Any, said: Any, samples_of: Callable[[str], Any]
) -> None:
    rng = random.Random(11)

    def word() -> str:
        return "".join(rng.choices(string.printable + "é\N{RIGHT-TO-LEFT OVERRIDE}", k=12))

    def request() -> pb.GenerateRequest:
        chosen = ask(word(), request_id=word(), via=[word()])
        if rng.random() < 0.5:
            chosen.expected_model.CopyFrom(pb.ModelIdentity(name=word(), revision=word()))
        if rng.random() < 0.5:
            chosen.draft.model.name = chosen.draft.rule = word()
        return chosen

    async def main() -> None:
        backend = said()
        async with watched(backend=backend) as (running, metrics):
            ends: set[str] = set()
            before = samples_of(await metrics())
            for _ in range(300):
                backend.reports = (pb.TierReport(tier=word(), rule=word(), reason=word()),)
                chosen = request()
                metadata = (("traceparent", "x"), (f"key-{rng.randrange(99)}", "value"))
                streamed = rng.random() < 0.5
                try:
                    if streamed:
                        call = running.stub.GenerateStream(stream(chosen), metadata=metadata)
                        async for _ in call:
                            pass
                    else:
                        await running.stub.Generate(chosen, metadata=metadata)
                    ends.add("OK")
                except grpc.aio.AioRpcError as error:
                    ends.add(error.code().name)
            seen = samples_of(await metrics())
        assert ends >= {"OK", "FAILED_PRECONDITION"}
        requests = {one for one in seen if one[0] == "escalade_requests_total"}
        assert requests <= before.keys()  # all that there may be were there, at 0
        tiers = [labels for name, labels in seen if name == "escalade_tier_answers_total"]
        assert tiers == [frozenset({("tier", "other"), ("outcome", "failed")})]
        assert len(seen) - len(before) == 1

    asyncio.run(main())
