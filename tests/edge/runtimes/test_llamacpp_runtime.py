"""llama.cpp behind the protocol: torch's tokens, exact scores, one cache that goes back."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from escalade.edge.artifact.manifest import Manifest, file_entry, read_manifest, write_manifest
from escalade.edge.errors import ArtifactError
from escalade.edge.generation.artifact import Artifact
from escalade.edge.runtimes import Runtime, Sampling, Step, open_runtime
from escalade.export.artifact.artifact import export_artifact

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not here; make test-gguf")

PROMPT = [5, 9, 14, 22, 31, 7, 45, 12]
# More than are read anew whatever is held.
LONG = [*PROMPT, *PROMPT[::-1], 11, 13]
NEW = 20
NEAR = 1e-5


@pytest.fixture(scope="module")
def folder(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gguf") / "float"
    export_artifact(tiny_model_dir, out, format="gguf", max_new_tokens=47)
    return out


@pytest.fixture(scope="module")
def manifest(folder: Path) -> Manifest:
    return read_manifest(folder)


@pytest.fixture
def runtime(folder: Path, manifest: Manifest) -> Runtime:
    return open_runtime(folder, manifest, threads=1)


@pytest.fixture(scope="module")
def model(tiny_model_dir: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(tiny_model_dir).eval()


def ids_of(steps: Sequence[Step]) -> list[int]:
    return [step.token_id for step in steps]


def torchs(model: PreTrainedModel, prompt: list[int], new: list[int]) -> torch.Tensor:
    """Log-probabilities `(N, V)` of what follows a prompt."""
    with torch.inference_mode():
        logits = model(torch.tensor([prompt + new])).logits[0, len(prompt) - 1 : -1]
    return logits.double().log_softmax(-1)


def test_greedy_tokens_are_those_of_generate(runtime: Runtime, model: PreTrainedModel) -> None:
    for prompt in (PROMPT, LONG, [3]):
        out = model.generate(torch.tensor([prompt]), max_new_tokens=NEW, do_sample=False)
        assert ids_of(list(runtime.generate(prompt, NEW))) == out[0, len(prompt) :].tolist()


def test_each_token_has_its_log_probability(runtime: Runtime, model: PreTrainedModel) -> None:
    for sampling in (None, Sampling(temperature=1.5, seed=4)):
        steps = list(runtime.generate(LONG, NEW, sampling=sampling))
        exact = torchs(model, LONG, ids_of(steps)).gather(-1, torch.tensor(ids_of(steps))[:, None])
        found = [step.logprob for step in steps]
        assert found == pytest.approx(exact[:, 0].tolist(), abs=NEAR)


def test_the_likeliest_are_said_beside_it(runtime: Runtime, model: PreTrainedModel) -> None:
    steps = list(runtime.generate(PROMPT, 3, top=4))
    best = torchs(model, PROMPT, ids_of(steps)).topk(4)
    for step, ids, values in zip(steps, best.indices, best.values, strict=True):
        assert [token for token, _ in step.top] == ids.tolist()
        assert [logprob for _, logprob in step.top] == pytest.approx(values.tolist(), abs=NEAR)


def test_a_seed_draws_the_same_again_and_another_something_else(runtime: Runtime) -> None:
    def drawn(seed: int) -> list[int]:
        return ids_of(list(runtime.generate(PROMPT, NEW, sampling=Sampling(seed=seed))))

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_a_beginning_that_is_held_is_not_read_again(folder: Path, manifest: Manifest) -> None:
    from escalade.edge.runtimes.llamacpp.decoder import LlamaCppRuntime

    one = LlamaCppRuntime(folder / manifest.program, manifest, threads=1)
    alone = list(one.generate([*LONG, 21], NEW))
    other = LlamaCppRuntime(folder / manifest.program, manifest, threads=1)
    said = list(other.generate([*LONG, 33, 34, 35], 4))
    before = other.tokens_run
    again = list(other.generate([*LONG, 21], NEW))
    # The last token that was said is not read; of the second prompt one token is new.
    assert before == len(LONG) + 3 + len(said) - 1
    assert other.tokens_run - before == 1 + len(again) - 1
    assert ids_of(again) == ids_of(alone)
    assert [step.logprob for step in again] == pytest.approx(
        [step.logprob for step in alone], abs=NEAR
    )


def test_it_stops_where_it_is_told_and_goes_on_from_what_it_holds(runtime: Runtime) -> None:
    whole = ids_of(list(runtime.generate(PROMPT, NEW)))
    asked = iter([False, False, False, True])
    some = ids_of(list(runtime.generate(PROMPT, NEW, cancelled=lambda: next(asked))))
    assert some == whole[:3]
    assert list(runtime.generate(PROMPT, NEW, cancelled=lambda: True)) == []
    assert ids_of(list(runtime.generate(PROMPT, NEW))) == whole


def test_threads_change_nothing(folder: Path, manifest: Manifest, runtime: Runtime) -> None:
    two = open_runtime(folder, manifest, threads=2)
    assert ids_of(list(two.generate(LONG, NEW))) == ids_of(list(runtime.generate(LONG, NEW)))


def test_a_broken_golden_answer_is_found(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    manifest = read_manifest(copy)
    assert Artifact.open(copy).golden.check_all() == len(manifest.golden) > 0
    first = msgspec.structs.replace(manifest.golden[0], nll=manifest.golden[0].nll + 0.01)
    write_manifest(copy, msgspec.structs.replace(manifest, golden=[first]))
    with pytest.raises(ArtifactError, match="NLL"):
        Artifact.open(copy)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"vocabulary_size": 500}, "vocabulary_size is"),
        ({"layers": 1}, "layers must be at most 1, got 2"),
        ({"kv_heads": 1}, "kv_heads must be at most 1, got 2"),
        ({"window": 4096}, "window must be at most 48, got 4096"),
        ({"kv_bytes": 3}, "kv_bytes must be 2 or 4, got 3"),
    ],
)
def test_another_model_than_the_manifests_is_refused(
    what: dict[str, int], said: str, folder: Path, manifest: Manifest
) -> None:
    entry = msgspec.structs.replace(manifest.model, **what)
    with pytest.raises(ArtifactError, match=said):
        open_runtime(folder, msgspec.structs.replace(manifest, model=entry), threads=1)


def test_what_llamacpp_cannot_load_is_said_in_a_line(folder: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(folder, tmp_path / "copy")
    program = copy / "model.gguf"
    whole = program.read_bytes()
    for raw, said in (
        (b"GGML" + whole[4:], "magic"),
        (whole[: len(whole) // 2], "corrupted or incomplete"),
        (whole.replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0lemma", 1), "'lemma'"),
    ):
        program.write_bytes(raw)
        manifest = read_manifest_of(copy)
        with pytest.raises(ArtifactError, match=said) as caught:
            open_runtime(copy, manifest, threads=1)
        assert "\n" not in str(caught.value)


def read_manifest_of(folder: Path) -> Manifest:
    """Its manifest, its program's own entry made anew."""
    manifest = msgspec.json.decode((folder / "manifest.json").read_bytes(), type=Manifest)
    files = {**manifest.files, "model.gguf": file_entry(folder / "model.gguf")}
    return msgspec.structs.replace(manifest, files=files)


def test_its_sampling_is_that_of_every_runtime(runtime: Runtime, model: PreTrainedModel) -> None:
    """Cold enough, every draw is the likeliest."""
    cold = dataclasses.replace(Sampling(seed=3), temperature=1e-4)
    drawn = ids_of(list(runtime.generate(PROMPT, NEW, sampling=cold)))
    assert drawn == ids_of(list(runtime.generate(PROMPT, NEW)))
