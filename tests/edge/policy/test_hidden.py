"""What a policy hides, on real sockets: it goes nowhere, and is put back in what comes."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import msgspec
import pytest
from relay import Relay
from scripted import ScriptedCloud, good_reply

from escalade.edge import Artifact, EdgeClient, Query
from escalade.edge.artifact.manifest import file_entry
from escalade.edge.policy import Providers
from escalade.v1 import cascade_pb2 as pb

PROMPT = "g2p: cascade"
Open = Callable[..., EdgeClient]


def says(text: Callable[[str], str]) -> Callable[..., pb.GenerateResponse]:
    """A model whose answer is made of the prompt that it was sent."""

    def reply(request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
        answer = good_reply(request, context)
        answer.text = text(request.prompt.text)
        return answer

    return reply


MAIL = "redact = ['[a-z]+@[a-z.]+']"


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (lambda prompt: prompt, "g2p: ann@here.org and bob@there.org, ann@here.org"),
        (lambda prompt: "[HIDDEN_2]", "bob@there.org"),  # one is dropped
        (lambda prompt: "[HIDDEN_1] [HIDDEN_1]", "ann@here.org ann@here.org"),  # repeated
        (lambda prompt: "none", "none"),
        (lambda prompt: "[hidden_1] [HIDDEN_3] HIDDEN_1", "[hidden_1] [HIDDEN_3] HIDDEN_1"),
    ],
)
def test_what_is_hidden_is_put_back_where_it_can_be(
    reply: Callable[[str], str], expected: str, opened: Open, relay: Relay, scripted_cloud: Any
) -> None:
    scripted_cloud.replies = [says(reply)]
    client = opened(MAIL, tier=f'address = "{relay.address}"\nsend = "text"')
    prompt = "g2p: ann@here.org and bob@there.org, ann@here.org"
    answer = client.ask(prompt)
    (request,) = scripted_cloud.asked
    assert request.prompt.text == "g2p: [HIDDEN_1] and [HIDDEN_2], [HIDDEN_1]"
    assert (answer.outcome, answer.text, answer.prompt) == ("deferred", expected, prompt)


@pytest.mark.parametrize("repeats", [True, False])
def test_ids_that_spell_a_placeholder_go_no_further(
    repeats: bool, opened: Open, scripted_cloud: ScriptedCloud, artifact: Artifact
) -> None:
    text = "[HIDDEN_1] it is" if repeats else "it is"
    ids = artifact.encode(text, special_tokens=False)

    def reply(request: pb.GenerateRequest, context: Any) -> pb.GenerateResponse:
        answer = good_reply(request, context)
        answer.text = text
        answer.token_ids.extend(ids)
        answer.logprobs.extend([-0.5] * len(ids))
        return answer

    scripted_cloud.replies = [reply]
    client = opened("redact = ['cascade']")
    run = client.stream(PROMPT)
    answer = run.finish()
    assert answer is not None
    said = run.said[answer.answered_by]
    assert said is not None
    source = said.source  # what a gateway sends on
    assert answer.text == text.replace("[HIDDEN_1]", "cascade")
    assert list(source.ids) == ([] if repeats else ids)
    assert len(source.logprobs) == (0 if repeats else len(ids))


def test_token_ids_and_stop_texts_are_hidden_too(
    opened: Open, scripted_cloud: ScriptedCloud, artifact: Artifact
) -> None:
    client = opened("redact = ['cas+', 'x']")
    client.ask(Query(text=PROMPT, stop=("dog x", "cas")))
    ids = artifact.encode(PROMPT)
    client.ask(
        Query(ids=tuple(ids), tokenizer_fingerprint=artifact.manifest.model.tokenizer_fingerprint)
    )
    for request in scripted_cloud.asked:
        said = artifact.decode(list(request.prompt.tokens.ids))
        assert said == artifact.decode(artifact.encode("g2p: [HIDDEN_1]cade"))
        assert list(request.prompt.tokens.ids) != ids
    stops = list(scripted_cloud.asked[0].stopping.stop_sequences)
    assert stops == ["dog [HIDDEN_2]", "[HIDDEN_1]"]


def test_a_draft_that_holds_what_is_hidden_does_not_go_along(
    opened: Open, scripted_cloud: ScriptedCloud
) -> None:
    draft = opened('send = "never"').ask(PROMPT).text
    hides = Providers(redaction=lambda text: [(0, len(text))] if text == draft else [])
    assert opened("", hides).ask(PROMPT).outcome == "deferred"
    opened("").ask(PROMPT)
    assert [one.HasField("draft") for one in scripted_cloud.asked] == [False, True]
    prompt = f"g2p: {draft}"
    again = opened('send = "never"').ask(prompt).text
    word = next((one for one in again.split() if one in prompt), None)
    if word is not None:  # what the model repeats of what is hidden is no match by itself
        at = prompt.index(word)
        hides = Providers(redaction=lambda text: [(at, at + len(word))] if text == prompt else [])
        opened("", hides).ask(prompt)
        assert not scripted_cloud.asked[-1].HasField("draft")


def test_a_conversation_is_hidden_message_by_message(
    opened: Open, scripted_cloud: ScriptedCloud, artifact: Artifact, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(artifact.folder, tmp_path / "chats"))
    template = (
        "{% for one in messages %}{{ one.role }} {{ one.name }} {{ one.content }} {% endfor %}"
    )
    path = folder / "chat_template.jinja"
    path.write_text(template)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][path.name] = msgspec.to_builtins(file_entry(path))
    manifest["model"]["chat"] = {"template": path.name}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    client = opened(MAIL, small=folder)
    client.ask(
        Query(
            messages=(
                {"role": "system", "content": "of a@b.c"},
                {"role": "user", "name": "d@e.f", "content": "g2p: d@e.f a@b.c"},
            )
        )
    )
    (request,) = scripted_cloud.asked
    sent = "system  of [HIDDEN_1] user [HIDDEN_2] g2p: [HIDDEN_2] [HIDDEN_1] "
    expected = artifact.encode(sent, special_tokens=False)
    assert list(request.prompt.tokens.ids) == expected


def test_what_cannot_be_hidden_stays(
    opened: Open, relay: Relay, scripted_cloud: ScriptedCloud
) -> None:
    def broken(text: str) -> list[tuple[int, int]]:
        raise KeyError(text)

    for hook in (broken, lambda text: [(3, 1)], lambda text: [("a", 1)], lambda text: 5):
        answer = opened("", Providers(redaction=hook)).ask(PROMPT)  # type: ignore[arg-type]
        assert answer.blocked == "POLICY_REDACTION"
        assert PROMPT not in str(answer.reason)
    assert relay.carried == 0


def test_a_pattern_is_looked_for_in_what_would_leave(
    opened: Open, scripted_cloud: ScriptedCloud
) -> None:
    kept = "stay_patterns = ['cascade']\n"
    assert opened(kept + "redact = ['cascade']").ask(PROMPT).outcome == "deferred"
    assert opened(kept).ask(PROMPT).blocked == "POLICY_PATTERN"
    assert opened(kept).ask(Query(text="g2p: a", stop=("cascade",))).blocked == "POLICY_PATTERN"
    draft = opened('send = "never"').ask("g2p: dog").text
    answer = opened(f"stay_patterns = [{json.dumps(re.escape(draft))}]").ask("g2p: dog")
    assert answer.blocked == "POLICY_PATTERN"  # it is the draft that would tell
    assert len(scripted_cloud.asked) == 1
