"""Drafts over the wire: as text, under a rule, in each mode; what is said of them, and refused."""

from __future__ import annotations

import asyncio
import math
import time
from pathlib import Path
from typing import Any

import pytest

from escalade.cloud.backends.embedded.batched import BatchedBackend
from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.cloud.backends.query import Query
from escalade.v1 import cascade_pb2 as pb

CHOW, V3 = pb.ACCEPTANCE_RULE_CHOW, pb.ACCEPTANCE_RULE_TOKEN_V3


def request_of(engine: TransformersEngine, prompt: list[int], **draft: Any) -> pb.GenerateRequest:
    fingerprint = engine.info.model.tokenizer_fingerprint
    request = pb.GenerateRequest(
        request_id="one",
        prompt=pb.Prompt(tokens=pb.TokenSequence(ids=prompt, tokenizer_fingerprint=fingerprint)),
        stopping=pb.StoppingOptions(max_new_tokens=12),
        output=pb.OutputOptions(logprobs=True),
        draft=pb.Draft(**draft),
    )
    if request.draft.tokens.ids:
        request.draft.tokens.tokenizer_fingerprint = fingerprint
    return request


@pytest.fixture(params=["alone", "together"])
def ask(request: Any, serving: Any, engine: TransformersEngine, tiny_model: Path) -> Any:
    """Asks a real server of either mode, one request after the other."""

    def call(*asked: pb.GenerateRequest) -> list[pb.GenerateResponse]:
        async def main() -> list[pb.GenerateResponse]:
            backend = None
            if request.param == "together":
                backend = BatchedBackend(
                    lambda: TransformersEngine.load(str(tiny_model), threads=1),
                    queue_capacity=9,
                    clock=time.monotonic,
                )
            async with serving(engine, backend=backend) as running:
                return [await running.stub.Generate(one) for one in asked]

        return asyncio.run(main())

    return call


def spoilt(engine: TransformersEngine) -> tuple[list[int], list[int], list[int]]:
    """A prompt, its answer, and a draft whose fourth token is only the second best."""
    for first in range(4, 32):
        answer = engine.generate(Query((first, 9, 11), 12), lambda: None)
        ids = list(answer.chosen_ids)
        [scores] = engine.score([_scored((first, 9, 11), ids)], 2)
        gap = scores.top_logprobs[3, 0] - scores.top_logprobs[3, 1] if len(ids) == 12 else 9
        if gap < 2 and scores.top_ids[3, 1] != 2 and min(answer.margins) > 0.01:
            return [first, 9, 11], ids, [*ids[:3], int(scores.top_ids[3, 1]), *ids[4:]]
    raise AssertionError("the random model has no such prompt; change its seed")


def _scored(prompt: tuple[int, ...], ids: list[int]) -> Any:
    from escalade.cloud.backends.query import ScoreQuery

    return ScoreQuery(prompt, tuple(ids))


def test_a_lenient_answer_is_told_apart_and_is_no_other_requests(
    ask: Any, engine: TransformersEngine
) -> None:
    prompt, ids, draft = spoilt(engine)
    tokens = pb.TokenSequence(ids=draft)
    exact, lenient, zero = ask(
        request_of(engine, prompt, tokens=tokens),
        request_of(engine, prompt, tokens=tokens, acceptance=pb.Acceptance(rule=V3, alpha=0.9)),
        request_of(engine, prompt, tokens=tokens, acceptance=pb.Acceptance(rule=V3)),
    )
    assert list(exact.token_ids) == list(zero.token_ids) == ids
    for one in (exact, zero):
        assert one.draft_outcome.accepted_count == one.usage.accepted_draft_tokens == 3
        assert one.draft_outcome.correction_id == ids[3]
        assert one.draft_outcome.margin > 0
        assert one.draft_outcome.draft_count == 12
        assert not one.draft_outcome.HasField("acceptance")
    assert list(lenient.token_ids)[:4] == draft[:4]
    outcome = lenient.draft_outcome
    assert outcome.acceptance == pb.Acceptance(rule=V3, alpha=0.9)
    assert outcome.accepted_count >= 4
    assert outcome.lenient_count >= 1
    assert lenient.usage.accepted_draft_tokens == outcome.accepted_count - outcome.lenient_count
    # Log-probabilities are the large model's own of what stands.
    [scores] = engine.score([_scored(tuple(prompt), list(lenient.token_ids))], 0)
    assert list(lenient.logprobs) == pytest.approx(scores.response_logprobs.tolist(), abs=1e-3)


def test_a_text_is_tokenized_only_where_it_is_sent_as_text(
    ask: Any, engine: TransformersEngine
) -> None:
    prompt, ids, _ = spoilt(engine)
    text = engine.decode(ids)
    as_text, other = ask(
        request_of(engine, prompt, text=text), request_of(engine, prompt, text="w00 nonsense")
    )
    assert list(as_text.token_ids) == list(other.token_ids) == ids
    assert as_text.draft_outcome.draft_count == 12
    assert as_text.draft_outcome.accepted_count == 12
    assert other.draft_outcome.draft_count == 2


@pytest.mark.parametrize(
    ("draft", "field"),
    [
        ({"tokens": pb.TokenSequence(ids=[4]), "text": "w00"}, "draft.text"),
        (
            {
                "tokens": pb.TokenSequence(ids=[4, 5]),
                "logprobs": [-0.1],
                "acceptance": pb.Acceptance(rule=CHOW, alpha=0.1),
            },
            "draft.logprobs",
        ),
        (
            {
                "tokens": pb.TokenSequence(ids=[4, 5]),
                "logprobs": [-0.1, math.nan],
                "acceptance": pb.Acceptance(rule=CHOW, alpha=0.1),
            },
            "draft.logprobs[1]",
        ),
        ({"text": "w00", "acceptance": pb.Acceptance(rule=CHOW, alpha=0.1)}, "draft.logprobs"),
        (
            {
                "tokens": pb.TokenSequence(ids=[4]),
                "start": 2,
                "acceptance": pb.Acceptance(rule=V3, alpha=0.1),
            },
            "draft.start",
        ),
    ],
)
def test_a_draft_that_cannot_be_judged_is_refused(
    serving: Any, engine: TransformersEngine, refused: Any, draft: dict[str, Any], field: str
) -> None:
    async def main() -> Any:
        async with serving(engine) as running:
            return await refused(running.stub.Generate(request_of(engine, [4], **draft)))

    refusal = asyncio.run(main())
    assert (refusal.reason, refusal.field) == ("OPTION_OUT_OF_RANGE", field)
