"""Opening an artifact: what is whole opens and answers as torch does, what is not is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from escalade.edge.artifact.manifest import read_manifest
from escalade.edge.errors import ArtifactError, ParityError, PromptError
from escalade.edge.generation.artifact import Artifact
from escalade.v1.identity import tokenizer_fingerprint

PROMPTS = ["g2p: cascade", "p2g: K AE T", "syllables: o'neil", "stress: zzz", "g2p: ?"]


@pytest.fixture
def copy(float_artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(float_artifact, tmp_path / "artifact"))


def edit_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("prompt", PROMPTS)
def test_tokens_and_logprobs_are_those_of_torch(
    float_artifact: Path, tiny_model_dir: Path, prompt: str
) -> None:
    artifact = Artifact.open(float_artifact)
    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    ids = AutoTokenizer.from_pretrained(tiny_model_dir)(prompt)["input_ids"]
    assert artifact.encode(prompt) == ids
    out = model.generate(
        torch.tensor([ids]),
        attention_mask=torch.ones((1, len(ids)), dtype=torch.int64),
        max_new_tokens=artifact.room_for(ids),
        do_sample=False,
        repetition_penalty=1.0,
        output_logits=True,
        return_dict_in_generate=True,
    )
    steps = artifact.generate(ids)
    assert [step.token_id for step in steps] == out.sequences[0, len(ids) :].tolist()
    expected = [float(torch.log_softmax(logits[0], -1).max()) for logits in out.logits]
    assert [step.logprob for step in steps] == pytest.approx(expected, abs=1e-4)


def test_a_query_leaves_nothing_behind_for_the_next(float_artifact: Path) -> None:
    artifact = Artifact.open(float_artifact)
    first = artifact.generate(artifact.encode(PROMPTS[0]))
    artifact.generate(artifact.encode(PROMPTS[1]))
    assert artifact.generate(artifact.encode(PROMPTS[0])) == first


def test_int8_scores_differ_from_float_by_little(float_artifact: Path, int8_artifact: Path) -> None:
    exact, rounded = Artifact.open(float_artifact), Artifact.open(int8_artifact)
    ids = exact.encode(PROMPTS[0])
    first, other = exact.generate(ids)[0], rounded.generate(ids)[0]
    assert first.logprob != other.logprob
    assert first.logprob == pytest.approx(other.logprob, abs=0.1)


def test_the_longest_prompt_still_gets_an_answer(float_artifact: Path) -> None:
    artifact = Artifact.open(float_artifact)
    window = artifact.manifest.model.window
    longest = "g2p: " + "a" * (window - 3)  # with the task's token and <sep>: window - 1
    assert len(artifact.generate(artifact.encode(longest))) == 1
    with pytest.raises(
        PromptError, match=f"has {window} tokens; this model takes 1 to {window - 1}"
    ):
        artifact.encode(longest + "a")


@pytest.mark.parametrize("prompt", ["", "  \n"])
def test_an_empty_prompt_is_refused(float_artifact: Path, prompt: str) -> None:
    with pytest.raises(PromptError, match="the prompt is empty"):
        Artifact.open(float_artifact).encode(prompt)


def test_text_that_is_no_unicode_is_refused(float_artifact: Path) -> None:
    with pytest.raises(PromptError, match="not valid Unicode"):
        Artifact.open(float_artifact).encode("g2p: \ud800")


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx.data", "tokenizer.json"])
def test_an_altered_file_is_named(copy: Path, name: str) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"{name}: altered: sha256"):
        Artifact.open(copy)


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx.data", "tokenizer.json"])
def test_a_missing_or_cut_file_is_named(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[:-1])
    with pytest.raises(ArtifactError, match=rf"{name}: {len(content) - 1} bytes, the manifest"):
        Artifact.open(copy)
    (copy / name).unlink()
    with pytest.raises(ArtifactError, match=rf"{name}: missing"):
        Artifact.open(copy)


def test_a_link_in_place_of_a_file_is_refused(copy: Path, float_artifact: Path) -> None:
    (copy / "model.onnx").unlink()
    (copy / "model.onnx").symlink_to(float_artifact / "model.onnx")
    with pytest.raises(ArtifactError, match="not a regular file"):
        Artifact.open(copy)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m.update(schema=99), "schema 99; this version reads 2"),
        (lambda m: m.pop("golden"), "golden"),
        (lambda m: m.update(surprise=1), "surprise"),
        (lambda m: m["files"].update({"../x": m["files"]["model.onnx"]}), "leaves the artifact"),
        (lambda m: m["files"].pop("model.onnx"), "files does not list model.onnx"),
        (lambda m: m["model"].update(window=0), "model.window must be at least 1"),
        (lambda m: m["model"].update(kv_heads=-1), "model.kv_heads must be at least 1"),
        (lambda m: m["model"].update(head_dim=7), "model.onnx: "),
        (lambda m: m["golden"][0].update(prompt_ids=[]), "token ids must be there"),
        (lambda m: m["golden"][0].update(prompt_ids=[99999]), "token ids must be there and in 0-"),
        (lambda m: m["files"].pop("model.onnx.data"), "model.onnx.data: the manifest does not"),
        (lambda m: m["deferral"].update(rule="coin"), "deferral.rule must be one of mean"),
        (lambda m: m["model"].update(tokenizer_fingerprint="00"), "fingerprint"),
    ],
)
def test_a_bad_manifest_says_what_is_wrong(
    copy: Path, change: Callable[[dict[str, Any]], None], says: str
) -> None:
    edit_manifest(copy, change)
    with pytest.raises(ArtifactError) as caught:
        Artifact.open(copy)
    assert says in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"x" * (2 << 20)])
def test_a_manifest_that_is_none(copy: Path, content: bytes) -> None:
    (copy / "manifest.json").write_bytes(content)
    with pytest.raises(ArtifactError, match="manifest.json"):
        Artifact.open(copy)


def test_a_folder_without_manifest(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="not an artifact: manifest.json cannot be read"):
        Artifact.open(tmp_path)


def test_the_wrong_tokenizer_is_refused_even_when_its_hash_was_updated(copy: Path) -> None:
    path = copy / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"]["ZH"], content["model"]["vocab"]["Z"] = (
        content["model"]["vocab"]["Z"],
        content["model"]["vocab"]["ZH"],
    )
    path.write_text(json.dumps(content))
    from escalade.edge.artifact.manifest import file_entry

    entry = file_entry(path)
    edit_manifest(
        copy,
        lambda m: m["files"].update({path.name: {"sha256": entry.sha256, "bytes": entry.bytes}}),
    )
    with pytest.raises(ArtifactError, match="the model was exported with"):
        read_manifest(copy)


def test_a_program_that_answers_otherwise_is_refused(copy: Path) -> None:
    edit_manifest(copy, lambda m: [g.update(token_ids=[5]) for g in m["golden"]] and None)
    with pytest.raises(ParityError, match="golden prompt .* gave tokens"):
        Artifact.open(copy)


def test_a_program_that_scores_otherwise_is_refused(copy: Path) -> None:
    edit_manifest(copy, lambda m: [g.update(nll=g["nll"] + 0.5) for g in m["golden"]] and None)
    with pytest.raises(ParityError, match="gave NLL"):
        Artifact.open(copy)


def test_a_fingerprint_ignores_layout_and_run_time_settings(copy: Path, tmp_path: Path) -> None:
    content = json.loads((copy / "tokenizer.json").read_text())
    content["padding"] = {"strategy": "BatchLongest"}
    other = tmp_path / "other.json"
    other.write_text(json.dumps(dict(reversed(content.items())), indent=7))
    assert tokenizer_fingerprint(other) == tokenizer_fingerprint(copy / "tokenizer.json")
