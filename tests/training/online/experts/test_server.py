"""An expert on a real socket: what it is asked, and what becomes of its faults."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Event
from typing import Any

import pytest
from scripted import ScriptedCloud, good_reply, scripted

from escalade.edge.wire import CloudClient
from escalade.training.errors import RecipeError
from escalade.training.online.experts import ExpertError, ServerExpert
from escalade.training.online.streams import Item
from escalade.v1 import cascade_pb2 as pb

ITEM = Item(0, "0", "a {text} of its own")


@pytest.fixture
def cloud() -> Iterator[ScriptedCloud]:
    with scripted() as cloud:
        yield cloud


def _expert(cloud: ScriptedCloud) -> ServerExpert:
    client = CloudClient(cloud.address, deadline_s=5.0, breaker_after=0)
    return ServerExpert(client, prompt="Which colour? {text}", max_new_tokens=7)


def test_the_item_goes_into_the_prompt_and_the_answer_comes_with_its_model(
    cloud: ScriptedCloud,
) -> None:
    cloud.says(model=pb.ModelIdentity(name="large", revision="0123456789abcdef"))
    expert = _expert(cloud)
    reply = expert.ask(ITEM)
    expert.close()
    assert reply == ("large answer", "large 0123456789ab", 7)
    (asked,) = cloud.asked
    assert asked.prompt.text == "Which colour? a {text} of its own"
    assert asked.stopping.max_new_tokens == 7


def test_a_server_that_fails_or_degrades_is_no_expert(cloud: ScriptedCloud) -> None:
    expert = _expert(cloud)
    cloud.says(degraded=True)
    with pytest.raises(ExpertError, match="lower tier"):
        expert.ask(ITEM)
    cloud.fails()
    with pytest.raises(ExpertError):
        expert.ask(ITEM)
    expert.close()


def test_a_server_that_is_too_slow_is_no_expert(cloud: ScriptedCloud) -> None:
    gone = Event()

    def slow(request: pb.GenerateRequest, context: Any) -> pb.GenerateResponse:
        gone.wait()
        return good_reply(request, context)

    cloud.replies = [slow, good_reply]
    client = CloudClient(cloud.address, deadline_s=0.2, breaker_after=0)
    expert = ServerExpert(client, prompt="{text}", max_new_tokens=7)
    try:
        with pytest.raises(ExpertError, match="DEADLINE_EXCEEDED"):
            expert.ask(ITEM)
    finally:
        gone.set()
    assert expert.ask(ITEM).text == "large answer"
    expert.close()


@pytest.mark.parametrize("prompt", ["Which colour?", "{text} {text}"])
def test_a_prompt_without_one_place_for_the_text_is_refused(prompt: str) -> None:
    client = CloudClient("127.0.0.1:1")
    with pytest.raises(RecipeError, match=r"must hold \{text\} once"):
        ServerExpert(client, prompt=prompt, max_new_tokens=1)
    client.close()
