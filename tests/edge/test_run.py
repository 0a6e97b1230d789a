"""A query delta by delta: streaming, cancelling, stop texts, sampling, conversations, deadlines."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from escalade.edge import Artifact, EdgeClient, Query, Sampling
from escalade.edge.artifact import file_entry
from escalade.edge.errors import ArtifactError, PromptError
from escalade.edge.trace import read_trace

PROMPT = "g2p: cascade"
ALWAYS, NEVER = -1.0, 1e9

MakeClient = Callable[..., EdgeClient]


def test_the_deltas_are_the_devices_answer_and_the_decision_comes_last(
    make_client: MakeClient, scripted_cloud: Any, artifact: Artifact
) -> None:
    run = make_client(ALWAYS).stream(PROMPT)
    assert run.answer is None
    deltas = [next(run), *run]
    assert [delta.step for delta in deltas] == artifact.generate(artifact.encode(PROMPT))
    answer = run.answer
    assert answer is not None
    assert "".join(delta.text for delta in deltas) == answer.tiers[0].text
    assert (answer.text, answer.outcome) == ("large answer", "deferred")
    assert answer.stop == "end"  # of the answer that stands
    assert len(scripted_cloud.asked) == 1


def test_a_cascade_of_one_tier_gives_what_its_artifact_streams(
    make_client: MakeClient, artifact: Artifact
) -> None:
    client = make_client(NEVER, cloud=False)
    for word in ("cat", "banana", "o", "insecticide"):
        prompt = f"g2p: {word}"
        generation = artifact.stream(artifact.encode(prompt))
        whole = list(generation)
        run = client.stream(prompt)
        assert list(run) == whole
        answer = run.answer
        assert answer is not None
        assert (answer.text, answer.stop, answer.outcome) == (
            generation.text,
            generation.stop,
            "answered",
        )
        (said,) = answer.said.members
        assert said.logprobs == generation.logprobs
        assert (said.member, said.text) == (0, generation.text)
        assert said.prompt_tokens == len(artifact.encode(prompt))
        assert said.generated_tokens == len(whole)
        assert answer.prompt == prompt


def test_a_slow_reader_does_not_make_the_device_slow(
    make_client: MakeClient, jumping_clock: Any
) -> None:
    run = make_client(NEVER).stream(PROMPT)
    for _ in run:
        jumping_clock.sleep_s(100.0)
    assert run.answer is not None
    assert run.answer.said.seconds <= run.answer.total_s < 100.0


def test_what_happens_before_the_first_delta_counts_only_where_it_is_ours(
    make_client: MakeClient, jumping_clock: Any
) -> None:
    run = make_client(NEVER).stream(PROMPT)
    jumping_clock.sleep_s(100.0)
    answer = run.finish()
    assert answer is not None
    assert answer.total_s < 100.0


def test_a_cancelled_query_leaves_nothing(
    make_client: MakeClient, scripted_cloud: Any, tmp_path: Path
) -> None:
    client = make_client(ALWAYS, trace=tmp_path / "t.jsonl")
    seen: list[object] = []
    run = client.stream(PROMPT, cancelled=lambda: len(seen) == 3)
    for delta in run:
        seen.append(delta.step)
        assert delta.stop in {None, "cancelled"}
    assert (len(seen), seen[-1]) == (4, None)
    assert run.answer is None
    assert run.finish() is None
    assert scripted_cloud.asked == []
    assert list(tmp_path.iterdir()) == []


def test_a_query_that_is_cancelled_between_two_tiers_does_not_reach_the_second(
    make_client: MakeClient, scripted_cloud: Any, tmp_path: Path
) -> None:
    client = make_client(ALWAYS, trace=tmp_path / "t.jsonl")
    ended: list[object] = []
    run = client.stream(PROMPT, cancelled=lambda: bool(ended))
    for delta in run:
        if delta.stop is not None:
            ended.append(delta.stop)
    assert run.answer is None
    assert scripted_cloud.asked == []
    assert list(tmp_path.iterdir()) == []


def test_a_later_query_ends_the_one_before(make_client: MakeClient) -> None:
    client = make_client(NEVER)
    first = client.stream(PROMPT)
    next(first)
    assert client.ask(PROMPT).outcome == "answered"
    assert first.finish() is None


def test_a_stop_text_ends_the_devices_answer_and_travels_to_the_cloud(
    make_client: MakeClient, scripted_cloud: Any
) -> None:
    whole = make_client(NEVER).ask(PROMPT)
    stop = whole.text[2:4]
    local = make_client(NEVER).ask(Query(text=PROMPT, stop=(stop,)))
    assert (local.text, local.stop) == (whole.text[: whole.text.index(stop)], "stop")
    (said,) = local.said.members
    assert said.logprobs == whole.said.members[0].logprobs[: said.generated_tokens]
    make_client(ALWAYS).ask(Query(text=PROMPT, stop=("zz", " ans")))
    (request,) = scripted_cloud.asked
    assert list(request.stopping.stop_sequences) == ["zz", " ans"]
    assert not request.stopping.HasField("max_new_tokens")


def test_the_longest_answer_may_be_shorter(make_client: MakeClient, scripted_cloud: Any) -> None:
    whole = make_client(NEVER).ask(PROMPT)
    short = make_client(NEVER).ask(Query(text=PROMPT, max_new_tokens=3))
    (said,) = short.said.members
    assert (short.stop, said.logprobs) == ("length", whole.said.members[0].logprobs[:3])
    make_client(ALWAYS).ask(Query(text=PROMPT, max_new_tokens=3))
    assert scripted_cloud.asked[0].stopping.max_new_tokens == 3


def test_a_server_draws_as_the_device_was_asked_to(
    make_client: MakeClient, scripted_cloud: Any
) -> None:
    client = make_client(NEVER)
    hot = Query(text=PROMPT, sampling=Sampling(temperature=5.0, seed=2))
    assert client.ask(hot).text == client.ask(hot).text
    assert client.ask(hot).text != client.ask(PROMPT).text
    make_client(ALWAYS).ask(hot)
    assert scripted_cloud.asked[0].sampling.temperature == 5
    assert scripted_cloud.asked[0].sampling.seed == 2


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"stop": ("a", "")}, "a stop text must have at least 1 character, got ''"),
        ({"stop": ("\udcff",)}, "a stop text must be valid Unicode text"),
        ({"stop": ("a",) * 17}, "stop texts must be at most 16, got 17"),
        ({"stop": ("a" * 1025,)}, "a stop text must be at most 1024 bytes, got 1025"),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1, got 0"),
        ({"deadline_s": 0.0}, "deadline_s must be above 0, got 0.0"),
        ({"deadline_s": float("nan")}, "deadline_s must be above 0, got nan"),
    ],
)
def test_a_query_of_no_sense_is_none(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Query(text=PROMPT, **fields)


@pytest.fixture
def chat_artifact(float_artifact: Path, tmp_path: Path) -> Artifact:
    folder = Path(shutil.copytree(float_artifact, tmp_path / "chat"))
    path = folder / "chat_template.jinja"
    path.write_text("{% for m in messages %}{{ m.content }}<sep>{% endfor %}")
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = file_entry(path)
    manifest["files"][path.name] = {"sha256": entry.sha256, "bytes": entry.bytes}
    manifest["model"]["chat"] = {"template": path.name}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return Artifact.open(folder)


def test_a_conversation_goes_through_the_template_and_travels_as_tokens(
    make_client: MakeClient, scripted_cloud: Any, chat_artifact: Artifact, tmp_path: Path
) -> None:
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "cat"}]
    trace = tmp_path / "t.jsonl"
    answer = make_client(ALWAYS, of=chat_artifact, trace=trace).ask(messages)
    assert answer.outcome == "deferred"
    (request,) = scripted_cloud.asked
    expected = chat_artifact.encode("s<sep>cat")  # which adds the last <sep> itself
    assert list(request.prompt.tokens.ids) == expected
    assert read_trace(trace).records[0].prompt == "s<sep>cat<sep>"
    as_text = make_client(ALWAYS, of=chat_artifact, prompt_form="text")
    with pytest.raises(PromptError, match="a conversation travels as tokens"):
        as_text.ask(messages)
    with pytest.raises(PromptError, match="a conversation travels as tokens"):
        as_text.ask_last(messages)
    assert len(scripted_cloud.asked) == 1


def test_a_conversation_needs_a_template(make_client: MakeClient) -> None:
    with pytest.raises(ArtifactError, match="the model has no chat template"):
        make_client(NEVER).ask([{"role": "user", "content": "cat"}])


def test_a_deadline_shrinks_on_its_way_up(
    make_client: MakeClient, scripted_cloud: Any, jumping_clock: Any
) -> None:
    client = make_client(ALWAYS)
    client.ask(Query(text=PROMPT, deadline_s=5.0))
    run = client.stream(Query(text=PROMPT, deadline_s=5.0))
    next(run)
    jumping_clock.sleep_s(100.0)  # the caller's time is none of the query's
    assert run.finish() is not None
    client.ask(Query(text=PROMPT, deadline_s=1000.0))
    client.ask(PROMPT)
    first_s, second_s, third_s, fourth_s = scripted_cloud.left_s
    # Nine tenths of what is left, and no more than the link has; gRPC rounds up a little.
    assert 2 < first_s < 4.7
    assert 2 < second_s < 4.7
    assert 5 < third_s < 11
    assert 5 < fourth_s < 11


def test_no_time_left_is_as_no_answer(make_client: MakeClient, scripted_cloud: Any) -> None:
    answer = make_client(ALWAYS).ask(Query(text=PROMPT, deadline_s=1e-6))
    assert (answer.outcome, answer.answered_by) == ("degraded", 0)
    assert answer.reason == ("DEADLINE_EXCEEDED: cloud: no time is left of the query's 1e-06 s")
    assert scripted_cloud.asked == []


def test_gateways_that_a_query_came_through_travel_on(
    make_client: MakeClient, scripted_cloud: Any
) -> None:
    make_client(ALWAYS).ask(Query(text=PROMPT, via=("one", "two")))
    assert list(scripted_cloud.asked[0].via) == ["one", "two"]
