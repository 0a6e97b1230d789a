"""A policy behind the endpoint: a query that stays says why, and a stream's reader is asked."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from escalade.edge import Artifact
from escalade.v1 import cascade_pb2 as pb

ALWAYS = -1.0


@pytest.fixture
def private(cascade_file: Callable[..., Path]) -> Callable[[str], Path]:
    """A cascade that defers everything, under a policy."""

    def make(policy: str) -> Path:
        path = cascade_file(ALWAYS)
        path.write_text(f"[policy]\n{policy}\n\n{path.read_text()}")
        return path

    return make


def test_a_query_that_stays_is_an_outcome_with_a_reason(
    serve: Any, private: Any, scripted_cloud: Any
) -> None:
    served = serve(path=private('stay_tasks = ["diary"]\nwhen_unknown = "send"'))
    assert served.chat().choice["message"]["content"] == "large answer"
    reply = served.chat(escalade={"task": "diary"})
    known = reply.choice["escalade"]
    assert (known["outcome"], known["blocked"]) == ("degraded", "POLICY_TASK")
    assert known["reason"].startswith("POLICY_TASK")
    assert reply.headers["x-escalade-blocked"] == "POLICY_TASK"
    assert len(scripted_cloud.asked) == 1


@pytest.mark.parametrize("agreed", [True, False])
@pytest.mark.parametrize("mode", ["hold", "replace"])
def test_a_streams_reader_is_asked_before_its_query_leaves(
    serve: Any, private: Any, scripted_cloud: Any, mode: str, agreed: bool
) -> None:
    served = serve(path=private('send = "ask"'))
    with served.connect() as connection:
        connection.sendall(served.asked(stream=True, escalade={"stream": mode}))
        raw = b""
        while b'"event":"consent"' not in raw or not raw.endswith(b"\r\n"):
            raw += connection.recv(1 << 16)
        line = next(one for one in raw.split(b"\n") if b'"event":"consent"' in one)
        asked = json.loads(line.partition(b"data: ")[2])["choices"][0]["escalade"]
        assert asked["tier"] == "large"
        assert asked["address"] == scripted_cloud.address
        assert "g2p: cascade" in asked["texts"]
        assert scripted_cloud.asked == []
        word = {"key": asked["key"], "agreed": agreed}
        assert served.call("POST", "/v1/escalade/consent", word).json == word
        while b"[DONE]" not in raw:
            raw += connection.recv(1 << 16)
    assert (b"large answer" in raw) is agreed
    assert (b"POLICY_CONSENT" in raw) is not agreed
    again = served.call("POST", "/v1/escalade/consent", word)
    assert (again.status, again.error["code"]) == (404, "not_asked")


def test_who_does_not_stream_is_not_asked_and_the_query_stays(
    serve: Any, private: Any, scripted_cloud: Any
) -> None:
    served = serve(path=private('send = "ask"'))
    assert served.chat().choice["escalade"]["blocked"] == "POLICY_CONSENT"
    assert scripted_cloud.asked == []


def test_tokens_that_spell_a_placeholder_are_not_listed(
    serve: Any, private: Any, scripted_cloud: Any, artifact: Artifact
) -> None:
    fingerprint = artifact.manifest.model.tokenizer_fingerprint

    ids = artifact.encode("hello", special_tokens=False)

    def says(placeholder: str = "") -> None:
        scripted_cloud.says(
            text=artifact.decode(ids) + placeholder,
            token_ids=ids,
            logprobs=[-0.5] * len(ids),
            model=pb.ModelIdentity(name="large", tokenizer_fingerprint=fingerprint),
        )

    path = private("redact = ['cascade']")
    path.write_text(path.read_text().replace("deadline_s", 'send = "text"\ndeadline_s'))
    served = serve(path=path)
    says()
    choice = served.chat(logprobs=True).choice
    assert len(choice["logprobs"]["content"]) == len(ids)
    says("[HIDDEN_1]")
    for reply in (served.chat(logprobs=True), served.complete(logprobs=0)):
        choice = reply.choice
        assert "cascade" in (choice["text"] if "text" in choice else choice["message"]["content"])
        assert choice["logprobs"] is None
        assert "do not spell its text" in choice["escalade"]["no_logprobs"]
    events = served.chat(logprobs=True, stream=True).events
    choices = [one["choices"][0] for one in events]
    assert all(one["logprobs"] is None for one in choices)
    assert "do not spell" in choices[-1]["escalade"]["no_logprobs"]


def test_who_leaves_while_he_is_asked_sends_nothing(
    serve: Any, private: Any, scripted_cloud: Any
) -> None:
    served = serve(path=private('send = "ask"'))
    with served.connect() as connection:
        connection.sendall(served.asked(stream=True, n=2))
        raw = b""
        while raw.count(b'"event":"consent"') < 2:  # each choice is a query
            raw += connection.recv(1 << 16)
        # Reset, not ended: who ends his half may still read.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    lines = [one for one in raw.split(b"\n") if b'"event":"consent"' in one]
    asked = [json.loads(one.partition(b"data: ")[2])["choices"][0] for one in lines]
    assert {one["index"] for one in asked} == {0, 1}
    while served.call("GET", "/health").json["under_way"]:
        threading.Event().wait(0.01)
    word = {"key": asked[0]["escalade"]["key"], "agreed": True}
    late = served.call("POST", "/v1/escalade/consent", word)
    assert (late.status, late.error["code"]) == (404, "not_asked")
    assert scripted_cloud.asked == []
