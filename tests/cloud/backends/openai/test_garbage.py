"""A server that answers garbage, late, too much or not at all: the right status, and it goes on."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from completions import STREAM_HEAD, Misbehave, event, http

from escalade.v1 import cascade_pb2 as pb

#: Stands in whatever the server says, and in nothing that a client is told.
SECRET = "hunter2"  # noqa: S105
HUGE = 1 << 30
MB = b"x" * (1 << 20)

DEAD = (grpc.StatusCode.UNAVAILABLE, "ENGINE_DEAD")
FULL = (grpc.StatusCode.RESOURCE_EXHAUSTED, "QUEUE_FULL")
MISSING = (grpc.StatusCode.UNIMPLEMENTED, "NOT_SUPPORTED")
OPTION = (grpc.StatusCode.INVALID_ARGUMENT, "OPTION_OUT_OF_RANGE")
TOO_LONG = (grpc.StatusCode.INVALID_ARGUMENT, "PROMPT_TOO_LONG")


def raw(*parts: bytes) -> Misbehave:
    async def send(writer: asyncio.StreamWriter) -> None:
        writer.writelines(parts)

    return send


def saying(**choice: Any) -> dict[str, Any]:
    """A completion of two tokens that is right but for what is given."""
    logprobs = {
        "token_logprobs": [-1.0, -2.0],
        "top_logprobs": [{"token_id:5": -1.0, "token_id:6": -3.0}, {"token_id:6": -2.0}],
    }
    right = {"text": SECRET, "finish_reason": "length", "token_ids": [5, 6], "logprobs": logprobs}
    return {"choices": [{**right, **choice}], "usage": {"prompt_tokens": 2}}


def whole(content: object) -> Misbehave:
    return raw(http(json.dumps(content).encode()))


def scored(own: object, top: object = None) -> Misbehave:
    return whole(saying(logprobs={"token_logprobs": own, "top_logprobs": top}))


def status(code: int, *headers: str, message: str = SECRET) -> Misbehave:
    body = json.dumps({"error": {"message": message}}).encode()
    return raw(http(body, f"{code} STATUS", *headers))


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(f"HTTP/1.1 200 OK\r\ncontent-length: {HUGE}\r\n\r\n".encode())
    for sent in range(HUGE // len(MB)):
        assert sent < 64, "nobody ended it"
        writer.write(MB)
        await writer.drain()


def stream(*events: object, done: bool = True) -> Misbehave:
    parts = [one if isinstance(one, bytes) else event(one) for one in events]
    return raw(STREAM_HEAD, *parts, b"data: [DONE]\n\n" if done else b"")


def flood(one: bytes) -> Misbehave:
    async def send(writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD)
        for sent in range(HUGE // len(one)):
            assert sent * len(one) < 64 << 20, "nobody ended it"
            writer.write(one)
            await writer.drain()

    return send


EITHER: dict[str, tuple[Misbehave, Any]] = {
    "HTML": (raw(http(f"<html>{SECRET}</html>".encode())), DEAD),
    "nothing": (raw(), DEAD),
    "an empty body": (raw(http(b"")), DEAD),
    "no HTTP": (raw(b"\x00\x01\xff" + SECRET.encode()), DEAD),
    "half a header": (raw(b"HTTP/1.1 200 OK\r\ncontent-le"), DEAD),
    "less than it says": (raw(http(b"{" * 100)[:-50]), DEAD),
    "compressed unasked": (
        raw(http(gzip.compress(MB * 64), "200 OK", "content-encoding: gzip")),
        DEAD,
    ),
    "1 GB": (endless, DEAD),
    "500": (status(500), DEAD),
    "502 in HTML": (raw(http(f"<html>{SECRET}</html>".encode(), "502 BAD")), DEAD),
    "401": (status(401), DEAD),
    "403": (status(403), DEAD),
    "404": (status(404), DEAD),
    "a redirect": (status(307, "location: http://127.0.0.1:1/v1/completions"), DEAD),
    "304": (raw(b"HTTP/1.1 304 NOT MODIFIED\r\nconnection: close\r\n\r\n"), DEAD),
    "429": (status(429, "retry-after: 7"), (*FULL, 7.0)),
    "503": (status(503), (*FULL, 1.0)),
    "503 at a date": (status(503, "retry-after: Fri, 07 Nov 2036 23:59:59 GMT"), (*FULL, 1.0)),
    "503 for ever": (status(503, "retry-after: 99999999999999999999"), (*FULL, 3600.0)),
    "503 for less than none": (status(503, "retry-after: -5"), (*FULL, 1.0)),
    "400": (status(400), OPTION),
    "422": (status(422), OPTION),
    "400, too long": (
        status(400, message=f"{SECRET} maximum context length is 4 tokens"),
        TOO_LONG,
    ),
    "413": (status(413), TOO_LONG),
}

WHOLE: dict[str, tuple[Misbehave, Any]] = {
    "half a JSON": (raw(http(json.dumps(saying()).encode()[:-9])), DEAD),
    "no UTF-8": (raw(http(b'{"choices": [{"text": "\xff\xfe"}]}')), DEAD),
    "a deep JSON": (raw(http(b'{"choices": ' + b"[" * 50_000)), DEAD),
    "another JSON": (whole({"error": {"message": SECRET}}), DEAD),
    "a list": (whole([saying()]), DEAD),
    "no choice": (whole({"choices": []}), DEAD),
    "two choices": (whole({"choices": saying()["choices"] * 2}), DEAD),
    "fewer ids than tokens": (whole({**saying(), "usage": {"completion_tokens": 3}}), MISSING),
    "more ids than tokens": (whole({**saying(), "usage": {"completion_tokens": 1}}), MISSING),
    "no ids": (whole(saying(token_ids=None)), DEAD),
    "an id outside": (whole(saying(token_ids=[5, 32])), DEAD),
    "an id below 0": (whole(saying(token_ids=[5, -1])), DEAD),
    "an id that is none": (whole(saying(token_ids=[5, 0.5])), DEAD),
    "an id of 80 bits": (whole(saying(token_ids=[5, 1 << 80])), DEAD),
    "more tokens": (whole(saying(token_ids=[5] * 9)), DEAD),
    "fewer scores": (scored([-1.0]), DEAD),
    "no scores": (whole(saying(logprobs=None)), DEAD),
    "a score of nothing": (scored([-1.0, None]), DEAD),
    "a positive score": (scored([-1.0, 0.5]), DEAD),
    "a positive second best": (scored([-1.0, -1.0], [{"a": 3.0, "b": -1.0}] * 2), DEAD),
    "NaN": (scored([-1.0, float("nan")]), DEAD),
    "minus infinity": (scored([-1.0, float("-inf")]), DEAD),
    "a score of 400 digits": (raw(http(b'{"choices":[{"a":-1' + b"0" * 400 + b"}]}")), DEAD),
    "another finish": (whole(saying(finish_reason="content_filter")), DEAD),
    "an abort": (whole(saying(finish_reason="abort")), DEAD),
    "no finish": (whole(saying(finish_reason=None)), DEAD),
}

GOOD = saying()["choices"][0]
GOOD_PIECE = {"choices": [{**GOOD, "finish_reason": None}]}

STREAM: dict[str, tuple[Misbehave, Any]] = {
    "a body in place of a stream": (whole(saying()), DEAD),
    "a stream of nothing": (stream(), DEAD),
    "an end in the middle": (stream(GOOD_PIECE, done=False), DEAD),
    "done in the middle": (stream(GOOD_PIECE), DEAD),
    "half an event": (stream(GOOD_PIECE, event(saying())[:-20], done=False), DEAD),
    "an event of half a JSON": (stream(b"data: {\n\n"), DEAD),
    "an error in the middle": (stream(GOOD_PIECE, {"error": {"message": SECRET}}), DEAD),
    "fewer ids than tokens": (
        stream(saying(), {"choices": [], "usage": {"completion_tokens": 3}}),
        MISSING,
    ),
    "more after the end": (stream(saying(), saying()), DEAD),
    "more than was asked for": (stream(*[GOOD_PIECE] * 9), DEAD),
    "text without ids": (stream({"choices": [{"text": SECRET}]}), DEAD),
    "a chunk that breaks off": (
        raw(
            STREAM_HEAD.replace(b"\r\n\r\n", b"\r\ntransfer-encoding: chunked\r\n\r\n"), b"ff\r\nd"
        ),
        DEAD,
    ),
    "an event without an end": (flood(b"data: " + MB), DEAD),
    "events without an end": (flood(event({"choices": []}) * 1000), DEAD),
}


async def check(
    running: Any, server: Any, refused: Any, call: Callable[[], Any], table: Any
) -> None:
    wanted = await call()
    for name, (misbehave, expected) in table.items():
        server.misbehave = misbehave
        refusal = await refused(call())
        code, reason, *retry = expected
        assert (refusal.code, refusal.reason) == (code, reason), (name, refusal)
        if retry:
            assert refusal.retry_delay_s == retry[0], name
        assert SECRET not in refusal.message, name
        assert "Traceback" not in refusal.message, name
        assert len(refusal.message) < 200, name
        server.misbehave = None
        assert await call() == wanted, name


def request_of(engine: Any) -> pb.GenerateRequest:
    return pb.GenerateRequest(
        prompt=pb.Prompt(
            tokens=pb.TokenSequence(
                ids=(4, 1), tokenizer_fingerprint=engine.info.model.tokenizer_fingerprint
            )
        ),
        stopping=pb.StoppingOptions(max_new_tokens=4),
        output=pb.OutputOptions(logprobs=True),
    )


def test_whole_answers(paired: Any, serving: Any, engine: Any, refused: Any) -> None:
    async def main() -> None:
        async with paired(load=False) as (backend, server), serving(backend=backend) as running:

            async def call() -> list[int]:
                return list((await running.stub.Generate(request_of(engine))).token_ids)

            await check(running, server, refused, call, EITHER | WHOLE)

    asyncio.run(main())


def test_streams(paired: Any, serving: Any, engine: Any, refused: Any) -> None:
    async def main() -> None:
        async with paired(load=False) as (backend, server), serving(backend=backend) as running:

            async def call() -> list[int]:
                asked = pb.GenerateStreamRequest(request=request_of(engine))
                pieces = [one async for one in running.stub.GenerateStream(asked)]
                return list(pieces[-1].final.token_ids)

            await check(running, server, refused, call, EITHER | STREAM)

    asyncio.run(main())


def of_prompt(rows: object, **choice: Any) -> Misbehave:
    return whole(saying(prompt_logprobs=rows, token_ids=[5], **choice))


def entry(**scores: float) -> dict[str, Any]:
    return {name.removeprefix("t"): {"logprob": score} for name, score in scores.items()}


# Of the text 4 1 5 6, whose last two are scored, with the best two of each.
ROWS = [None, entry(t1=-1.0, t2=-2.0), entry(t5=-1.0, t2=-2.0), entry(t6=-1.0, t2=-2.0)]
ONE = {"token_logprobs": [-1.0], "top_logprobs": [{"a": -1.0, "b": -2.0}]}

SCORES: dict[str, tuple[Misbehave, Any]] = {
    "no rows": (of_prompt(None, logprobs=ONE), DEAD),
    "fewer rows": (of_prompt(ROWS[:-1], logprobs=ONE), DEAD),
    "a row of nothing": (of_prompt([*ROWS[:-1], None], logprobs=ONE), DEAD),
    "a row without the token": (of_prompt([*ROWS[:-1], entry(t1=-1.0)], logprobs=ONE), DEAD),
    "a row without the second": (of_prompt([*ROWS[:-1], entry(t6=-1.0)], logprobs=ONE), DEAD),
    "an id outside": (of_prompt([*ROWS[:-1], entry(t6=-1.0, t99=-2.0)], logprobs=ONE), DEAD),
    "an id below 0": (
        of_prompt([*ROWS[:-1], {"6": {"logprob": -1.0}, "-1": {"logprob": -1.0}}], logprobs=ONE),
        DEAD,
    ),
    "an id that is none": (
        of_prompt([*ROWS[:-1], {"six": {"logprob": -1.0}}], logprobs=ONE),
        DEAD,
    ),
    "a positive score": (of_prompt([*ROWS[:-1], entry(t6=1.0, t2=-2.0)], logprobs=ONE), DEAD),
}


def test_scores_and_verdicts(paired: Any, serving: Any, engine: Any, refused: Any) -> None:
    fingerprint = engine.info.model.tokenizer_fingerprint

    def tokens(*ids: int) -> pb.TokenSequence:
        return pb.TokenSequence(ids=ids, tokenizer_fingerprint=fingerprint)

    async def main() -> None:
        async with paired(load=False) as (backend, server), serving(backend=backend) as running:

            async def score() -> bytes:
                items = [pb.ScoreItem(prompt=tokens(4, 1), response=tokens(5, 6))]
                asked = pb.ScoreRequest(items=items, top_k=2)
                said, *_ = [one async for one in running.stub.Score(asked)]
                data: bytes = said.chunk.argmax.data
                return data

            async def verify() -> int:
                asked = pb.VerifyRequest(
                    prompt=pb.Prompt(tokens=tokens(4, 1)), draft=pb.Draft(tokens=tokens(5, 6))
                )
                return (await running.stub.Verify(asked)).outcome.correction_id

            for call in (score, verify):
                await check(running, server, refused, call, SCORES)
            # That they are refused for what is wrong in them: with nothing wrong they are taken.
            server.misbehave = of_prompt(ROWS, logprobs=ONE)
            assert await score() == b"\5\0\0\0\6\0\0\0"
            assert await verify() == 5

    asyncio.run(main())


@pytest.mark.parametrize("chat", [False, True])
def test_answers_in_text(paired: Any, serving: Any, refused: Any, chat: bool) -> None:
    request = pb.GenerateRequest(
        prompt=pb.Prompt(text="w03"), stopping=pb.StoppingOptions(max_new_tokens=4)
    )

    async def main() -> None:
        offers = {"ids": False, "chat": chat}
        async with (
            paired(load=False, in_text=True, offers=offers) as (backend, server),
            serving(backend=backend) as running,
        ):

            async def call() -> str:
                return str((await running.stub.Generate(request)).text)

            table = {name: WHOLE[name] for name in ("half a JSON", "two choices", "an abort")}
            await check(running, server, refused, call, EITHER | table)
            tokens = pb.TokenSequence(ids=[4, 1])
            asked = pb.GenerateRequest(prompt=pb.Prompt(tokens=tokens))
            refusal = await refused(running.stub.Generate(asked))
            assert refusal.reason == "TOKENIZER_MISMATCH"
            refusal = await refused(running.stub.Verify(pb.VerifyRequest()))
            assert refusal.reason == "NOT_SUPPORTED"

    asyncio.run(main())
