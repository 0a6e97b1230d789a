"""A query as each model reads it, and in which form it travels: text, conversation, token ids."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from escalade.edge import Artifact, Cascade, EdgeClient, Query
from escalade.edge.artifact import file_entry
from escalade.edge.artifact.manifest import read_manifest, write_manifest
from escalade.edge.deferral import Gate, Vote
from escalade.edge.errors import ArtifactError, PromptError
from escalade.edge.tiers import EnsembleTier, Member, Prompts, RemoteTier, Tier
from escalade.v1.identity import tokenizer_fingerprint

PROMPT = "g2p: cascade"
ALWAYS = -1.0
MESSAGES = ({"role": "system", "content": "g2p: "}, {"role": "user", "content": "cat"})

MakeClient = Callable[..., EdgeClient]


@pytest.fixture
def other_tokenizer(float_artifact: Path, tmp_path: Path) -> Artifact:
    """The same model with one token more."""
    folder = Path(shutil.copytree(float_artifact, tmp_path / "other"))
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"]["<new>"] = max(content["model"]["vocab"].values()) + 1
    path.write_text(json.dumps(content))
    manifest = read_manifest(float_artifact)
    model = msgspec.structs.replace(
        manifest.model, tokenizer_fingerprint=tokenizer_fingerprint(path), name="other"
    )
    files = {**manifest.files, path.name: file_entry(path)}
    write_manifest(folder, msgspec.structs.replace(manifest, files=files, model=model))
    return Artifact.open(folder)


@pytest.fixture
def chatting(float_artifact: Path, tmp_path: Path) -> Callable[..., Artifact]:
    """The model with a chat template; another end of sequence makes another artifact."""

    def make(eos: str = "<sep>", template: str | None = None) -> Artifact:
        folder = Path(shutil.copytree(float_artifact, tmp_path / f"chat-{eos}{bool(template)}"))
        path = folder / "chat_template.jinja"
        path.write_text(
            template or "{% for m in messages %}{{ m.content }}{% endfor %}{{ eos_token }}"
        )
        manifest = json.loads((folder / "manifest.json").read_text())
        entry = file_entry(path)
        manifest["files"][path.name] = {"sha256": entry.sha256, "bytes": entry.bytes}
        tokens = {"eos_token": eos}
        manifest["model"]["chat"] = {"template": path.name, "special_tokens": tokens}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return Artifact.open(folder)

    return make


def test_a_tokenizer_that_several_share_reads_a_prompt_once(
    five: list[Member], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    encode = Artifact.encode

    def counted(self: Artifact, prompt: str, *, special_tokens: bool = True) -> list[int]:
        read.append(prompt)
        return encode(self, prompt, special_tokens=special_tokens)

    monkeypatch.setattr(Artifact, "encode", counted)
    prompts = Prompts(Query(text=PROMPT))
    ids = [prompts.of(member).ids for member in five]
    assert read == [PROMPT]
    assert all(one is ids[0] for one in ids)
    assert prompts.text == PROMPT


def test_who_shares_a_tokenizer_may_still_have_a_shorter_window(five: list[Member]) -> None:
    artifact = five[0].artifact
    model = msgspec.structs.replace(artifact.manifest.model, window=8)
    manifest = msgspec.structs.replace(artifact.manifest, model=model)
    short = Member(
        Artifact(
            artifact.folder, manifest, artifact._runtime, artifact._tokenizer, rule=artifact.rule
        )
    )
    prompts = Prompts(Query(text=PROMPT))
    prompts.of(five[0])
    with pytest.raises(PromptError, match="takes 1 to 7"):
        prompts.of(short)


def test_ids_travel_as_they_came(
    make_client: MakeClient, scripted_cloud: Any, artifact: Artifact
) -> None:
    fingerprint = artifact.manifest.model.tokenizer_fingerprint
    ids = tuple(artifact.encode(PROMPT))
    query = Query(ids=ids, tokenizer_fingerprint=fingerprint)
    answer = make_client(ALWAYS).ask(query)
    text = make_client(ALWAYS, cloud=False).ask(PROMPT).text
    assert answer.tiers[0] is not None
    assert answer.tiers[0].text == text
    (request,) = scripted_cloud.asked
    assert tuple(request.prompt.tokens.ids) == ids
    assert request.prompt.tokens.tokenizer_fingerprint == fingerprint
    assert answer.prompt == artifact.decode(ids)


@pytest.mark.parametrize(
    ("ids", "says"),
    [((2**33,), "must be in \\[0, "), ((-1,), "got -1"), ((3,) * 48, "takes 1 to 47")],
)
def test_ids_that_the_model_does_not_know_are_refused_before_any_work(
    make_client: MakeClient,
    scripted_cloud: Any,
    artifact: Artifact,
    ids: tuple[int, ...],
    says: str,
) -> None:
    fingerprint = artifact.manifest.model.tokenizer_fingerprint
    with pytest.raises(PromptError, match=says):
        make_client(ALWAYS).stream(Query(ids=ids, tokenizer_fingerprint=fingerprint))
    assert scripted_cloud.asked == []


def test_ids_of_another_tokenizer_are_refused(make_client: MakeClient, artifact: Artifact) -> None:
    query = Query(ids=(3, 4), tokenizer_fingerprint="0" * 64)
    name = artifact.manifest.model.name
    with pytest.raises(PromptError, match=f"of the tokenizer '000000000000': {name} has .*; send"):
        make_client(ALWAYS).ask(query)


def test_a_later_tier_that_cannot_read_them_is_passed_over(
    five: list[Member], other_tokenizer: Artifact, scripted_cloud: Any, make_remote: Any
) -> None:
    from escalade.edge.tiers import ArtifactTier

    tiers: list[Tier] = [
        ArtifactTier(five[0], name="small"),
        ArtifactTier(Member(other_tokenizer), name="middle"),
        make_remote(reader=five[0]),
    ]
    gate = Gate(rule=five[0].artifact.rule, threshold=ALWAYS)
    client = EdgeClient(Cascade(tiers=tiers, gates=[gate, gate, None]))
    assert client.ask(PROMPT).tiers[1] is not None
    ids = tuple(five[0].artifact.encode(PROMPT))
    answer = client.ask(Query(ids=ids, tokenizer_fingerprint=five[0].fingerprint))
    assert (answer.outcome, answer.tiers[1]) == ("deferred", None)
    assert answer.reason is not None
    assert "token ids of the tokenizer" in answer.reason
    # The draft of a tier with another tokenizer says so.
    draft = client.ask(PROMPT) and scripted_cloud.asked[-1].draft
    assert draft.tokens.tokenizer_fingerprint != five[0].fingerprint


def test_ids_become_text_where_they_are_a_texts(
    make_client: MakeClient, scripted_cloud: Any, artifact: Artifact
) -> None:
    fingerprint = artifact.manifest.model.tokenizer_fingerprint
    client = make_client(ALWAYS, prompt_form="text")
    ids = artifact.encode(PROMPT)
    client.ask(Query(ids=tuple(ids), tokenizer_fingerprint=fingerprint))
    assert artifact.encode(scripted_cloud.asked[0].prompt.text) == ids
    twice = (ids[-1], *ids)  # of which the first is a special token too
    with pytest.raises(PromptError, match="token ids cannot be sent as text: they hold special"):
        client.ask(Query(ids=twice, tokenizer_fingerprint=fingerprint))
    assert len(scripted_cloud.asked) == 1


def test_what_nobody_here_reads_travels_as_it_came(
    make_remote: Callable[..., RemoteTier], scripted_cloud: Any
) -> None:
    client = EdgeClient(Cascade(tiers=[make_remote()], gates=[None]))
    client.ask(PROMPT)
    client.ask(Query(ids=(3, 4), tokenizer_fingerprint="f"))
    assert [one.prompt.WhichOneof("content") for one in scripted_cloud.asked] == ["text", "tokens"]
    assert list(scripted_cloud.asked[1].prompt.tokens.ids) == [3, 4]
    as_text = EdgeClient(Cascade(tiers=[make_remote(prompt_form="text")], gates=[None]))
    for query, says in (
        (Query(ids=(3, 4), tokenizer_fingerprint="f"), "no tier below can read them"),
        (Query(messages=MESSAGES), "a conversation travels as tokens"),
        (Query(text=" "), "the prompt is empty"),
        (Query(text="\ud800"), "not valid Unicode"),
    ):
        with pytest.raises(PromptError, match=says):
            as_text.ask(query)
    assert len(scripted_cloud.asked) == 2


def test_members_read_a_conversation_each_through_its_own_template(
    chatting: Callable[..., Artifact], scripted_cloud: Any, make_remote: Any
) -> None:
    # The same template, but it names another token: they may not share what it wrote.
    members = [Member(chatting("<sep>")), Member(chatting("<eos>"))]
    for side_by_side in (False, True):
        tier = EnsembleTier(members, side_by_side=side_by_side)
        gate = Gate(rule=Vote(), threshold=0.0)
        cascade = Cascade(tiers=[tier, make_remote(reader=members[0])], gates=[gate, None])
        answer = EdgeClient(cascade).ask(list(MESSAGES), shadow=True)
        said = answer.tiers[0]
        assert said is not None
        for member, one in zip(members, said.members, strict=True):
            artifact = member.artifact
            text = "g2p: cat" + ("<sep>" if member is members[0] else "<eos>")
            steps = artifact.generate(artifact.encode(text, special_tokens=False))
            assert one.text == artifact.text_of(steps)
        assert answer.prompt == "g2p: cat<sep>"
        assert list(scripted_cloud.asked[-1].prompt.tokens.ids) == members[0].artifact.encode(
            "g2p: cat<sep>", special_tokens=False
        )


def test_a_chat_model_and_a_plain_one_do_not_vote(
    five: list[Member], chatting: Callable[..., Artifact]
) -> None:
    with pytest.raises(ArtifactError, match="cannot be compared .* chat template True and False"):
        EnsembleTier([five[0], Member(chatting())])


def test_a_later_template_that_refuses_is_passed_over(
    chatting: Callable[..., Artifact], scripted_cloud: Any, make_remote: Any
) -> None:
    from escalade.edge.tiers import ArtifactTier

    good = Member(chatting())
    bad = Member(chatting(template="{{ raise_exception('no system messages') }}"))
    gate = Gate(rule=good.artifact.rule, threshold=ALWAYS)
    tiers: list[Tier] = [
        ArtifactTier(good, name="good"),
        ArtifactTier(bad, name="bad"),
        make_remote(reader=good),
    ]
    answer = EdgeClient(Cascade(tiers=tiers, gates=[gate, gate, None])).ask(list(MESSAGES))
    assert (answer.outcome, answer.answered_by, answer.tiers[1]) == ("deferred", 2, None)
    assert answer.reason is not None
    assert "no system messages" in answer.reason
