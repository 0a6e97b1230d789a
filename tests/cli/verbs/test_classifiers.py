"""Classifiers as a user meets them: every verb that takes an artifact takes one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from authority import signing_keys
from classifiers import (
    LABELS,
    encoder_folder,
    fitted,
    labelled,
    linear_artifact,
    with_threshold,
)
from scripted import ScriptedCloud

from escalade.edge import Artifact
from escalade.edge.classification import HashedNgrams, write_linear_folder
from escalade.export.artifact.classifier import export_classifier
from escalade.export.linear import linear_model_of

Invoke = Callable[..., tuple[int, str, str]]
TEXT = "my brother lost his house and cried"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the same labels `linear`, `other` and `encoder`; and records to calibrate with."""
    folder = tmp_path_factory.mktemp("classifiers")
    linear_artifact(folder / "linear")
    linear_artifact(folder / "other", buckets=64, sgd=False)
    encoder_folder(folder / "model", train=True)
    export_classifier(folder / "model", folder / "encoder", quantize="int8")
    data = labelled(120, seed=9)
    records = [
        {"id": str(k), "task": "mood", "prompt": text, "references": [LABELS[kind]]}
        for k, (text, kind) in enumerate(zip(*data, strict=True))
    ]
    (folder / "data.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records))
    return folder


@pytest.fixture(params=["linear", "encoder"])
def artifact(request: pytest.FixtureRequest, made: Path, tmp_path: Path) -> Path:
    """One of each kind, to be changed."""
    return Path(shutil.copytree(made / request.param, tmp_path / request.param))


def test_ask_gives_a_label_and_all_of_them_with_their_probabilities(
    invoke: Invoke, artifact: Path
) -> None:
    code, out, err = invoke("ask", artifact, TEXT)
    assert (code, out) == (0, "deep sadness\n")
    assert "device: score" in err
    _, out, _ = invoke("ask", artifact, TEXT, "--json")
    said = json.loads(out)
    member = said["tiers"][0]["said"]["members"][0]
    assert (said["answer"], said["stop"]) == ("deep sadness", "end")
    assert set(member["classes"]) == set(LABELS)
    assert max(member["classes"].values()) == member["logprobs"][0] == -said["score"]
    assert member["generated_tokens"] == 1


def test_what_is_for_text_changes_no_label(invoke: Invoke, artifact: Path) -> None:
    for option in (["--temperature", "9"], ["--stop", "sad"], ["--max-new-tokens", "7"]):
        assert invoke("ask", artifact, TEXT, *option)[:2] == (0, "deep sadness\n")
    code, _, err = invoke("ask", artifact, TEXT, "--chat")
    assert (code, err.strip().endswith("the model has no chat template")) == (2, True)
    code, _, err = invoke("ask", artifact, " ")
    assert (code, "the prompt is empty" in err) == (2, True)
    code, _, err = invoke("ask", artifact, "lost \udcff")
    assert (code, "the prompt is not valid Unicode text" in err) == (2, True)
    for odd in ("?!", "a " * 100_000 + "lost cried", "\u200b\U0001f642", "\0", "[PAD] lost [CLS]"):
        code, out, _ = invoke("ask", artifact, odd)
        assert (code, out.strip() in LABELS) == (0, True)


def test_it_is_calibrated_recorded_and_replayed(
    invoke: Invoke, artifact: Path, made: Path, scripted_cloud: ScriptedCloud, tmp_path: Path
) -> None:
    data, goal = made / "data.jsonl", ("--target-deferral-rate", 0.3)
    code, _, err = invoke("calibrate", artifact, "--data", data, *goal)
    assert code == 0, err
    assert "threshold" in invoke("inspect", artifact)[1]
    assert invoke("store", "verify", artifact)[0] == 0

    trace, cloud = tmp_path / "trace.jsonl", ("--cloud", scripted_cloud.address)
    code, _, err = invoke("record", artifact, "--data", data, "--out", trace, *cloud)
    assert code == 0, err
    header, first = map(json.loads, trace.read_text().splitlines()[:2])
    size = json.loads(invoke("inspect", artifact, "--json")[1])["manifest"]["model"]["parameters"]
    # A linear one has a weight of each class for what a text has.
    counted = len(LABELS) if artifact.name == "linear" else size
    assert header["tiers"][0]["members"][0]["parameters"] == counted
    assert set(first["tiers"][0]["members"][0]["classes"]) == set(LABELS)
    assert {one.prompt.WhichOneof("content") for one in scripted_cloud.asked} == {"text"}
    assert not any(one.HasField("draft") for one in scripted_cloud.asked)

    code, _, err = invoke("calibrate", artifact, "--trace", trace, "--target-quality", 0.5)
    assert code == 0, err
    code, out, err = invoke("simulate", trace, "--out", tmp_path / "report.html", "--json")
    assert code == 0, err
    assert json.loads(out)
    more = ("--metric", "exact-match", "--resamples", 20, "--json")
    code, out, err = invoke("evaluate", f"mood={trace}", *more)
    assert code == 0, err
    (headline,) = json.loads(out)["slices"][0]["headlines"]
    found = headline["small_quality"]["value"], headline["large_quality"]["value"]
    assert found == (pytest.approx(0.9, abs=0.1), 0.0)


def test_it_is_signed_installed_verified_and_gone_back_from(
    invoke: Invoke, artifact: Path, tmp_path: Path
) -> None:
    key, public = signing_keys(tmp_path)
    assert invoke("store", "sign", artifact, "--key", key)[0] == 0
    code, out, err = invoke("store", "install", artifact, tmp_path / "s", "--trusted-key", public)
    assert code == 0, err
    current = tmp_path / "s" / "current"
    code, out, _ = invoke("store", "verify", current, "--trusted-key", public)
    assert (code, "golden prompts: 3 of 3 answered as listed" in out) == (0, True)
    assert invoke("ask", current, TEXT)[1] == "deep sadness\n"

    # Another version, which the key did not sign.
    assert invoke("store", "install", with_threshold(artifact), tmp_path / "s")[0] == 0
    assert invoke("store", "verify", current, "--trusted-key", public)[0] == 2
    assert invoke("store", "rollback", tmp_path / "s")[0] == 0
    assert invoke("store", "verify", current, "--trusted-key", public)[0] == 0
    versions = json.loads(invoke("store", "versions", tmp_path / "s", "--json")[1])
    assert [one["current"] for one in versions] == [True, False]


def test_what_was_changed_after_signing_is_not_installed(
    invoke: Invoke, artifact: Path, tmp_path: Path
) -> None:
    key, public = signing_keys(tmp_path)
    assert invoke("store", "sign", artifact, "--key", key)[0] == 0
    content = json.loads((artifact / "manifest.json").read_bytes())
    content["classification"]["labels"].reverse()
    (artifact / "manifest.json").write_text(json.dumps(content))
    code, _, err = invoke("store", "install", artifact, tmp_path / "s", "--trusted-key", public)
    assert (code, len(err.splitlines()), (tmp_path / "s" / "current").exists()) == (2, 1, False)


@pytest.mark.parametrize(
    ("name", "kind", "whose"),
    [
        ("linear", "linear classifier", "scikit-learn's"),
        ("encoder", "encoder that classifies", "torch's"),
    ],
)
def test_inspect_names_the_labels(
    invoke: Invoke, made: Path, name: str, kind: str, whose: str
) -> None:
    code, out, _ = invoke("inspect", made / name)
    assert code == 0
    flat = " ".join(out.split())
    assert f"{kind}: joy, deep sadness, Ärger" in flat
    assert f"3 of 3 prompts with {whose} labels" in flat


@pytest.mark.parametrize("voter", ["other", "encoder"])
def test_several_vote_and_one_defers_to_the_next(
    invoke: Invoke, made: Path, scripted_cloud: ScriptedCloud, voter: str
) -> None:
    path = made / "vote.toml"
    path.write_text(
        f"""[[tiers]]
members = ["linear", "{voter}"]
gate = {{ threshold = 0.4 }}

[[tiers]]
members = ["other"]
gate = {{ rule = "mean", threshold = -1.0 }}

[[tiers]]
address = "{scripted_cloud.address}"
send = "text"
draft_as_text = true
"""
    )
    one, another = (Artifact.open(made / name) for name in ("linear", voter))
    texts = labelled(600, seed=3).texts
    agreed = [_label(one, text) == _label(another, text) for text in texts]
    seen = set()
    for text in [texts[agreed.index(True)], texts[agreed.index(False)]]:
        scripted_cloud.asked.clear()
        code, out, err = invoke("ask", path, text, "--json")
        assert code == 0, err
        said = json.loads(out)
        assert all("classes" in one for one in said["tiers"][0]["said"]["members"])
        seen.add(said["answered_by"])
        if said["answered_by"] == "cloud":
            (sent,) = scripted_cloud.asked
            assert sent.draft.text in LABELS
            assert not sent.draft.tokens.ids
    assert seen == {"ensemble-1", "cloud"}


def _label(artifact: Artifact, text: str) -> str:
    classes = artifact.classify(text)
    return max(classes, key=lambda label: classes[label])


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as what learns writes it."""
    features = HashedNgrams(buckets=4096)
    folder = tmp_path_factory.mktemp("learned") / "moods"
    write_linear_folder(folder, linear_model_of(fitted(features, None), features, labels=LABELS))
    return folder


def test_a_folder_of_weights_is_exported(invoke: Invoke, learned: Path, made: Path) -> None:
    out = learned.parent / "out"
    code, said, err = invoke("export", learned, out, "--golden", made / "data.jsonl")
    assert code == 0, err
    assert said.startswith(f"{out}: linear, float32 weights")
    assert "held against nothing" in said
    assert "8 of 8 answered as listed" in invoke("store", "verify", out)[1]
    assert json.loads(invoke("inspect", out, "--json")[1])["manifest"]["model"]["name"] == "moods"
    assert invoke("ask", out, TEXT)[:2] == (0, "deep sadness\n")


@pytest.mark.parametrize(
    "option",
    [
        ["--quantize", "int8"], ["--format", "executorch"], ["--block-size", "32"],
        ["--head-bits", "8"], ["--max-new-tokens", "3"], ["--layout", "optimum"],
    ],
)  # fmt: skip
def test_options_for_language_models_are_refused(
    invoke: Invoke, learned: Path, tmp_path: Path, option: list[str]
) -> None:
    code, _, err = invoke("export", learned, tmp_path / "out", *option)
    said = f"{option[0]}: is not for a classifier of this kind, got {option[1]}"
    assert (code, said in err, len(err.splitlines())) == (2, True, 1)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (lambda f: (f / "tokenizer.json").unlink(), "tokenizer.json is missing"),
        (lambda f: (f / "model.safetensors").rename(f / "model.bin"), "no *.safetensors"),
        (lambda f: (f / "model.safetensors").write_bytes(b"cut"), "cannot be loaded"),
        (lambda f: (f / "config.json").write_text('{"model_type": "bert"}'), ""),
    ],
)
def test_a_folder_that_is_no_whole_encoder_is_named_in_one_line(
    invoke: Invoke, made: Path, tmp_path: Path, broken: Callable[[Path], object], says: str
) -> None:
    folder = Path(shutil.copytree(made / "model", tmp_path / "broken"))
    broken(folder)
    code, _, err = invoke("export", folder, tmp_path / "out")
    *steps, line = err.splitlines()
    assert (code, line.startswith(f"error: {folder}"), says in line) == (2, True, True), err
    assert all(step.endswith(" ...") for step in steps)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_server_serves_no_classifier(invoke: Invoke, made: Path) -> None:
    for name in ("model", "encoder", "linear"):
        code, out, err = invoke("serve", made / name, "--listen", "127.0.0.1:0")
        *notes, line = err.splitlines()
        assert all(note.endswith(" ...") for note in notes)
        assert (code, out, line.startswith("error: ")) == (2, "", True)
        assert str(made / name) in line


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib", "model.skops"])
def test_a_pickle_is_not_read(invoke: Invoke, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    code, _, err = invoke("export", tmp_path / name, tmp_path / "out")
    assert (code, "reading a pickle runs what stands in it" in err) == (2, True)


def test_a_broken_folder_is_named(invoke: Invoke, learned: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(learned, tmp_path / "broken"))
    (folder / "linear.npy").write_bytes(b"PK\x03\x04")
    code, _, err = invoke("export", folder, tmp_path / "out")
    assert (code, "linear.npy: not an array of weights" in err) == (2, True)
    (folder / "classification.json").write_text("[]")
    code, _, err = invoke("export", folder, tmp_path / "out")
    assert (code, "classification.json" in err, len(err.splitlines())) == (2, True, 1)
