"""Classifiers among other tiers: what travels of them, what they take, who they vote with."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from classifiers import LABELS, encoder_folder, linear_artifact
from scripted import ScriptedCloud

from escalade.edge import Artifact, Cascade, EdgeClient
from escalade.edge.artifact import Tokenizers
from escalade.edge.deferral import Gate, agreement_named, rule_named
from escalade.edge.errors import ArtifactError, PromptError
from escalade.edge.runtimes import Draw, Sampling
from escalade.edge.tiers import ArtifactTier, EnsembleTier, Member, Prompts, Query, RemoteTier

TEXT = "my brother lost his house and cried"
MakeRemote = Callable[..., RemoteTier]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return linear_artifact(tmp_path_factory.mktemp("linear"))


@pytest.fixture
def member(folder: Path) -> Member:
    return Member(Artifact.open(folder))


def relabelled(folder: Path, out: Path, labels: list[str]) -> Path:
    shutil.copytree(folder, out)
    content = json.loads((out / "manifest.json").read_bytes())
    content["classification"]["labels"] = labels
    (out / "manifest.json").write_text(json.dumps(content))
    return out


def always(*tiers: Any, clock: Any) -> EdgeClient:
    """Every tier but the last defers."""
    gates = [Gate(rule=rule_named("mean"), threshold=-1.0) for _ in tiers[1:]]
    return EdgeClient(Cascade(tiers=[*tiers], gates=[*gates, None], clock=clock))


def test_a_tier_above_is_sent_the_text_and_no_draft(
    member: Member, make_remote: MakeRemote, scripted_cloud: ScriptedCloud, jumping_clock: Any
) -> None:
    remote = make_remote(reader=member)
    with always(ArtifactTier(member), remote, clock=jumping_clock) as client:
        answer = client.ask(TEXT)
    (sent,) = scripted_cloud.asked
    assert (answer.text, sent.prompt.text) == ("large answer", TEXT)
    assert not sent.HasField("draft")


def test_beside_a_language_models_ids_its_label_is_not_sent_as_ids(
    artifact: Artifact,
    member: Member,
    make_remote: MakeRemote,
    scripted_cloud: ScriptedCloud,
    jumping_clock: Any,
) -> None:
    speaker = Member(artifact)
    tiers = (ArtifactTier(speaker), ArtifactTier(member), make_remote(reader=speaker))
    with always(*tiers, clock=jumping_clock) as client:
        answer = client.ask("g2p: cat")
    (sent,) = scripted_cloud.asked
    assert answer.tiers[1] is not None
    assert answer.tiers[1].text in LABELS
    assert sent.prompt.tokens.tokenizer_fingerprint == speaker.fingerprint
    assert not sent.HasField("draft")


def test_it_reads_text_alone(member: Member, artifact: Artifact) -> None:
    ids = Query(ids=(1, 2), tokenizer_fingerprint=Member(artifact).fingerprint)
    for query in (ids, Query(ids=(1, 2))):
        with pytest.raises(PromptError, match="is a classifier, which reads text"):
            Prompts(query).of(member)
    with pytest.raises(ArtifactError, match="no chat template"):
        Prompts(Query(messages=({"role": "user", "content": "hi"},))).of(member)


def test_two_of_one_tokenizer_read_as_far_as_each_one_s_window(tmp_path: Path) -> None:
    from escalade.export.artifact.classifier import export_classifier

    encoder_folder(tmp_path / "model")
    export_classifier(tmp_path / "model", tmp_path / "long", golden_texts=["great"])
    shutil.copytree(tmp_path / "long", tmp_path / "short")
    content = json.loads((tmp_path / "short" / "manifest.json").read_bytes())
    content["model"]["window"] = 5
    (tmp_path / "short" / "manifest.json").write_text(json.dumps(content))
    long, short = (Member(Artifact.open(tmp_path / name)) for name in ("long", "short"))
    prompts = Prompts(Query(text="lost " * 100))
    assert [len(prompts.of(one).ids) for one in (long, short, long)] == [24, 5, 24]


def test_those_of_one_tokenizer_and_window_share_it_and_read_a_text_once(tmp_path: Path) -> None:
    from escalade.export.artifact.classifier import export_classifier

    encoder_folder(tmp_path / "model")
    export_classifier(tmp_path / "model", tmp_path / "a", golden_texts=["great"])
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    shutil.copytree(tmp_path / "a", tmp_path / "short")
    content = json.loads((tmp_path / "short" / "manifest.json").read_bytes())
    content["model"]["window"] = 5
    (tmp_path / "short" / "manifest.json").write_text(json.dumps(content))
    tokenizers: Tokenizers = {}
    first, second, short = (
        Artifact.open(tmp_path / name, tokenizers=tokenizers) for name in ("a", "b", "short")
    )
    assert first._tokenizer is second._tokenizer is not short._tokenizer
    prompts = Prompts(Query(text="lost " * 100))
    read = [prompts.of(Member(one)) for one in (first, second, short)]
    assert read[0] is read[1]
    assert [len(one.ids) for one in read] == [24, 24, 5]


def test_a_window_without_room_for_special_tokens_is_named(tmp_path: Path) -> None:
    from escalade.export.artifact.classifier import export_classifier

    encoder_folder(tmp_path / "model")
    export_classifier(tmp_path / "model", tmp_path / "out", golden_texts=[])
    content = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    content["model"]["window"] = 1
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match="window must be above 2, .*; got 1"):
        Artifact.open(tmp_path / "out")


def test_classifiers_of_other_labels_do_not_vote_together(folder: Path, tmp_path: Path) -> None:
    first = Member(Artifact.open(folder))
    same = Member(Artifact.open(relabelled(folder, tmp_path / "same", LABELS[::-1])))
    other = Member(Artifact.open(relabelled(folder, tmp_path / "other", ["a", "b", "c"])))
    assert EnsembleTier([first, same]).members()
    with pytest.raises(ArtifactError, match="labels"):
        EnsembleTier([first, other])


def test_every_member_says_how_probable_the_winning_label_is(
    folder: Path, tmp_path: Path, jumping_clock: Any
) -> None:
    first = Member(Artifact.open(folder))
    turned = Member(Artifact.open(relabelled(folder, tmp_path / "turned", LABELS[::-1])))
    twin = Member(Artifact.open(relabelled(folder, tmp_path / "turned2", [*LABELS[1:], LABELS[0]])))
    members = [first, turned, twin]
    gate = Gate(rule=agreement_named("mean-score"), threshold=None)
    cascade = Cascade(tiers=[EnsembleTier(members)], gates=[gate], clock=jumping_clock)
    answer = EdgeClient(cascade).ask(TEXT, shadow=True)  # which hears all
    said = [member.artifact.classify(TEXT) for member in members]
    votes = [max(one, key=lambda label: one[label]) for one in said]
    winner = max(votes, key=lambda label: (votes.count(label), -votes.index(label)))
    likely = [math.exp(one[winner]) for one in said]
    assert len(set(votes)) > 1  # one that voted for another label is heard on this one too
    assert answer.text == winner
    assert answer.score == pytest.approx(1 - sum(likely) / 3)


def test_a_classifier_draws_no_samples(member: Member) -> None:
    drawn = [Member(member.artifact, draw=Draw(Sampling(), place)) for place in range(2)]
    with pytest.raises(ArtifactError, match="a classifier draws nothing: all samples are one"):
        EnsembleTier(drawn)
