"""The process that learns, in this one: versions that promise something, and what goes wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from classifiers import LABELS, encoder_folder, labelled
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from escalade.cli.learning import publishing
from escalade.cli.learning.__main__ import follow
from escalade.cli.learning.gathering import open_gathering
from escalade.cli.learning.settings import LearnPlan
from escalade.cli.learning.supervising import Progress
from escalade.edge.base import SystemClock
from escalade.edge.deferral import WithinGoal
from escalade.edge.errors import DataError, StoreError
from escalade.edge.generation import Artifact
from escalade.edge.store import Store
from escalade.training.errors import RecipeError
from escalade.training.online import FeedWriter

LINEAR = 'kind = "linear"\nbuckets = 4096\n'
ENCODER = (
    'kind = "encoder"\npath = "bert"\nmax_tokens = 24\nlearning_rate = 3e-3\nhead_rate = 3e-3\n'
)


def plan_of(folder: Path, level: str) -> LearnPlan:
    (folder / "cascade.toml").write_text(
        '[[tiers]]\nname = "small"\nmembers = ["store/current"]\n\n'
        '[[tiers]]\nname = "large"\naddress = "127.0.0.1:1"\n'
    )
    labels = ", ".join(f'"{label}"' for label in LABELS)
    (folder / "learn.toml").write_text(
        f"labels = [{labels}]\nwindow = 300\nepsilon = 0.2\ndelta = 0.1\npublish_items = 200\n\n"
        f'[[level]]\nname = "small"\n{level}'
    )
    return LearnPlan(folder / "learn.toml", folder / "cascade.toml")


@pytest.fixture
def plan(tmp_path: Path) -> LearnPlan:
    return plan_of(tmp_path, LINEAR)


@pytest.fixture(params=[LINEAR, ENCODER], ids=["linear", "encoder"])
def any_plan(tmp_path: Path, request: pytest.FixtureRequest) -> LearnPlan:
    """Of each kind of level."""
    if request.param == ENCODER:
        encoder_folder(tmp_path / "bert")
    return plan_of(tmp_path, request.param)


def fill(plan: LearnPlan, count: int) -> None:
    data = labelled(count, seed=3)
    writer = FeedWriter(plan.feed)
    for number, (text, kind) in enumerate(zip(data.texts, data.classes, strict=True)):
        writer.add(text, LABELS[kind], sampled=number % 2 == 0)
    writer.close()


def begin(plan: LearnPlan) -> None:
    """As a gateway does."""
    plan.folder.mkdir(exist_ok=True)
    FeedWriter(plan.feed).close()
    learn(plan, 0)


def learn(plan: LearnPlan, rounds: int) -> list[Progress]:
    """What it says in so many rounds, after it began."""
    said = list[Progress]()
    follow(plan, SystemClock(), said.append, lambda: len(said) > rounds)
    return said[1:]


def current(plan: LearnPlan) -> Artifact:
    return Artifact.open(plan.stores[0] / "current")


def test_an_empty_store_gets_a_version_that_knows_nothing_and_defers_all(plan: LearnPlan) -> None:
    begin(plan)
    artifact = current(plan)
    assert artifact.manifest.deferral.threshold == artifact.rule.lowest
    said = artifact.classify("i was glad")
    assert said == pytest.approx(dict.fromkeys(LABELS, -1.0986), abs=1e-4)
    before = Store(plan.stores[0]).current
    begin(plan)
    assert Store(plan.stores[0]).current == before


def test_what_was_learned_becomes_a_version_that_keeps_its_promise(any_plan: LearnPlan) -> None:
    plan = any_plan
    begin(plan)
    assert current(plan).manifest.deferral.threshold == current(plan).rule.lowest
    fill(plan, 800)
    said = learn(plan, 4)
    assert [one.versions for one in said] == [1, 2, 3, 4]
    assert (said[-1].taken, said[-1].learned, said[-1].failures) == (800, 500, 0)
    artifact = current(plan)
    deferral = artifact.manifest.deferral
    assert deferral.calibration is not None
    assert deferral.calibration.goal == WithinGoal(epsilon=0.2, delta=0.1)
    assert deferral.calibration.certified
    assert deferral.threshold is not None
    # On queries to come: kept and not what the expert says.
    data, kept, wrong = labelled(1500, seed=4), 0, 0
    for text, kind in zip(data.texts, data.classes, strict=True):
        label, logprob = max(artifact.classify(text).items(), key=lambda one: one[1])
        if -logprob < deferral.threshold:
            kept += 1
            wrong += label != LABELS[kind]
    assert kept > 300  # an encoder of 24 tokens sees half of a text
    assert wrong / 1500 <= 0.2


def test_too_few_queries_certify_nothing_and_all_is_deferred(plan: LearnPlan) -> None:
    begin(plan)
    fill(plan, 200)
    plan.settings = type(plan.settings)(
        labels=LABELS, level=plan.settings.level, epsilon=0.01, delta=0.01, publish_items=200
    )
    assert learn(plan, 1)[-1].versions == 1
    artifact = current(plan)
    assert artifact.manifest.deferral.threshold == artifact.rule.lowest


def test_a_version_that_cannot_be_installed_is_counted_and_the_next_one_is(
    plan: LearnPlan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    begin(plan)
    fill(plan, 400)
    real, calls = publishing.install, list[str]()

    def full(place: str, folder: Path, *, allow_older: bool) -> object:
        calls.append(place)
        if len(calls) == 1:
            raise StoreError("No space left on device; the current version is as it was")
        return real(place, folder, allow_older=allow_older)

    monkeypatch.setattr(publishing, "install", full)
    said = learn(plan, 2)
    assert [(one.versions, one.failures) for one in said] == [(0, 1), (1, 1)]
    assert "no version was published: No space left" in capsys.readouterr().out


def test_each_version_is_signed_where_a_key_is_given(plan: LearnPlan) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    private, public = plan.folder.parent / "key.pem", plan.folder.parent / "key.pub"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    public.write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    path = plan.folder.parent / "learn.toml"
    path.write_text('private_key = "key.pem"\n' + path.read_text())
    signing = LearnPlan(path, path.with_name("cascade.toml"))
    begin(signing)
    fill(signing, 200)
    learn(signing, 1)
    versions = Store(plan.stores[0]).versions(public)
    assert [one.signature for one in versions] == ["valid", "valid"]


def test_an_alarm_has_a_version_made_at_once_which_defers_all(plan: LearnPlan) -> None:
    begin(plan)
    fill(plan, 400)
    assert [one.versions for one in learn(plan, 2)] == [1, 2]
    assert current(plan).manifest.deferral.threshold != current(plan).rule.lowest
    writer = FeedWriter(plan.feed)
    for number in range(20):
        writer.add(f"text {number}", LABELS[0], sampled=False, alarm=number == 5)
    writer.close()
    said = learn(plan, 2)
    assert [(one.taken, one.versions) for one in said] == [(406, 1), (420, 1)]
    assert current(plan).manifest.deferral.threshold == current(plan).rule.lowest
    assert said[-1].learned == 420  # those of the window too


def test_a_store_of_other_labels_and_a_second_gateway_are_refused(plan: LearnPlan) -> None:
    begin(plan)
    paths = [plan.folder.parent / name for name in ("learn.toml", "cascade.toml")]
    writer = FeedWriter(plan.feed)
    with pytest.raises(DataError, match="feed"):
        open_gathering(*paths)
    writer.close()
    paths[0].write_text(paths[0].read_text().replace('"joy"', '"fear"'))
    with pytest.raises(RecipeError, match=r"store: its version must have the labels fear, deep"):
        open_gathering(*paths)
