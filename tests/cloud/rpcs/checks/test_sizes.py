"""What a client can make large: refused by name, before it is read, in a short and clean status."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from escalade.cloud.access import AccessOptions, Limits
from escalade.cloud.backends import Answer, TopRow
from escalade.cloud.errors import FieldError, PromptTooLongError
from escalade.cloud.rpcs.checks.sizes import check_generate_size
from escalade.cloud.rpcs.checks.unparsed import _fields
from escalade.cloud.rpcs.once.kept import Kept, KeptAnswers, size_of
from escalade.cloud.service import SERVICE_NAME
from escalade.v1 import cascade_pb2 as pb

ANSWER = Answer(
    token_ids=[5, 6],
    logprobs=[-0.5, -1.0],
    margins=[0.1] * 2,
    end_id=None,
    text="a b",
    stop_reason=pb.STOP_REASON_MAX_TOKENS,
    prompt_tokens=2,
    generated_tokens=2,
)
BIG = "x" * 3_000_000
# Fields that this version does not know are kept in a message, whatever is in them.
UNKNOWN = b"\xfa\x3e" + b"\xc0\xc4\x07" + b"z" * 123_456

CASES: dict[str, tuple[Callable[[pb.GenerateRequest], object], str, str]] = {
    "text": (lambda r: setattr(r.prompt, "text", BIG), "prompt.text", "got 3000000 bytes"),
    "text of wide characters": (
        lambda r: setattr(r.prompt, "text", "\U0001d400" * 20_000),
        "prompt.text",
        "at most 65536 bytes (the window of 48 tokens, and the longest of 5 bytes), got 80000",
    ),
    "ids": (
        lambda r: r.prompt.tokens.ids.extend([4] * 900_000), "prompt.tokens.ids", "got 900000 bytes"
    ),
    "request id": (lambda r: setattr(r, "request_id", BIG), "request_id", "got 3000000 bytes"),
    "long request id": (
        lambda r: setattr(r, "request_id", "r" * 257), "request_id", "at most 256 bytes, got 257"
    ),
    "stop text": (
        lambda r: r.stopping.stop_sequences.extend(["a", BIG]),
        "stopping.stop_sequences",
        "got 3000001 bytes",
    ),
    "long stop text": (
        lambda r: r.stopping.stop_sequences.extend(["a", "b" * 1025]),
        "stopping.stop_sequences[1]",
        "at most 1024 bytes, got 1025",
    ),
    "stop texts": (
        lambda r: r.stopping.stop_sequences.extend(["a"] * 1000),
        "stopping.stop_sequences",
        "at most 16, got 1000",
    ),
    "very many stop texts": (
        lambda r: r.stopping.stop_sequences.extend([""] * 1_000_000),
        "stopping.stop_sequences",
        "got 2000000 bytes",
    ),
    "gateway": (lambda r: r.via.append(BIG), "via", "got 3000000 bytes"),
    "gateways": (lambda r: r.via.extend([""] * 1000), "via", "at most 32, got 1000"),
    "very many gateways": (lambda r: r.via.extend([""] * 1_000_000), "via", "got 2000007 bytes"),
    "draft": (
        lambda r: r.draft.tokens.ids.extend([4] * 1000), "draft.tokens.ids", "at most 48, got 1000"
    ),
    "draft's log-probabilities": (
        lambda r: r.draft.logprobs.extend([-1.0] * 1000), "draft.logprobs", "at most 48"
    ),
    "draft's text": (
        lambda r: setattr(r.draft, "text", "d" * 65_537), "draft.text", "at most 65536 bytes"
    ),
    "draft's rule": (lambda r: setattr(r.draft, "rule", BIG), "draft.rule", "got 3000000 bytes"),
    "draft's model": (lambda r: setattr(r.draft.model, "name", BIG), "draft.model.name", "got"),
    "model": (
        lambda r: setattr(r.expected_model, "revision", BIG), "expected_model.revision", "got"
    ),
    "unknown fields": (lambda r: r.MergeFromString(UNKNOWN), "request", "at most 107168 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_query_is_bounded_before_it_is_read(
    serving: Any, held: Any, refused: Any, case: str
) -> None:
    change, field, said = CASES[case]
    read: list[str] = []
    held.encode = read.append

    async def main() -> None:
        async with serving(held) as running:
            request = pb.GenerateRequest(prompt=pb.Prompt(text="w01"))
            change(request)
            calls = [
                running.stub.Generate(request),
                running.stub.GenerateStream(pb.GenerateStreamRequest(request=request)).read(),
            ]
            for call in calls:
                refusal = await refused(call)
                assert refusal.code.name == "INVALID_ARGUMENT"
                assert refusal.field == field
                assert said in refusal.message
                assert len(refusal.message) < 300

    asyncio.run(main())
    assert read == []
    assert held.queries == []


def test_names_are_quoted_short_and_in_one_line(
    serving: Any, engine: Any, refused: Any, score_request: Any
) -> None:
    wild = "\x1b[31mred\n\u202eback" + "n" * 3000

    async def main() -> list[Any]:
        async with serving(engine) as running:
            generate = pb.GenerateRequest(prompt=pb.Prompt(text="w01"))
            generate.expected_model.name = wild
            tokens = pb.GenerateRequest()
            tokens.prompt.tokens.ids.append(4)
            tokens.prompt.tokens.tokenizer_fingerprint = wild
            score, items = score_request([([4], [5])]), score_request([([4], [5])])
            score.expected_model.revision = wild
            items.items[0].response.tokenizer_fingerprint = wild * 100
            return [
                await refused(call)
                for call in (
                    running.stub.Generate(generate),
                    running.stub.Generate(tokens),
                    running.stub.Score(score).read(),
                    running.stub.Score(items).read(),
                )
            ]

    for refusal in asyncio.run(main()):
        assert refusal.code.name == "FAILED_PRECONDITION"
        assert refusal.message.isprintable()
        assert r"'\x1b[31mred\n\u202eback" in refusal.message
        assert "characters)" in refusal.message
        assert len(refusal.message) < 400


def test_items_are_counted_before_they_are_parsed(
    serving: Any, engine: Any, refused: Any, score_request: Any
) -> None:
    many = pb.ScoreRequest()
    many.items.extend([pb.ScoreItem()] * 1_000_000)

    async def main() -> Any:
        async with serving(engine) as running:
            return await refused(running.stub.Score(many).read())

    refusal = asyncio.run(main())
    assert (refusal.field, refusal.message) == ("items", "items: must be 1..4096 items, got more")


@given(st.binary(max_size=60))
def test_what_is_no_message_is_looked_through_to_its_end(raw: bytes) -> None:
    assert sum(len(value) for _, value in _fields(memoryview(raw))) <= len(raw)


@pytest.mark.parametrize("limits", [Limits(), Limits(requests_per_minute=1000)])
@pytest.mark.parametrize("raw", [b"\xff" * 9, b"\x0a\x02\xff\xfe", b"\x0a\xff\xff\xff\x0f"])
@pytest.mark.parametrize("method", ["Generate", "GenerateStream", "Score", "Verify"])
def test_what_is_no_message_is_the_clients_mistake(
    serving: Any,
    held: Any,
    refused: Any,
    caplog: pytest.LogCaptureFixture,
    method: str,
    raw: bytes,
    limits: Limits,
) -> None:
    """With a gate before the methods, and without."""

    async def main() -> Any:
        async with serving(held, access=AccessOptions(limits=limits)) as running:
            ask = running.channel.unary_unary(f"/{SERVICE_NAME}/{method}")
            return await refused(ask(raw))

    refusal = asyncio.run(main())
    assert (refusal.code.name, refusal.field) == ("INVALID_ARGUMENT", "request")
    assert refusal.message.startswith(f"request: must be a message of {method}: ")
    assert not caplog.records


def test_a_score_item_is_named_within_bounds(serving: Any, engine: Any, score_request: Any) -> None:
    async def main() -> str:
        async with serving(engine) as running:
            request = score_request([([4], [5]), ([4], [5])])
            request.items[1].item_id = "i" * 257
            call = running.stub.Score(request)
            try:
                await call.read()
            except Exception:
                return str(await call.details())
            return ""

    assert asyncio.run(main()) == "items[1].item_id: must be at most 256 bytes, got 257"


def test_the_bound_of_a_text_grows_with_window_and_tokens(engine: Any) -> None:
    info = dataclasses.replace(engine.info, context_length=8192, longest_token_bytes=128)
    request = pb.GenerateRequest(prompt=pb.Prompt(text="x" * (8192 * 128)))
    check_generate_size(request, info)
    request.prompt.text += "x"
    with pytest.raises(PromptTooLongError, match="at most 1048576 bytes"):
        check_generate_size(request, info)
    # Every name at its largest, and a draft as long as the window, are still taken.
    request.prompt.text = request.prompt.text[:-1]
    request.request_id = "r" * 256
    request.stopping.stop_sequences.extend(["s" * 1024] * 16)
    request.via.extend(["v" * 256] * 32)
    request.draft.tokens.ids.extend([2**32 - 1] * 8192)
    request.draft.logprobs.extend([-1.5] * 8192)
    check_generate_size(request, info)
    request.via.append("v")
    with pytest.raises(FieldError, match="via: must be at most 32, got 33"):
        check_generate_size(request, info)


def test_kept_answers_are_bounded_in_bytes() -> None:
    def whole(answer: Answer) -> Kept:
        return Kept(answer, answer.text)

    large = whole(replace(ANSWER, text="x" * 100_000))
    kept = KeptAnswers(1000, most_bytes=3 * size_of(large))
    for number in range(5):
        kept.keep(str(number).encode(), large)
    # Kept twice is counted once.
    kept.keep(b"4", large)
    assert [kept.recall(str(number).encode()) is not None for number in range(5)] == [
        False, False, True, True, True,
    ]  # fmt: skip
    kept.keep(b"larger than all", whole(replace(ANSWER, text="x" * 400_000)))
    assert kept.recall(b"larger than all") is None
    small = whole(ANSWER)
    kept.keep(b"small", small)
    assert kept.recall(b"small") is small
    # Rows of likeliest tokens, and a stream that said otherwise, count too.
    row = TopRow(bytes(4 * 20), bytes(4 * 20))
    assert size_of(whole(replace(ANSWER, top=[row] * 100))) > size_of(small) + 100 * 160
    assert size_of(Kept(ANSWER, "y" * 1000)) == size_of(small) + 4000
