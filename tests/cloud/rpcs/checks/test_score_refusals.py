"""Every way in which a request to score is refused, and that none reaches the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc

from escalade.cloud.rpcs.checks.sizes import MAX_SCORE_ITEMS
from escalade.v1 import cascade_pb2 as pb

INVALID = grpc.StatusCode.INVALID_ARGUMENT
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION

Change = Callable[[pb.ScoreRequest], object]


def ids_of(part: str, ids: list[int]) -> Change:
    """Give the second item other ids."""

    def change(request: pb.ScoreRequest) -> None:
        tokens = getattr(request.items[1], part)
        del tokens.ids[:]
        tokens.ids.extend(ids)

    return change


def fingerprint_of(part: str, fingerprint: str) -> Change:
    def change(request: pb.ScoreRequest) -> None:
        getattr(request.items[1], part).tokenizer_fingerprint = fingerprint

    return change


def many_items(request: pb.ScoreRequest) -> None:
    request.items.extend([request.items[0]] * (MAX_SCORE_ITEMS - 1))


# The request has two good items; the tiny model has 32 tokens and a context of 48.
CASES: dict[str, tuple[Change, grpc.StatusCode, str, str, str]] = {
    "no items": (
        lambda r: r.ClearField("items"), INVALID, "OPTION_OUT_OF_RANGE", "items",
        "must be 1..4096 items, got 0",
    ),
    "many items": (
        many_items, INVALID, "OPTION_OUT_OF_RANGE", "items", "must be 1..4096 items, got more",
    ),
    "top_k": (
        lambda r: setattr(r, "top_k", 33), INVALID, "OPTION_OUT_OF_RANGE", "top_k",
        "must be in 0..32, got 33",
    ),
    "resume past the end": (
        lambda r: setattr(r, "resume_from", 3), INVALID, "OPTION_OUT_OF_RANGE", "resume_from",
        "must be in 0..2, got 3",
    ),
    "no prompt": (
        ids_of("prompt", []), INVALID, "PROMPT_EMPTY", "items[1].prompt.ids",
        "must hold at least 1 token, got 0",
    ),
    "no response": (
        ids_of("response", []), INVALID, "OPTION_OUT_OF_RANGE", "items[1].response.ids",
        "must hold at least 1 token, got 0",
    ),
    "long prompt": (
        ids_of("prompt", [4] * 48), INVALID, "PROMPT_TOO_LONG", "items[1].prompt.ids",
        "must hold 1..47 tokens, got 48",
    ),
    "long together": (
        ids_of("response", [4] * 47), INVALID, "PROMPT_TOO_LONG", "items[1].response.ids",
        "must hold 1..46 tokens after a prompt of 2, got 47",
    ),
    "unknown id in the prompt": (
        ids_of("prompt", [4, 32]), INVALID, "TOKEN_OUT_OF_RANGE", "items[1].prompt.ids[1]",
        "must be in 0..31, got 32",
    ),
    "unknown id in the response": (
        ids_of("response", [99]), INVALID, "TOKEN_OUT_OF_RANGE", "items[1].response.ids[0]",
        "must be in 0..31, got 99",
    ),
    "prompt of another tokenizer": (
        fingerprint_of("prompt", "0" * 64), PRECONDITION, "TOKENIZER_MISMATCH", "",
        "items[1].prompt.tokenizer_fingerprint: this server has",
    ),
    "response of no tokenizer": (
        fingerprint_of("response", ""), PRECONDITION, "TOKENIZER_MISMATCH", "",
        "items[1].response.tokenizer_fingerprint: this server has",
    ),
    "expects another tokenizer": (
        lambda r: setattr(r.expected_model, "tokenizer_fingerprint", "0" * 64),
        PRECONDITION, "TOKENIZER_MISMATCH", "", "expected_model.tokenizer_fingerprint",
    ),
    "expects another revision": (
        lambda r: setattr(r.expected_model, "revision", "0" * 64),
        PRECONDITION, "MODEL_MISMATCH", "", "expected_model.revision",
    ),
}  # fmt: skip


def test_each_refusal_names_code_reason_field_and_range(
    serving: Any, held: Any, score_request: Any, refused: Any
) -> None:
    async def main() -> dict[str, Any]:
        async with serving(held) as running:
            refusals = {}
            for name, (change, *_) in CASES.items():
                request = score_request([([4, 1], [5, 6]), ([7, 1], [8])])
                change(request)
                refusals[name] = await refused(running.stub.Score(request).read())
            return refusals

    refusals = asyncio.run(main())
    got = {name: (r.code, r.reason, r.field) for name, r in refusals.items()}
    assert got == {name: case[1:4] for name, case in CASES.items()}
    for name, refusal in refusals.items():
        assert CASES[name][4] in refusal.message
    assert not held.batches, "a refused request reached the engine"


def test_the_bounds_themselves_are_taken(serving: Any, engine: Any, score_request: Any) -> None:
    most = [([4], [5])] * (MAX_SCORE_ITEMS - 1) + [([31], [31] * 47)]
    request = score_request(most, top_k=engine.info.max_top_k)
    request.expected_model.CopyFrom(engine.info.model)

    async def main() -> pb.ScoreResponse:
        async with serving(engine) as running:
            async for message in running.stub.Score(request):
                last = message
            return last

    assert asyncio.run(main()).final.items == MAX_SCORE_ITEMS
