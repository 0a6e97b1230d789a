"""ExecuTorch programs: torch's tokens, one cache and one set of weights, the stock runner."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from tiny_families import FAMILIES, tiny_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedModel

from escalade.edge.artifact.manifest import Manifest, read_manifest
from escalade.edge.errors import ArtifactError
from escalade.edge.generation.artifact import Artifact
from escalade.edge.runtimes.base import Sampling, Step
from escalade.edge.runtimes.executorch.decoder import FORWARD, SCORE, ExecutorchRuntime
from escalade.export.artifact.artifact import export_artifact
from escalade.export.executorch import embedding_bits_of
from escalade.export.executorch import program as executorch_program
from escalade.export.executorch.program import PROGRAM_NAME, export_executorch
from escalade.export.quiet import quiet

BUNDLED = Path(__file__).parents[3] / "training" / "checkpoints" / "small-cat-xent"
PROMPTS = (
    "g2p: cascade",
    "g2p: insecticide",
    "p2g: K AE T",
    "p2g: S IH M Y AH L EY T ER",
    "stress: banana",
    "stress: computer",
    "syllables: calibration",
    "syllables: o'neil",
)
# Shorter than most of the prompts, so that they are read in several pieces.
CHUNK = 8


def bundled_model() -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(BUNDLED).eval()


def torch_greedy(model: PreTrainedModel, prompt_ids: Sequence[int], longest: int) -> list[int]:
    ids = list(prompt_ids)
    with torch.inference_mode():
        while len(ids) < len(prompt_ids) + longest and ids[-1] != 2:
            ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt_ids) :]


def torch_logprobs(
    model: PreTrainedModel, prompt_ids: Sequence[int], tokens: Sequence[int]
) -> list[float]:
    with torch.inference_mode():
        logits = model(torch.tensor([[*prompt_ids, *tokens]])).logits[0]
    logprobs = torch.log_softmax(logits.double(), dim=-1)
    return [float(logprobs[len(prompt_ids) - 1 + i, token]) for i, token in enumerate(tokens)]


def tokens_of(steps: Sequence[Step]) -> list[int]:
    return [step.token_id for step in steps]


def runtime_of(folder: Path, manifest: Manifest) -> ExecutorchRuntime:
    return ExecutorchRuntime(folder / PROGRAM_NAME, manifest, threads=1)


@pytest.fixture(scope="module")
def float_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The bundled small model in float32, as an artifact that reads prompts in pieces."""
    out = tmp_path_factory.mktemp("executorch") / "float"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executorch_program, "CHUNK_TOKENS", CHUNK)
        export_artifact(BUNDLED, out, format="executorch", golden_prompts=PROMPTS)
    return out


@pytest.fixture(scope="module")
def rounded_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled small model in 8da4w."""
    out = tmp_path_factory.mktemp("executorch") / "8da4w"
    export_artifact(BUNDLED, out, format="executorch", quantize="8da4w", golden_prompts=PROMPTS)
    return out


@pytest.fixture
def exported(float_folder: Path, tmp_path: Path) -> Callable[..., ExecutorchRuntime]:
    """Exports a model and opens it, for a manifest of its window."""
    manifest = read_manifest(float_folder)
    manifest = msgspec.structs.replace(
        manifest, model=msgspec.structs.replace(manifest.model, window=48)
    )

    def export(model: PreTrainedModel, **options: Any) -> ExecutorchRuntime:
        with quiet():
            export_executorch(model, tmp_path, window=48, **{"scheme": "none", **options})
        return runtime_of(tmp_path, manifest)

    return export


@pytest.fixture
def runtime(float_folder: Path) -> ExecutorchRuntime:
    return runtime_of(float_folder, read_manifest(float_folder))


@pytest.mark.slow
def test_the_float_program_gives_torchs_tokens(float_folder: Path) -> None:
    artifact, model = Artifact.open(float_folder), bundled_model()
    assert artifact.manifest.parity.same_tokens == len(PROMPTS)
    assert artifact.manifest.quantization.block_size is None
    for prompt in PROMPTS:
        ids = artifact.encode(prompt)
        steps = artifact.generate(ids)
        assert tokens_of(steps) == torch_greedy(model, ids, artifact.room_for(ids))
        assert [step.logprob for step in steps] == pytest.approx(
            torch_logprobs(model, ids, tokens_of(steps)), abs=1e-4
        )


@pytest.mark.slow
def test_opening_a_program_says_nothing_of_the_processor(float_folder: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from escalade.edge import Artifact\n"
        "Artifact.open(Path(sys.argv[1]), threads=1)"
    )
    for said in (program, program.replace(", threads=1", "")):
        done = subprocess.run(
            [sys.executable, "-c", said, str(float_folder)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""


@pytest.mark.slow
def test_8da4w_stays_near_torch(
    rounded_folder: Path, float_folder: Path, record_property: Callable[[str, object], None]
) -> None:
    artifact, model = Artifact.open(rounded_folder), bundled_model()
    assert artifact.manifest.quantization.block_size == 32
    same, drifts = 0, []
    for prompt in PROMPTS:
        ids = artifact.encode(prompt)
        steps = artifact.generate(ids)
        same += tokens_of(steps) == torch_greedy(model, ids, artifact.room_for(ids))
        exact = torch_logprobs(model, ids, tokens_of(steps))
        drifts.append(abs(sum(step.logprob for step in steps) - sum(exact)) / len(steps))
    record_property("same_answers", same)
    record_property("mean_nll_drift", sum(drifts) / len(drifts))
    assert same >= len(PROMPTS) - 3
    assert sum(drifts) / len(drifts) < 0.25
    bits = [embedding_bits_of(one / PROGRAM_NAME) for one in (rounded_folder, float_folder)]
    assert bits == [8, None]
    rounded = (rounded_folder / PROGRAM_NAME).stat().st_size
    assert rounded < 0.35 * (float_folder / PROGRAM_NAME).stat().st_size


@pytest.mark.slow
def test_both_methods_share_weights_and_cache(
    float_folder: Path, runtime: ExecutorchRuntime
) -> None:
    from executorch.runtime import Runtime

    manifest = read_manifest(float_folder)
    weights = 4 * manifest.model.parameters
    # Once, and once more the embedding, which the head shares in torch; twice would be 2.0.
    assert (float_folder / PROGRAM_NAME).stat().st_size < 1.25 * weights

    program = Runtime.get().load_program(float_folder / PROGRAM_NAME)
    forward, score = program.load_method(FORWARD), program.load_method(SCORE)

    def by_forward(ids: Sequence[int], position: int) -> int:
        (logits,) = forward.execute([torch.tensor([ids]), torch.tensor([position])])
        assert logits.shape == (1, manifest.model.vocabulary_size)
        return int(logits.argmax())

    def by_score(ids: Sequence[int], position: int) -> int:
        token, peak, logsumexp = score.execute([torch.tensor([ids]), torch.tensor([position])])
        assert token.shape == peak.shape == logsumexp.shape == (1, 1)
        return int(token)

    for golden in manifest.golden:
        for first, then in ((by_score, by_forward), (by_forward, by_score)):
            position = 0
            for start in range(0, len(golden.prompt_ids), CHUNK):
                chunk = golden.prompt_ids[start : start + CHUNK]
                found, position = [first(chunk, position)], position + len(chunk)
            while found[-1] != 2 and len(found) < len(golden.token_ids):
                found.append(then(found[-1:], position))
                position += 1
            assert found == golden.token_ids


@pytest.mark.slow
def test_the_program_tells_the_runner_about_the_model(float_folder: Path) -> None:
    from executorch.runtime import Runtime

    program = Runtime.get().load_program(float_folder / PROGRAM_NAME)
    constants = {
        name: program.load_method(name).execute([])
        for name in program.method_names - {FORWARD, SCORE}
    }
    assert constants == {
        "get_max_seq_len": [CHUNK],
        "get_max_context_len": [96],
        "get_eos_ids": [2],
        "get_vocab_size": [84],
        "get_n_layers": [2],
        "use_kv_cache": [True],
        "enable_dynamic_shape": [True],
        "use_sdpa_with_kv_cache": [True],
    }


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["float", "8da4w"])
def test_the_stock_runner_gives_the_same_tokens(
    scheme: str, float_folder: Path, rounded_folder: Path, tmp_path: Path
) -> None:
    """The runner has no word-level tokenizer: here each id is one printable character."""
    from executorch.extension.llm.runner import GenerationConfig, TextLLMRunner

    folder = float_folder if scheme == "float" else rounded_folder
    manifest = read_manifest(folder)
    letters = [chr(ord("!") + i) for i in range(manifest.model.vocabulary_size)]
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.save(str(tmp_path / "tokenizer.json"))

    runner = TextLLMRunner(str(folder / PROGRAM_NAME), str(tmp_path / "tokenizer.json"))
    config = GenerationConfig(temperature=0.0, max_new_tokens=40, echo=False, num_bos=0, num_eos=0)
    for golden in manifest.golden:
        pieces: list[str] = []
        runner.reset()
        runner.generate("".join(letters[i] for i in golden.prompt_ids), config, pieces.append)
        assert [letters.index(piece) for piece in pieces] == golden.token_ids


@pytest.mark.slow
def test_drawn_tokens_carry_the_models_own_logprobs(runtime: ExecutorchRuntime) -> None:
    model, prompt = bundled_model(), [4, 10, 8, 26, 10, 8, 11, 12, 1]
    sampling = Sampling(temperature=2.0, top_k=10, top_p=0.95, seed=5)
    steps = list(runtime.generate(prompt, 30, sampling=sampling))
    assert tokens_of(steps) != torch_greedy(model, prompt, 30)
    assert [step.logprob for step in steps] == pytest.approx(
        torch_logprobs(model, prompt, tokens_of(steps)), abs=1e-4
    )
    again = list(runtime.generate(prompt, 30, sampling=sampling))
    assert tokens_of(again) == tokens_of(steps)


@pytest.mark.slow
def test_a_shared_beginning_is_read_once(float_folder: Path, runtime: ExecutorchRuntime) -> None:
    fresh = runtime_of(float_folder, read_manifest(float_folder))
    first = [4, *range(8, 38), 1]
    second = [*first[:25], *range(20, 30), 1]
    list(runtime.generate(first, 3))
    before = runtime.tokens_run
    reused = list(runtime.generate(second, 5))
    ran = runtime.tokens_run - before
    assert ran == len(second) - 25 + len(reused) - 1
    expected = list(fresh.generate(second, 5))
    assert tokens_of(reused) == tokens_of(expected)
    assert [step.logprob for step in reused] == pytest.approx(
        [step.logprob for step in expected], abs=1e-4
    )
    # The same prompt again: its last token alone is run, for its logits.
    before = runtime.tokens_run
    next(runtime.generate(second, 5))
    assert runtime.tokens_run == before + 1


@pytest.mark.slow
def test_cancelled_is_asked_before_each_piece_and_each_token(
    float_folder: Path, runtime: ExecutorchRuntime
) -> None:
    manifest = read_manifest(float_folder)
    prompt = [4, *range(8, 36), 1]  # 30 tokens: four pieces of at most 8
    asked: list[int] = []

    def asks_until(patience: int) -> Callable[[], bool]:
        asked.clear()
        return lambda: asked.append(1) or len(asked) > patience  # type: ignore[func-returns-value]

    expected = list(runtime_of(float_folder, manifest).generate(prompt, 4))
    assert list(runtime.generate(prompt, 4, cancelled=asks_until(2))) == []
    assert (len(asked), runtime.tokens_run) == (3, 16)
    # What was read stays read: sixteen tokens are just enough to go on from.
    assert list(runtime.generate(prompt, 4, cancelled=asks_until(99))) == expected
    assert len(asked) == 2 + len(expected) - 1
    assert list(runtime.generate(prompt, 4, cancelled=asks_until(2))) == expected[:2]


@pytest.mark.slow
def test_what_does_not_fit_the_manifest_is_refused(float_folder: Path, tmp_path: Path) -> None:
    manifest = read_manifest(float_folder)
    model = msgspec.structs.replace(manifest.model, window=97)
    with pytest.raises(ArtifactError, match="its window is 96, the manifest says 97"):
        runtime_of(float_folder, msgspec.structs.replace(manifest, model=model))
    whole = (float_folder / PROGRAM_NAME).read_bytes()
    for name, data in {"empty": b"", "half": whole[: len(whole) // 2], "text": b"x" * 999}.items():
        folder = tmp_path / name
        folder.mkdir()
        (folder / PROGRAM_NAME).write_bytes(data)
        with pytest.raises(ArtifactError, match="ExecuTorch cannot load it"):
            runtime_of(folder, manifest)


@pytest.mark.slow
def test_weights_that_are_no_numbers_give_nan(exported: Callable[..., ExecutorchRuntime]) -> None:
    model = tiny_model("llama", num_hidden_layers=1)
    model.get_output_embeddings().weight.data[7, 3] = math.nan
    runtime = exported(model)
    assert math.isnan(next(runtime.generate([5, 6, 7], 4)).logprob)
    assert math.isnan(next(runtime.generate([5, 6, 7], 4, sampling=Sampling())).logprob)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_gives_torchs_tokens(
    family: str, exported: Callable[..., ExecutorchRuntime]
) -> None:
    model = tiny_model(family)
    runtime = exported(model)
    for prompt in ([5, 6, 7], [40, 30, 20, 10, 11]):
        steps = list(runtime.generate(prompt, 20))
        assert tokens_of(steps) == torch_greedy(model, prompt, 20)
        assert [step.logprob for step in steps] == pytest.approx(
            torch_logprobs(model, prompt, tokens_of(steps)), abs=1e-3
        )


@pytest.mark.slow
def test_gpt2s_layers_are_rounded_too(
    exported: Callable[..., ExecutorchRuntime], tmp_path: Path
) -> None:
    model = tiny_model("gpt2")
    runtime = exported(model, scheme="8da4w", embedding_bits=4)
    steps = list(runtime.generate([5, 6, 7], 8))
    drifts = [
        abs(step.logprob - exact)
        for step, exact in zip(
            steps, torch_logprobs(model, [5, 6, 7], tokens_of(steps)), strict=True
        )
    ]
    assert sum(drifts) / len(drifts) < 1.0
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert (tmp_path / PROGRAM_NAME).stat().st_size < 0.5 * 4 * parameters
    assert embedding_bits_of(tmp_path / PROGRAM_NAME) == 4
