"""The next version of the bundled small model, of what the large one said: whole, cut, again."""

from __future__ import annotations

import json
import re
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from authority import signing_keys

from escalade.cli.demo.processes import running
from escalade.cli.improvement import improving
from escalade.cli.improvement.making import Making
from escalade.edge import EdgeClient
from escalade.edge.artifact import load_manifest, signature_state
from escalade.edge.base import read_records, subsample, write_records
from escalade.edge.calibration import answers_to, calibrate
from escalade.edge.deferral import RateGoal
from escalade.edge.generation import Artifact
from escalade.edge.store import Store, install
from escalade.edge.trace import read_trace
from escalade.export.artifact.artifact import export_artifact
from escalade.training.data import load_pronunciations, make_records

Invoke = Callable[..., tuple[int, str, str]]
CHECKPOINTS = Path(__file__).parents[3] / "training" / "checkpoints"
QUERIES = 60

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def expert() -> Iterator[str]:
    with running("expert", "serve", str(CHECKPOINTS / "large"), "--listen", "127.0.0.1:0") as at:
        yield at


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first version, calibrated to defer half of the queries, and 60 queries to ask."""
    folder = tmp_path_factory.mktemp("first")
    records = subsample(list(make_records("train", load_pronunciations())), QUERIES)
    write_records(folder / "queries.jsonl", records)
    export_artifact(
        CHECKPOINTS / "small-base",
        folder / "artifact",
        quantize="int8",
        activation_bits=32,
        golden_prompts=["g2p: a"],
    )
    artifact = Artifact.open(folder / "artifact")
    calibrate(artifact, answers_to(artifact, folder / "queries.jsonl"), RateGoal(target=0.5))
    return folder


@pytest.fixture(scope="module")
def traced(first: Path, expert: str) -> Path:
    """A folder with the trace of 60 queries that were asked."""
    records = read_records(first / "queries.jsonl")
    traces = first / "traces"
    traces.mkdir()
    with EdgeClient.open(first / "artifact", cloud=expert, trace=traces / "one.jsonl") as client:
        for record in records:
            client.ask(record.prompt)
    return traces


@pytest.fixture
def place(first: Path, traced: Path, expert: str, tmp_path: Path) -> Path:
    """A store with the first version, the traces, and settings for the next."""
    install(str(first / "artifact"), tmp_path / "store")
    signing_keys(tmp_path)
    shutil.copytree(traced, tmp_path / "traces")
    (tmp_path / "improve.toml").write_text(
        f"""kind = "generation"
model = "{CHECKPOINTS / "small-base"}"
store = "store"
key = "key.pem"
[expert]
address = "{expert}"
[replay]
path = "{first / "queries.jsonl"}"
share = 0.25
[calibration]
share = 0.4
[optim]
steps = 4
batch_size = 8
learning_rate = 1e-3
warmup_steps = 1
"""
    )
    return tmp_path


def test_the_next_version_is_learned_calibrated_and_published(
    place: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(place / "store")
    first = store.current
    monkeypatch.chdir(place)  # names that are relative
    code, out, err = invoke("learn", "improve.toml", "traces", "out", "--json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["before"], told["version"]) == (first, store.current)
    assert told["version"] != first
    assert store.previous == first

    # What was heard is what the trace holds.
    records = read_trace(place / "traces" / "one.jsonl").records
    heard, figures = told["heard"], told["figures"]
    deferred = sum(one.outcome == "deferred" for one in records)
    assert heard["queries"] == QUERIES == heard["kept"] + heard["deferred"] + heard["cut"]
    assert 0 < heard["deferred"] + heard["cut"] == deferred < QUERIES

    # No prompt is on both sides, replayed ones neither; each example is the expert's answer.
    version = place / "out" / str(store.current)[:12]
    train = read_records(version / "data" / "train.jsonl")
    calibrating = {one.prompt for one in read_records(version / "data" / "calibrate.jsonl")}
    assert calibrating.isdisjoint(one.prompt for one in train)
    said = {one.prompt: one.tiers[-1].text for one in records if one.tiers[-1] is not None}
    new = [one for one in train if not one.id.startswith("replay/")]
    assert len(new) == figures["examples"] == len({one.prompt for one in new})
    assert all(one.references == [said[one.prompt]] for one in new)
    assert len(train) - len(new) == figures["replayed"] > 0
    assert figures["asked"] == len(calibrating - said.keys())

    # As the version before was exported, for the same goal, with other weights.
    was, now = (load_manifest(store.path_of(one)) for one in (first, store.current) if one)
    assert (was.model.name, was.quantization) == (now.model.name, now.quantization)
    assert was.model.revision != now.model.revision
    assert was.deferral.calibration is not None
    assert now.deferral.calibration is not None
    assert now.deferral.calibration.goal == was.deferral.calibration.goal
    assert now.deferral.calibration.fit.large_quality == 1.0
    assert figures["now"]["agreement"] >= figures["now"]["own_agreement"]

    assert signature_state(store.path_of(str(store.current)), place / "pub.pem") == "valid"

    # Of the same traces nothing new comes, also after it was gone back from.
    for _ in range(2):
        code, out, err = invoke("learn", "improve.toml", "traces", "out")
        assert code == 0, err
        known = told["version"][:12]
        assert out.splitlines()[-1] == f"nothing new: version {known} has learned from the same"
        assert not (place / "out" / "next").exists()
        store.rollback(first)
    assert store.current == first


class CutOff(BaseException):
    """Stands for a kill: nothing in the run may catch it."""


def learn(place: Path, invoke: Invoke) -> tuple[int, list[str], list[str]]:
    code, out, err = invoke("learn", place / "improve.toml", place / "traces", place / "out")
    return code, out.splitlines(), err.splitlines()


@pytest.mark.parametrize(
    ("cut", "kept"), [("export", 3), ("calibrate", 4), ("install", 5), ("rename", 5)]
)
def test_a_run_that_was_cut_off_publishes_nothing_and_goes_on(
    cut: str, kept: int, place: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(place / "store")
    first = store.current

    def kill(*args: object, **kwargs: object) -> None:
        raise CutOff

    with monkeypatch.context() as patched:
        if cut == "install":
            patched.setattr(improving, "install", kill)
        elif cut == "rename":  # published, and it could not say so any more
            patched.setattr(Making, "figures", kill)
        else:
            patched.setattr(Making, cut, kill)
        with pytest.raises(CutOff):
            learn(place, invoke)
    assert (store.current == first) == (cut != "rename")
    weights = place / "out" / "next" / "checkpoint" / "model.safetensors"
    written = weights.stat().st_mtime_ns
    code, out, err = learn(place, invoke)
    assert code == 0, err
    assert sum("done before" in line for line in err) == kept
    assert out[-1] == f"current is {str(store.current)[:12]}, was {str(first)[:12]}"
    weights = place / "out" / str(store.current)[:12] / "checkpoint" / "model.safetensors"
    assert weights.stat().st_mtime_ns == written
    assert store.previous == first


@pytest.mark.parametrize(
    ("changed", "kept"), [("checkpoint/config.json", 2), ("data/train.jsonl", 0)]
)
def test_what_was_changed_in_between_is_made_again_and_other_settings_are_refused(
    changed: str, kept: int, place: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*args: object, **kwargs: object) -> None:
        raise CutOff

    with monkeypatch.context() as patched:
        patched.setattr(Making, "export", kill)
        with pytest.raises(CutOff):
            learn(place, invoke)
    settings = (place / "improve.toml").read_text()
    (place / "improve.toml").write_text(settings.replace("steps = 4", "steps = 5"))
    code, _, err = learn(place, invoke)
    assert code == 2
    assert (
        "next: holds the unfinished version of other settings: optim.steps was 4, is 5" in err[-1]
    )
    (place / "improve.toml").write_text(settings)
    (place / "out" / "next" / changed).write_text("{}")
    code, _, err = learn(place, invoke)
    assert code == 0
    assert sum("done before" in line for line in err) == kept


def test_a_store_that_changed_meanwhile_is_left_alone(
    place: Path, first: Path, invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*args: object, **kwargs: object) -> None:
        raise CutOff

    with monkeypatch.context() as patched:
        patched.setattr(improving, "install", kill)
        with pytest.raises(CutOff):
            learn(place, invoke)
    again = Path(shutil.copytree(first / "artifact", place / "again"))
    artifact = Artifact.open(again)
    calibrate(artifact, answers_to(artifact, first / "queries.jsonl"), RateGoal(target=0.7))
    other = install(str(again), place / "store").id
    code, _, err = learn(place, invoke)
    assert code == 2
    assert "another version became current since" in err[-1]
    assert Store(place / "store").current == other


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('store = "store"', 'store = "nowhere"', "nowhere: no version there; export the first one"),
        ("small-base", "large", "model: the current version was exported from weights"),
        ("[optim]", "[optim]\nstep = 3", "improve.toml: Object contains unknown field `step`"),
        ("address =", "path =", "improve.toml: expert.address is missing"),
        ("share = 0.25", "share = 1.0", "improve.toml: replay.share must be in [0, 1), got 1.0"),
        ("share = 0.4", "share = 0.999999", "0 are answers of the expert to learn from"),
    ],
)
def test_bad_settings_are_one_line(
    old: str, new: str, said: str, place: Path, invoke: Invoke
) -> None:
    settings = (place / "improve.toml").read_text()
    assert old in settings
    (place / "improve.toml").write_text(settings.replace(old, new))
    code, _, err = learn(place, invoke)
    assert code == 2
    assert said in err[-1]
    assert err[-1].startswith("error: ")


def test_traces_or_an_expert_that_are_not_there_are_one_line(place: Path, invoke: Invoke) -> None:
    code, _, err = invoke("learn", place / "improve.toml", place / "nowhere", place / "out")
    assert code == 2
    assert err.splitlines()[-1].endswith("nowhere: cannot be read: No such file or directory")
    settings = (place / "improve.toml").read_text()
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{closed.getsockname()[1]}"
        (place / "improve.toml").write_text(
            re.sub(r"(?m)^address = .*$", f'address = "{nobody}"', settings)
        )
        code, _, err = learn(place, invoke)
    assert code == 2
    assert f"error: UNAVAILABLE: cloud {nobody}" in err[-1]
    assert Store(place / "store").previous is None
