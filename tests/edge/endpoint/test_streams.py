"""How streaming and deferral go together: three ways, each ending in one terminal event."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import pytest

from escalade.edge import EdgeClient, OpenOptions
from escalade.edge.endpoint import EndpointOptions
from escalade.edge.endpoint.answering import Event as ShownEvent
from escalade.edge.endpoint.answering.showing import Showing
from escalade.edge.endpoint.openai import Finished
from escalade.edge.trace import read_trace

PROMPT = "g2p: cascade"
NEVER, ALWAYS = 1e9, -1.0


@pytest.fixture(scope="module")
def device_text(float_artifact: Path) -> Any:
    with EdgeClient.open(float_artifact, OpenOptions(threads=1, threshold=NEVER)) as client:
        yield client.ask(PROMPT).text


def text_of(events: list[Any]) -> str:
    return "".join(one["choices"][0]["text"] for one in events)


def known(events: list[Any]) -> list[Any]:
    """What the events say of a choice that is no text."""
    return [
        one["choices"][0]["escalade"]
        for one in events
        if one["choices"] and "escalade" in one["choices"][0]
    ]


def test_held_back_until_decided_and_the_headers_know(serve: Any, device_text: str) -> None:
    reply = serve(NEVER).complete(stream=True)
    assert text_of(reply.events) == device_text
    (decision,) = known(reply.events)
    assert decision["outcome"] == "answered"
    assert reply.events[-1]["choices"][0]["finish_reason"] == "length"
    assert reply.headers["x-escalade-stream"] == "hold"
    assert float(reply.headers["x-escalade-score"]) == decision["score"]
    assert len([one for one in reply.events if one["choices"][0]["text"]]) == 1


def test_held_back_and_deferred_shows_no_draft(serve: Any) -> None:
    reply = serve(ALWAYS).complete(stream=True)
    assert text_of(reply.events) == "large answer"
    assert [one.get("event") for one in known(reply.events)] == [None]
    assert reply.headers["x-escalade-tier"] == "large"


def test_a_draft_that_stands_comes_token_by_token(serve: Any, device_text: str) -> None:
    served = serve(NEVER, options=EndpointOptions(stream="replace"))
    reply = served.complete(stream=True)
    assert text_of(reply.events) == device_text
    assert len(reply.events) > 5
    assert [one.get("event") for one in known(reply.events)] == [None]
    assert "x-escalade-tier" not in reply.headers
    assert reply.headers["x-escalade-stream"] == "replace"


def test_a_draft_is_taken_back_by_an_event(serve: Any, device_text: str) -> None:
    reply = serve(ALWAYS).complete(stream=True, escalade={"stream": "replace"})
    events = reply.events
    said = known(events)
    assert [one.get("event") for one in said] == ["deferred", "replaced", None]
    assert said[0] == {
        "event": "deferred",
        "tier": "small",
        "place": "device",
        "score": said[2]["score"],
        "threshold": ALWAYS,
        "rule": "mean",
    }
    assert said[1] == {"event": "replaced", "draft_of": "small", "by": "large"}
    places = [i for i, one in enumerate(events) if "escalade" in one["choices"][0]]
    assert text_of(events[: places[1]]) == device_text
    assert text_of(events[places[1] :]) == "large answer"


def test_an_early_draft_ends_when_it_is_certain_not_to_stand(
    serve: Any, device_text: str, scripted_cloud: Any
) -> None:
    reply = serve(0.0).complete(stream=True, escalade={"stream": "early"})
    said = known(reply.events)
    assert [one.get("event") for one in said] == ["deferred", "replaced", None]
    assert said[2]["tiers"][0]["stopped_early"]
    before = [one["choices"][0]["text"] for one in reply.events]
    draft = "".join(before[: before.index("large answer")])
    assert device_text.startswith(draft)
    assert len(draft) < len(device_text)
    (asked,) = scripted_cloud.asked
    assert len(asked.draft.tokens.ids) == 1


def test_an_early_draft_goes_on_where_nobody_above_answers(
    serve: Any, nobody: str, device_text: str
) -> None:
    served = serve(0.0, address=nobody)
    reply = served.complete(stream=True, escalade={"stream": "early"})
    assert text_of(reply.events) == device_text
    said = known(reply.events)
    assert [one.get("event") for one in said] == ["deferred", None]
    assert said[-1]["outcome"] == "degraded"
    assert said[-1]["reason"].startswith("UNAVAILABLE")


def test_an_early_draft_goes_on_after_another_query_had_the_model(
    serve: Any, scripted_cloud: Any, device_text: str, tmp_path: Path
) -> None:
    asked, answers = Event(), Event()

    def fails_late(request: Any, context: Any) -> Any:
        import grpc

        asked.set()
        assert answers.wait(30)
        context.abort(grpc.StatusCode.UNKNOWN, "as the test asked")

    scripted_cloud.replies = [fails_late]
    trace = tmp_path / "trace.jsonl"
    served = serve(0.0, trace=trace)
    with served.connect() as connection:
        connection.sendall(served.asked(stream=True, escalade={"stream": "early"}, logprobs=0))
        assert asked.wait(30)
        scripted_cloud.says(text="other")
        # Another query takes the model while the first waits for the cloud.
        assert served.complete("g2p: dog").choice["text"] == "other"
        answers.set()
        raw = b""
        while b"[DONE]" not in raw:
            raw += connection.recv(1 << 16)
    assert raw.count(b"degraded") >= 1
    pieces = raw.decode().split('"text":"')[1:]
    whole = "".join(piece.partition('"')[0] for piece in pieces)
    assert whole == device_text
    # Both runs have cost: the one that was stopped after a token, and the whole one.
    other, record = read_trace(trace).records
    assert (other.outcome, record.outcome) == ("deferred", "degraded")
    said = record.tiers[0]
    assert said is not None
    (member,) = said.members
    assert (said.text, said.stopped_early) == (device_text, False)
    assert member.generated_tokens == len(member.logprobs) + 1


def test_usage_comes_last_where_it_is_asked_for(serve: Any) -> None:
    served = serve(NEVER)
    reply = served.chat(stream=True, stream_options={"include_usage": True})
    *pieces, last = reply.events
    assert last["choices"] == []
    assert last["usage"] == served.chat().json["usage"]
    assert all(one["usage"] is None for one in pieces)
    assert pieces[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert all("usage" not in one for one in served.chat(stream=True).events)


@pytest.mark.parametrize("mode", ["hold", "replace", "early"])
def test_several_choices_stream_side_by_side(serve: Any, mode: str) -> None:
    served = serve(NEVER)
    fields = {"n": 5, "temperature": 1.1, "seed": 1}
    whole = [one["message"]["content"] for one in served.chat(**fields).json["choices"]]
    reply = served.chat(stream=True, escalade={"stream": mode}, **fields)
    texts, ended = [""] * 5, []
    for event in reply.events:
        (choice,) = event["choices"]
        texts[choice["index"]] += choice["delta"].get("content", "")
        if choice["finish_reason"] is not None:
            ended.append(choice["index"])
    assert texts == whole
    assert sorted(ended) == list(range(5))


@pytest.mark.parametrize("mode", ["hold", "replace"])
def test_a_streams_log_probabilities_are_those_of_the_whole(serve: Any, mode: str) -> None:
    served = serve(NEVER)
    whole = served.chat(logprobs=True).choice["logprobs"]["content"]
    events = served.chat(logprobs=True, stream=True, escalade={"stream": mode}).events
    content = [
        one
        for event in events
        if event["choices"][0]["logprobs"] is not None
        for one in event["choices"][0]["logprobs"]["content"]
    ]
    assert [one["token"] for one in content] == [one["token"] for one in whole]
    assert [one["logprob"] for one in content] == pytest.approx(
        [one["logprob"] for one in whole], abs=1e-6
    )


def test_what_is_refused_before_the_first_piece_is_a_status(serve: Any) -> None:
    reply = serve(NEVER).complete("g2p: " + "a" * 200, stream=True)
    assert reply.status == 400
    assert reply.error["code"] == "context_length_exceeded"


def test_the_last_tier_streams_as_it_comes_in_every_mode(serve: Any, device_text: str) -> None:
    reply = serve(cloud=False).complete(stream=True)
    assert text_of(reply.events) == device_text
    assert len(reply.events) > 5


def test_tokens_of_two_members_of_a_vote_are_not_mixed(
    float_artifact: Path, tmp_path: Path
) -> None:
    path = tmp_path / "cascade.toml"
    path.write_text(f'[[tiers]]\nmembers = ["{float_artifact}"]\nsamples = 2\n')
    with EdgeClient.open(float_artifact, OpenOptions(threads=1, threshold=NEVER)) as alone:
        answer = alone.ask(PROMPT)
    shown: list[Any] = []
    with EdgeClient.open(path, OpenOptions(threads=1)) as client:
        first = client.cascade.tiers[0].opened[0].artifact
        deltas = list(first.stream(first.encode(PROMPT)))[:3]
        for winner, events in ((-0.5, 1), (None, 0)):
            shown.clear()
            showing = Showing(client.cascade, "replace", shown.append, logprobs=True)
            for delta in deltas:
                showing.delta(0, delta)
            tokens = [token for one in shown for token in one.tokens]
            if winner is not None:
                tokens = [token._replace(logprob=winner) for token in tokens]
            showing.end(Finished(answer, tokens, {}))
            assert sum(isinstance(one, ShownEvent) for one in shown) == events
