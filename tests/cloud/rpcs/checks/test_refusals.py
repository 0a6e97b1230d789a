"""Every refusal: its gRPC code, its stable reason and the field it names."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import grpc
import pytest

from escalade.cloud import errors
from escalade.cloud.rpcs.status import CATALOGUE, status_of
from escalade.v1 import cascade_pb2 as pb

INVALID = grpc.StatusCode.INVALID_ARGUMENT
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
# A reason in the proto, and the code that its comment begins with.
ROW = re.compile(r"^  // ([A-Z_]+): .*\n  (ERROR_REASON_[A-Z_]+) =", re.M)
PROTO = Path(__file__).parents[4] / "protos" / "escalade" / "v1" / "cascade.proto"


def _request(fingerprint: str, change: Any) -> pb.GenerateRequest:
    tokens = pb.TokenSequence(ids=[4, 5, 1], tokenizer_fingerprint=fingerprint)
    request = pb.GenerateRequest(prompt=pb.Prompt(tokens=tokens))
    change(request)
    return request


def _set(path: str, value: Any) -> Any:
    def change(request: pb.GenerateRequest) -> None:
        *parents, last = path.split(".")
        target = request
        for parent in parents:
            target = getattr(target, parent)
        if isinstance(value, list):
            del getattr(target, last)[:]
            getattr(target, last).extend(value)
        else:
            setattr(target, last, value)

    return change


def _sampling(**options: float) -> Any:
    def change(request: pb.GenerateRequest) -> None:
        request.sampling.CopyFrom(pb.SamplingOptions(**options))  # type: ignore[arg-type]

    return change


INF, NAN = float("inf"), float("nan")

CASES = {
    "no prompt": (lambda r: r.ClearField("prompt"), INVALID, "PROMPT_EMPTY", "prompt"),
    "empty text": (_set("prompt.text", ""), INVALID, "PROMPT_EMPTY", "prompt"),
    "no ids": (_set("prompt.tokens.ids", []), INVALID, "PROMPT_EMPTY", "prompt.tokens.ids"),
    "long ids": (
        _set("prompt.tokens.ids", [4] * 48),
        INVALID,
        "PROMPT_TOO_LONG",
        "prompt.tokens.ids",
    ),
    "long text": (_set("prompt.text", "w01 " * 47), INVALID, "PROMPT_TOO_LONG", "prompt.text"),
    "unknown id": (
        _set("prompt.tokens.ids", [4, 31, 32]),
        INVALID,
        "TOKEN_OUT_OF_RANGE",
        "prompt.tokens.ids[2]",
    ),
    "no new tokens": (
        _set("stopping.max_new_tokens", 0),
        INVALID,
        "OPTION_OUT_OF_RANGE",
        "stopping.max_new_tokens",
    ),
    "too many new tokens": (
        _set("stopping.max_new_tokens", 48),
        INVALID,
        "OPTION_OUT_OF_RANGE",
        "stopping.max_new_tokens",
    ),
    "empty stop sequence": (
        _set("stopping.stop_sequences", ["a", ""]),
        INVALID,
        "OPTION_OUT_OF_RANGE",
        "stopping.stop_sequences[1]",
    ),
    "many stop sequences": (
        _set("stopping.stop_sequences", ["a"] * 17),
        INVALID,
        "OPTION_OUT_OF_RANGE",
        "stopping.stop_sequences",
    ),
    **{
        f"{name}: {options}": (
            _sampling(**options),
            INVALID,
            "OPTION_OUT_OF_RANGE",
            f"sampling.{name}",
        )
        for name, options in [
            *(("temperature", {"temperature": value}) for value in (-0.1, INF, -INF, NAN)),
            *(
                ("top_p", {"temperature": 1.0, "top_p": value})
                for value in (0.0, -0.5, 1.01, INF, NAN)
            ),
            # Without a temperature, or at 0, it is greedy: what only drawing knows contradicts it.
            ("top_p", {"top_p": 0.9}),
            ("top_k", {"top_k": 5}),
            ("top_p", {"temperature": 0.0, "top_p": 0.9, "seed": 1}),
            ("top_k", {"temperature": 0.0, "top_k": 5}),
        ]
    },
    "more top log-probabilities than there are": (
        _set("output.top_logprobs", 21),
        INVALID,
        "OPTION_OUT_OF_RANGE",
        "output.top_logprobs",
    ),
    "unknown priority": (_set("priority", 3), INVALID, "OPTION_OUT_OF_RANGE", "priority"),
    "prompt of another tokenizer": (
        _set("prompt.tokens.tokenizer_fingerprint", "0" * 64),
        PRECONDITION,
        "TOKENIZER_MISMATCH",
        "",
    ),
    "prompt of no tokenizer": (
        _set("prompt.tokens.tokenizer_fingerprint", ""),
        PRECONDITION,
        "TOKENIZER_MISMATCH",
        "",
    ),
    "draft of another tokenizer": (
        _set("draft.tokens.ids", [4]),
        PRECONDITION,
        "TOKENIZER_MISMATCH",
        "",
    ),
    "alpha of no rule": (
        _set("draft.acceptance.alpha", 0.5),
        INVALID,
        "OPTION_OUT_OF_RANGE",
        "draft.acceptance.rule",
    ),
    "draft of a rule unknown": (
        _set("draft.acceptance.rule", 99),
        INVALID,
        "OPTION_OUT_OF_RANGE",
        "draft.acceptance.rule",
    ),
    "alpha above 1": (
        _set("draft.acceptance.alpha", 1.5),
        INVALID,
        "OPTION_OUT_OF_RANGE",
        "draft.acceptance.alpha",
    ),
    "alpha NaN": (
        _set("draft.acceptance.alpha", float("nan")),
        INVALID,
        "OPTION_OUT_OF_RANGE",
        "draft.acceptance.alpha",
    ),
    "expects another tokenizer": (
        _set("expected_model.tokenizer_fingerprint", "0" * 64),
        PRECONDITION,
        "TOKENIZER_MISMATCH",
        "",
    ),
    "expects another name": (
        _set("expected_model.name", "other"),
        PRECONDITION,
        "MODEL_MISMATCH",
        "",
    ),
    "expects another revision": (
        _set("expected_model.revision", "0" * 64),
        PRECONDITION,
        "MODEL_MISMATCH",
        "",
    ),
}


def test_each_refusal_names_code_reason_and_field(serving: Any, held: Any, refused: Any) -> None:
    fingerprint = held.info.model.tokenizer_fingerprint

    async def main() -> dict[str, Any]:
        async with serving(held) as running:
            return {
                name: await refused(running.stub.Generate(_request(fingerprint, case[0])))
                for name, case in CASES.items()
            }

    refusals = asyncio.run(main())
    got = {name: (r.code, r.reason, r.field) for name, r in refusals.items()}
    assert got == {name: case[1:] for name, case in CASES.items()}
    assert not held.queries, "a refused request reached the engine"
    contradiction = refusals["top_p: {'top_p': 0.9}"].message
    assert contradiction == "sampling.top_p: must be 1 at temperature 0 (greedy), got 0.9"
    assert "1..47, got 48" in refusals["too many new tokens"].message


def test_what_means_greedy_is_taken(serving: Any, engine: Any) -> None:
    greedy = pb.SamplingOptions(temperature=0, top_p=1, top_k=1, seed=3)
    info = engine.info
    expected = info.model

    async def main() -> tuple[pb.GenerateResponse, pb.GenerateResponse]:
        async with serving(engine) as running:
            request = pb.GenerateRequest(prompt=pb.Prompt(text="w01"))
            plain = await running.stub.Generate(request)
            request.sampling.CopyFrom(greedy)
            request.expected_model.CopyFrom(expected)
            return plain, await running.stub.Generate(request)

    plain, explicit = asyncio.run(main())
    assert plain.token_ids == explicit.token_ids


def test_catalogue_is_whole_and_is_the_protos() -> None:
    leaves, kinds = set(), [errors.RequestError]
    while kinds:
        kind = kinds.pop()
        kinds.extend(kind.__subclasses__())
        if not kind.__subclasses__():
            leaves.add(kind)
    assert set(CATALOGUE) == leaves
    documented = {
        (pb.ErrorReason.Value(reason), code) for code, reason in ROW.findall(PROTO.read_text())
    }
    served = {(entry.reason, entry.code.name) for entry in CATALOGUE.values()}
    assert documented == served
    assert {reason for reason, _ in served} == {*pb.ErrorReason.values()} - {0}


@pytest.mark.parametrize("delay_s", [0.25, 3.0])
def test_queue_full_carries_its_delay(delay_s: float) -> None:
    status = status_of(errors.QueueFullError("queue: full", delay_s))
    assert [detail.TypeName() for detail in status.details] == [
        "google.rpc.ErrorInfo",
        "google.rpc.RetryInfo",
    ]
