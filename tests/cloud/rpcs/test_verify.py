"""Verify on a real server: the outcome is that of the greedy answer itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import grpc
import pytest

from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.cloud.backends.query import Query
from escalade.v1 import cascade_pb2 as pb


def request_of(
    engine: TransformersEngine, prompt: Sequence[int], draft: Sequence[int]
) -> pb.VerifyRequest:
    fingerprint = engine.info.model.tokenizer_fingerprint
    return pb.VerifyRequest(
        request_id="r",
        prompt=pb.Prompt(tokens=pb.TokenSequence(ids=prompt, tokenizer_fingerprint=fingerprint)),
        draft=pb.Draft(tokens=pb.TokenSequence(ids=draft, tokenizer_fingerprint=fingerprint)),
    )


def test_a_draft_holds_as_far_as_the_greedy_answer(
    serving: Any, engine: TransformersEngine
) -> None:
    draw = random.Random(3)
    cases = []
    for _ in range(60):
        prompt = draw.choices(range(4, 32), k=draw.randint(1, 20))
        answer = engine.generate(Query(tuple(prompt), 20), lambda: None)
        draft = answer.chosen_ids[: draw.randint(1, 20)]
        if draw.random() < 0.5:
            draft[draw.randrange(len(draft))] = draw.randrange(32)
        cases.append((prompt, draft, answer))

    async def main() -> list[pb.VerifyResponse]:
        async with serving(engine) as running:
            return [
                await running.stub.Verify(request_of(engine, prompt, draft))
                for prompt, draft, _ in cases
            ]

    for (prompt, draft, answer), got in zip(cases, asyncio.run(main()), strict=True):
        pairs = list(zip(draft, answer.chosen_ids, strict=False))
        agrees = [one == other for one, other in pairs]
        accepted = agrees.index(False) if False in agrees else len(draft)
        assert got.outcome.accepted_count == got.usage.accepted_draft_tokens == accepted
        if accepted < len(answer.chosen_ids):
            assert got.outcome.correction_id == answer.chosen_ids[accepted]
            assert got.outcome.margin == pytest.approx(answer.margins[accepted], abs=1e-4)
        if accepted and draft[accepted - 1] in engine.info.end_of_sequence_ids:
            assert not got.outcome.HasField("correction_id")
        logprobs = list(got.logprobs)
        assert len(logprobs) == len(draft)
        assert logprobs[:accepted] == pytest.approx(list(answer.logprobs)[:accepted], abs=1e-4)
        assert (got.request_id, got.model) == ("r", engine.info.model)
        assert got.usage.prompt_tokens == len(prompt)


@pytest.mark.parametrize(
    ("prompt", "draft", "fields", "reason", "field"),
    [
        ([4], [], {}, "OPTION_OUT_OF_RANGE", "draft.tokens.ids"),
        ([4], [32], {}, "TOKEN_OUT_OF_RANGE", "draft.tokens.ids[0]"),
        ([40], [5], {}, "TOKEN_OUT_OF_RANGE", "prompt.tokens.ids[0]"),
        ([4] * 20, [5] * 28, {}, "PROMPT_TOO_LONG", "draft.tokens.ids"),
        ([], [5], {}, "PROMPT_EMPTY", "prompt.tokens.ids"),
        ([4], [5], {"start": 2}, "OPTION_OUT_OF_RANGE", "draft.start"),
    ],
)
def test_what_cannot_be_verified_is_refused(
    serving: Any,
    engine: TransformersEngine,
    refused: Any,
    prompt: list[int],
    draft: list[int],
    fields: dict[str, int],
    reason: str,
    field: str,
) -> None:
    request = request_of(engine, prompt, draft)
    for name, value in fields.items():
        setattr(request.draft, name, value)

    async def main() -> Any:
        async with serving(engine) as running:
            return await refused(running.stub.Verify(request))

    refusal = asyncio.run(main())
    assert refusal.code is grpc.StatusCode.INVALID_ARGUMENT
    assert (refusal.reason, refusal.field) == (reason, field)


def test_a_text_that_leaves_the_draft_no_room_is_refused(
    serving: Any, engine: TransformersEngine, refused: Any
) -> None:
    request = request_of(engine, [4], [5] * 10)
    request.prompt.text = "w00 " * 40

    async def main() -> Any:
        async with serving(engine) as running:
            return await refused(running.stub.Verify(request))

    refusal = asyncio.run(main())
    assert (refusal.reason, refusal.field) == ("PROMPT_TOO_LONG", "prompt.text")
    assert "room for 11 tokens, leaves 7" in refusal.message
