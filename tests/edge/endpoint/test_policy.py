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
from escalade.edge.endpoint import EndpointOptions
from escalade.edge.endpoint.web import requests
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
    known = served.chat().choice["escalade"]
    assert known["blocked"] == "POLICY_CONSENT"
    assert known["reason"] == (
        'POLICY_CONSENT: large: not sent: send = "ask", and only who reads a stream is asked: the'
        ' request had no "stream": true'
    )
    assert scripted_cloud.asked == []


def asked_of(connection: socket.socket, count: int = 1) -> list[Any]:
    """What the reader of a stream is asked, once he was asked so often."""
    raw = b""
    while raw.count(b'"event":"consent"') < count or not raw.endswith(b"\r\n"):
        raw += connection.recv(1 << 16)
    lines = [one for one in raw.split(b"\n") if b'"event":"consent"' in one]
    return [json.loads(one.partition(b"data: ")[2])["choices"][0] for one in lines]


def test_who_is_asked_holds_no_place(serve: Any, private: Any) -> None:
    served = serve(path=private('send = "ask"'), options=EndpointOptions(queue=1))
    with served.connect() as connection:
        connection.sendall(served.asked(stream=True))
        (asked,) = asked_of(connection)
        health = served.call("GET", "/health").json
        assert (health["under_way"], health["asking"]) == (0, 1)
        assert served.chat().status == 200  # of one place
        word = {"key": asked["escalade"]["key"], "agreed": True}
        assert served.call("POST", "/v1/escalade/consent", word).status == 200
        raw = b""
        while b"[DONE]" not in raw:
            raw += connection.recv(1 << 16)
    assert b"large answer" in raw


@pytest.mark.parametrize("gone", [False, True])
def test_a_reader_who_ends_his_half_while_he_is_asked_is_missed_soon_where_he_has_left(
    serve: Any, private: Any, scripted_cloud: Any, monkeypatch: pytest.MonkeyPatch, gone: bool
) -> None:
    monkeypatch.setattr(requests, "_STILL_ASKED_S", 0.02)
    served = serve(path=private('send = "ask"'))
    with served.connect() as connection:
        connection.sendall(served.asked(stream=True))
        (asked,) = asked_of(connection)
        word = {"key": asked["escalade"]["key"], "agreed": True}
        if not gone:
            connection.shutdown(socket.SHUT_WR)
            for _ in range(3):
                assert b": still here" in connection.recv(1 << 16)
            assert served.call("POST", "/v1/escalade/consent", word).status == 200
            raw = b""
            while b"[DONE]" not in raw:
                raw += connection.recv(1 << 16)
            assert b"large answer" in raw
            return
    while served.call("GET", "/health").json["asking"]:
        threading.Event().wait(0.01)
    assert served.call("POST", "/v1/escalade/consent", word).status == 404
    assert scripted_cloud.asked == []


def test_likeliest_tokens_that_nobody_was_asked_for_are_said(
    serve: Any, private: Any, scripted_cloud: Any, artifact: Artifact
) -> None:
    ids = artifact.encode("hello", special_tokens=False)
    fingerprint = artifact.manifest.model.tokenizer_fingerprint
    identity = pb.ModelIdentity(name="large", tokenizer_fingerprint=fingerprint)
    scripted_cloud.info = pb.GetModelInfoResponse(model=identity, max_top_logprobs=5)
    scripted_cloud.says(
        text=artifact.decode(ids), token_ids=ids, logprobs=[-0.5] * len(ids), model=identity
    )
    served = serve(path=private('send = "ask"'))
    with served.connect() as connection:
        connection.sendall(served.asked(stream=True, logprobs=3))
        (asked,) = asked_of(connection)
        word = {"key": asked["escalade"]["key"], "agreed": True}
        assert served.call("POST", "/v1/escalade/consent", word).status == 200
        raw = b""
        while b"[DONE]" not in raw:
            raw += connection.recv(1 << 16)
    assert not scripted_cloud.asked[0].output.top_logprobs
    assert b"no_top_logprobs" in raw
    assert b"first consent" in raw


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
        asked = asked_of(connection, 2)  # each choice is a query
        # Reset, not ended: who ends his half may still read.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    assert {one["index"] for one in asked} == {0, 1}
    while served.call("GET", "/health").json["asking"]:
        threading.Event().wait(0.01)
    word = {"key": asked[0]["escalade"]["key"], "agreed": True}
    late = served.call("POST", "/v1/escalade/consent", word)
    assert (late.status, late.error["code"]) == (404, "not_asked")
    assert scripted_cloud.asked == []
