"""Answers over HTTP are those of `ask`, with what the cascade knows of them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from escalade.edge import EdgeClient, OpenOptions, Query, Sampling
from escalade.edge.trace import read_trace
from escalade.v1 import cascade_pb2 as pb

PROMPT = "g2p: cascade"
NEVER, ALWAYS = 1e9, -1.0


@pytest.fixture(scope="module")
def asked(float_artifact: Path) -> Any:
    options = OpenOptions(threads=1, threshold=NEVER)
    with EdgeClient.open(float_artifact, options) as client:
        yield client


def test_a_sure_answer_is_what_ask_gives(serve: Any, asked: EdgeClient) -> None:
    reply, expected = serve(NEVER).chat(), asked.ask(PROMPT)
    assert reply.status == 200
    assert reply.choice["message"] == {
        "role": "assistant",
        "content": expected.text,
        "refusal": None,
    }
    assert reply.choice["logprobs"] is None
    assert reply.json["object"] == "chat.completion"
    assert reply.json["model"] == "cascade"
    known = reply.choice["escalade"]
    assert (known["tier"], known["place"], known["outcome"]) == ("small", "device", "answered")
    assert known["score"] == pytest.approx(expected.score, abs=1e-6)
    assert (known["threshold"], known["rule"], known["reason"]) == (NEVER, "mean", None)
    assert known["tiers"][1] is None
    headers = reply.headers
    assert headers["x-escalade-tier"] == "small"
    assert headers["x-escalade-outcome"] == "answered"
    assert float(headers["x-escalade-score"]) == known["score"]
    assert float(headers["x-escalade-threshold"]) == NEVER
    assert headers["x-escalade-rule"] == "mean"
    assert headers["x-escalade-id"] == reply.json["id"]
    assert "x-escalade-reason" not in headers
    member = expected.said.members[0]
    assert reply.json["usage"] == {
        "prompt_tokens": member.prompt_tokens,
        "completion_tokens": member.generated_tokens,
        "total_tokens": member.prompt_tokens + member.generated_tokens,
    }


def test_an_unsure_answer_is_the_clouds(serve: Any, scripted_cloud: Any) -> None:
    reply = serve(ALWAYS).complete()
    assert reply.choice["text"] == "large answer"
    assert reply.json["object"] == "text_completion"
    known = reply.choice["escalade"]
    assert (known["tier"], known["place"], known["outcome"]) == ("large", "cloud", "deferred")
    assert known["would_defer"]
    assert known["tiers"][0]["tier"] == "small"
    assert reply.headers["x-escalade-place"] == "cloud"
    assert reply.json["usage"] == {
        "prompt_tokens": 4,
        "completion_tokens": 3,
        "total_tokens": 7,
    }
    assert len(scripted_cloud.asked) == 1


def test_a_cloud_out_of_reach_degrades_and_says_why(
    serve: Any, nobody: str, asked: EdgeClient
) -> None:
    reply = serve(ALWAYS, address=nobody).chat()
    assert reply.status == 200
    assert reply.choice["message"]["content"] == asked.ask(PROMPT).text
    assert reply.headers["x-escalade-outcome"] == "degraded"
    assert "UNAVAILABLE" in reply.headers["x-escalade-reason"]
    assert reply.choice["escalade"]["reason"].startswith("UNAVAILABLE")


def test_log_probabilities_are_the_models_own(serve: Any, asked: EdgeClient) -> None:
    served = serve(NEVER)
    expected = asked.ask(Query(text=PROMPT, max_new_tokens=6))
    logprobs = expected.said.members[0].logprobs
    reply = served.chat(logprobs=True, max_tokens=6)
    content = reply.choice["logprobs"]["content"]
    assert [one["logprob"] for one in content] == pytest.approx(logprobs, abs=1e-6)
    assert b"".join(bytes(one["bytes"]) for one in content).decode() == expected.text
    assert "".join(one["token"] for one in content) == expected.text
    assert all(one["top_logprobs"] == [] for one in content)
    of_text = served.complete(logprobs=0, max_tokens=6).choice["logprobs"]
    assert of_text["token_logprobs"] == pytest.approx(logprobs, abs=1e-6)
    text = expected.text
    for token, start in zip(of_text["tokens"], of_text["text_offset"], strict=True):
        assert text[start : start + len(token)] == token


def test_the_likeliest_tokens_are_those_of_the_logits(serve: Any) -> None:
    served = serve(NEVER, cloud=False)
    reply = served.chat(logprobs=True, top_logprobs=20, max_tokens=6)
    for one in reply.choice["logprobs"]["content"]:
        top = [other["logprob"] for other in one["top_logprobs"]]
        assert len(top) == 20
        assert top == sorted(top, reverse=True)
        assert one["logprob"] == pytest.approx(top[0], abs=1e-5)  # greedy takes the likeliest
        assert one["token"] == one["top_logprobs"][0]["token"]
        assert 0.5 < sum(map(math.exp, top)) <= 1 + 1e-6
    alike = served.chat(logprobs=True, max_tokens=6)
    assert alike.choice["message"] == reply.choice["message"]


def test_the_likeliest_tokens_of_a_vote_are_those_of_who_won(
    serve: Any, folders: list[Path], tmp_path: Path
) -> None:
    path = tmp_path / "vote.toml"
    path.write_text(f"[[tiers]]\nmembers = {json.dumps([str(one) for one in folders])}\n")
    alone = serve(NEVER, cloud=False, artifact=folders[0])
    fields = {"logprobs": True, "top_logprobs": 3, "max_tokens": 5}
    expected = alone.chat(**fields).choice["logprobs"]
    voted = serve(path=path)
    assert voted.chat(**fields).choice["logprobs"] == expected  # two of three say so
    # The first member leads, and its text comes as it does where it wins.
    reply = voted.complete(stream=True, escalade={"stream": "replace"}, max_tokens=5)
    assert "".join(one["choices"][0]["text"] for one in reply.events)


def test_a_drawn_token_has_the_models_log_probability_at_temperature_1(serve: Any) -> None:
    served = serve(NEVER, cloud=False)
    fields = {"logprobs": True, "top_logprobs": 20, "max_tokens": 8, "temperature": 1.7, "seed": 3}
    reply = served.chat(**fields)
    for one in reply.choice["logprobs"]["content"]:
        among = {other["token"]: other["logprob"] for other in one["top_logprobs"]}
        if one["token"] in among:
            assert one["logprob"] == pytest.approx(among[one["token"]], abs=1e-6)


def test_sampling_is_that_of_ask_and_choices_have_seeds_of_their_own(
    serve: Any, asked: EdgeClient
) -> None:
    served = serve(NEVER)
    reply = served.chat(temperature=0.9, top_p=0.95, seed=7, n=3)
    texts = [one["message"]["content"] for one in reply.json["choices"]]
    expected = [
        asked.ask(Query(text=PROMPT, sampling=Sampling(temperature=0.9, top_p=0.95, seed=seed)))
        for seed in (7, 8, 9)
    ]
    assert texts == [one.text for one in expected]
    assert len(set(texts)) == 3
    written = sum(one.said.members[0].generated_tokens for one in expected)
    assert reply.json["usage"]["completion_tokens"] == written
    assert reply.json["usage"]["prompt_tokens"] == expected[0].said.members[0].prompt_tokens
    assert reply.headers["x-escalade-tier"] == "small, small, small"


def test_without_a_temperature_the_likeliest_is_taken_and_several_are_drawn(serve: Any) -> None:
    served = serve(NEVER)
    greedy = served.chat().choice["message"]["content"]
    assert served.chat(temperature=0).choice["message"]["content"] == greedy
    texts = {one["message"]["content"] for one in served.chat(n=5).json["choices"]}
    assert len(texts) > 1


def test_a_stop_text_ends_the_answer_wherever_tokens_divide_it(
    serve: Any, asked: EdgeClient
) -> None:
    text = asked.ask(Query(text=PROMPT, max_new_tokens=12)).text
    served = serve(NEVER)
    for start in range(1, len(text) - 3, 3):
        stop = text[start : start + 3]
        reply = served.complete(stop=stop, max_tokens=12, logprobs=0)
        assert reply.choice["text"] == text[: text.index(stop)]
        assert reply.choice["finish_reason"] == "stop"
        offsets = reply.choice["logprobs"]["text_offset"]
        assert all(offset < max(len(reply.choice["text"]), 1) for offset in offsets)
        stream = served.complete(stop=stop, max_tokens=12, logprobs=0, stream=True)
        pieces = [one["choices"][0] for one in stream.events]
        assert "".join(one["text"] for one in pieces) == reply.choice["text"]
        tokens = [
            token for one in pieces for token in (one["logprobs"] or {"tokens": []})["tokens"]
        ]
        assert tokens == reply.choice["logprobs"]["tokens"]


def test_length_ends_it_and_the_window_bounds_it(serve: Any) -> None:
    served = serve(NEVER)
    reply = served.chat(max_completion_tokens=2)
    assert reply.choice["finish_reason"] == "length"
    assert reply.json["usage"]["completion_tokens"] == 2
    assert served.chat(max_tokens=10**6).status == 200


def test_prompts_may_be_several_and_token_ids(serve: Any, asked: EdgeClient) -> None:
    prompts = ["g2p: cat", "p2g: K AE T"]
    artifact = asked.cascade.tiers[0].opened[0].artifact
    reply = serve(NEVER).complete([*prompts, artifact.encode("g2p: dog")])
    expected = [asked.ask(prompt).text for prompt in (*prompts, "g2p: dog")]
    assert [one["text"] for one in reply.json["choices"]] == expected
    assert [one["index"] for one in reply.json["choices"]] == [0, 1, 2]


def test_unicode_goes_through_as_it_is(serve: Any, scripted_cloud: Any) -> None:
    scripted_cloud.says(text=" — ünïcödé 🎈\u0000\u2028")
    served = serve(ALWAYS)
    said = served.chat("g2p: 🎈é").choice["message"]["content"]
    assert said == " — ünïcödé 🎈\u0000\u2028"
    assert served.complete("\ud800").error["code"] == "invalid_json"


def test_the_clouds_log_probabilities_are_given_where_its_tokens_are_known(
    serve: Any, scripted_cloud: Any, asked: EdgeClient
) -> None:
    member = asked.cascade.tiers[0].opened[0]
    ids = member.artifact.encode("g2p: cat")[:3]
    served = serve(ALWAYS)
    scripted_cloud.says(
        text=member.artifact.decode(ids),
        token_ids=ids,
        logprobs=[-0.5, -0.25, -0.125],
        model=pb.ModelIdentity(name="large", tokenizer_fingerprint=member.fingerprint),
    )
    content = served.chat(logprobs=True).choice["logprobs"]["content"]
    assert [one["logprob"] for one in content] == [-0.5, -0.25, -0.125]
    assert scripted_cloud.asked[-1].output.logprobs
    scripted_cloud.says()
    choice = served.chat(logprobs=True).choice
    assert choice["logprobs"] is None
    assert "sent no tokens" in choice["escalade"]["no_logprobs"]


def test_every_answer_joins_the_trace(serve: Any, tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    served = serve(NEVER, trace=trace)
    for _ in range(3):
        served.chat()
    served.chat(stream=True, escalade={"stream": "early"})
    assert len(read_trace(trace).records) == 4


def test_models_are_listed(serve: Any) -> None:
    served = serve(NEVER)
    listed = served.call("GET", "/v1/models").json
    assert [one["id"] for one in listed["data"]] == ["cascade"]
    assert served.call("GET", "/v1/models/cascade").json == listed["data"][0]
    assert served.call("GET", "/v1/models/gpt-4o").error["code"] == "model_not_found"
    health = served.call("GET", "/health").json
    assert health == {
        "status": "ok",
        "model": "cascade",
        "under_way": 0,
        "asking": 0,
        "queue": 64,
        "cascade_changed": False,
    }


def test_a_conversation_goes_through_the_template(
    serve: Any, float_artifact: Path, tmp_path: Path
) -> None:
    from shutil import copytree

    from escalade.edge.artifact import file_entry

    folder = Path(copytree(float_artifact, tmp_path / "chat"))
    template = folder / "chat_template.jinja"
    template.write_text("{% for m in messages %}{{ m.role[0] }}{{ m.content }}{% endfor %}")
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = file_entry(template)
    manifest["files"][template.name] = {"sha256": entry.sha256, "bytes": entry.bytes}
    manifest["model"]["chat"] = {"template": template.name}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    served = serve(NEVER, artifact=folder, cloud=False)
    messages = [
        {"role": "developer", "content": [{"type": "text", "text": "g2p"}]},
        {"role": "user", "content": "cat"},
    ]
    asked = {"model": "cascade", "messages": messages}
    with EdgeClient.open(folder, OpenOptions(threshold=NEVER, threads=1)) as client:
        conversation = [
            {"role": "system", "content": "g2p"},
            {"role": "user", "content": "cat"},
        ]
        expected = client.ask(conversation).text
    reply = served.call("POST", "/v1/chat/completions", asked)
    assert reply.choice["message"]["content"] == expected
