"""Whoever watches costs no answer, and is told of each call once."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest

from escalade.cloud.watching import observed
from escalade.v1 import cascade_pb2 as pb


class Failing:
    def began(self, call: Any) -> None:
        raise ValueError("began")

    def ended(self, call: Any) -> None:
        raise ValueError("ended")


class Noting:
    def __init__(self) -> None:
        self.calls: list[Any] = []

    def began(self, call: Any) -> None:
        self.calls.append(call)

    def ended(self, call: Any) -> None:
        self.calls.append(call)


class Context:
    """As much of gRPC's as a call has here."""

    def peer(self) -> str:
        return "ipv4:10.0.0.7:5"

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return ()


async def behaviour(request: Any, context: Any) -> pb.GenerateResponse:
    return pb.GenerateResponse(text="answered")


def test_a_method_that_nobody_watches_is_the_method_itself() -> None:
    assert observed("Generate", behaviour, (), lambda: 0.0, streams=False) is behaviour


def test_an_observer_that_fails_costs_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    noting, times = Noting(), iter((1.0, 3.5))
    method = observed(
        "Generate", behaviour, (Failing(), noting), lambda: next(times), streams=False
    )
    request = pb.GenerateRequest(request_id="r")
    context: Any = Context()
    with caplog.at_level(logging.ERROR):
        answer = asyncio.run(method(request, context))
    assert answer.text == "answered"
    assert len(caplog.records) == 2
    before, after = noting.calls
    assert before is after
    assert (after.rpc, after.asked, after.outcome) == ("Generate", request, answer)
    assert after.seconds == 2.5
