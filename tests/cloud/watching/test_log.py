"""Lines of JSON: one a request, no text unless asked for; a traceback once, never on the wire."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import sys
import warnings
from datetime import datetime
from typing import Any

import grpc
import grpc.aio
import pytest

from escalade.cloud.watching import WatchOptions, json_lines
from escalade.v1 import cascade_pb2 as pb

PRIVATE = "w05 w06 w07"
Lines = list[dict[str, Any]]


def ask(text: str = PRIVATE, **fields: Any) -> pb.GenerateRequest:
    return pb.GenerateRequest(prompt=pb.Prompt(text=text), **fields)


def logged(
    capsys: pytest.CaptureFixture[str],
    serving: Any,
    calls: Any,
    *given: Any,
    log_text: bool = False,
    **options: Any,
) -> Lines:
    """What a server logs while `calls(stub)` runs."""

    async def main() -> None:
        watch = WatchOptions(log_requests=True, log_text=log_text)
        async with serving(*given, watch=watch, **options) as running:
            await calls(running.stub)

    capsys.readouterr()
    with json_lines():
        asyncio.run(main())
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_request_is_one_line(
    capsys: pytest.CaptureFixture[str], serving: Any, engine: Any
) -> None:
    answers: list[pb.GenerateResponse] = []

    async def calls(stub: Any) -> None:
        answers.append(await stub.Generate(ask(request_id='a\nb"\N{LINE SEPARATOR}')))
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.Generate(ask(""))

    whole, refused = logged(capsys, serving, calls, engine)
    [answer] = answers
    assert datetime.fromisoformat(whole.pop("time")).tzinfo is not None
    assert 0 < whole.pop("seconds") < 60
    assert whole == {
        "level": "INFO",
        "logger": "escalade.cloud.watching.log",
        "message": "request",
        "rpc": "Generate",
        "request_id": 'a\nb"\N{LINE SEPARATOR}',
        "client": "127.0.0.1",
        "model": "tiny",
        "code": "OK",
        "reason": "",
        "prompt_tokens": answer.usage.prompt_tokens,
        "generated_tokens": answer.usage.generated_tokens,
        "queue_seconds": round(answer.timing.queue_s, 6),
    }
    assert (refused["code"], refused["reason"]) == ("INVALID_ARGUMENT", "PROMPT_EMPTY")
    assert "prompt_tokens" not in refused


def test_what_is_refused_fills_no_disk(
    capsys: pytest.CaptureFixture[str], serving: Any, engine: Any
) -> None:
    async def calls(stub: Any) -> None:
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.Score(pb.ScoreRequest(request_id="\n" * 3_000_000)).read()

    [line] = logged(capsys, serving, calls, engine)
    assert line["reason"] == "OPTION_OUT_OF_RANGE"
    assert len(json.dumps(line)) < 1000


def test_texts_are_logged_when_asked_for(
    capsys: pytest.CaptureFixture[str], serving: Any, engine: Any
) -> None:
    answers: list[pb.GenerateResponse] = []

    async def calls(stub: Any) -> None:
        answers.append(await stub.Generate(ask()))
        async for _ in stub.GenerateStream(pb.GenerateStreamRequest(request=ask())):
            pass
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.Generate(ask(expected_model=pb.ModelIdentity(name="another")))

    silent = logged(capsys, serving, calls, engine)
    assert len(silent) == 3
    for text in (PRIVATE, answers[0].text):
        assert text
        assert not any(text in str(value) for line in silent for value in line.values())
    told = logged(capsys, serving, calls, engine, log_text=True)
    assert [line["prompt"] for line in told] == [PRIVATE] * 3
    assert [line.get("answer") for line in told] == [answers[0].text] * 2 + [None]


def test_a_defect_is_logged_once_whoever_waits_for_it(
    capsys: pytest.CaptureFixture[str], serving: Any, said: Any
) -> None:
    backend = said()
    backend.error = ZeroDivisionError(f"the prompt was {PRIVATE}")

    async def calls(stub: Any) -> None:
        same = [stub.Generate(ask(request_id="same"), timeout=60) for _ in range(5)]
        for failed in await asyncio.gather(*same, return_exceptions=True):
            assert failed.code() is grpc.StatusCode.INTERNAL
            assert failed.details() == "server: internal error"
            assert "Traceback" not in str(failed.trailing_metadata())

    lines = logged(capsys, serving, calls, backend=backend)
    [defect] = [line for line in lines if "exception" in line]
    assert defect["level"] == "ERROR"
    assert defect["exception"].startswith("Traceback")
    assert "ZeroDivisionError" in defect["exception"]
    requests = [line for line in lines if line["message"] == "request"]
    assert [line["code"] for line in requests] == ["INTERNAL"] * 5


def test_an_engine_that_fails_is_logged_once(
    capsys: pytest.CaptureFixture[str], serving: Any, held: Any
) -> None:
    held.error = ZeroDivisionError("engine")

    async def calls(stub: Any) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as failure:
            await stub.Generate(ask())
        assert "Traceback" not in str(failure.value.details())

    failed, request = logged(capsys, serving, calls, held)
    assert "ZeroDivisionError" in failed["exception"]
    assert (request["code"], request["reason"]) == ("UNAVAILABLE", "ENGINE_DEAD")


def test_libraries_and_warnings_write_lines_too(
    capsys: pytest.CaptureFixture[str], serving: Any, said: Any
) -> None:
    own = io.StringIO()
    library = logging.getLogger("a_library")
    library.addHandler(logging.StreamHandler(own))
    library.propagate = False

    async def calls(stub: Any) -> None:
        library.warning("from a library")
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.warn("from Python", stacklevel=1)

    lines = logged(capsys, serving, calls, backend=said())
    assert lines[0]["message"] == "from a library"
    assert "from Python" in lines[1]["message"]
    assert own.getvalue() == ""


def test_logging_is_as_before_afterwards() -> None:
    root, stderr = logging.getLogger(), sys.stderr
    before = root.handlers[:], logging.getLogger("escalade").level
    with json_lines():
        assert root.handlers != before[0]
    assert (root.handlers, logging.getLogger("escalade").level) == before
    assert sys.stderr is stderr
