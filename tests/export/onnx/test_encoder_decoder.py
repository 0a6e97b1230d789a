"""T5 and BART: tiny random models, exported, run by the edge and held against torch."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest
import torch
from transformers import AutoConfig, AutoModelForSeq2SeqLM

from escalade.edge.artifact.manifest import Scheme, read_manifest
from escalade.edge.errors import ArtifactError
from escalade.edge.generation.artifact import Artifact
from escalade.edge.runtimes import Sampling, Step, open_runtime
from escalade.edge.runtimes.onnx.decoder import CHUNK_TOKENS
from escalade.export.artifact.artifact import export_artifact
from escalade.export.errors import ModelError
from escalade.export.text import RoundingText
from escalade.training.data.tokenizer import build_tokenizer, save_tokenizer

T5: dict[str, Any] = {
    "d_model": 64,
    "d_kv": 8,
    "d_ff": 96,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "decoder_start_token_id": 0,
}
GATED = {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}
BART: dict[str, Any] = {
    "d_model": 64,
    "encoder_layers": 3,
    "decoder_layers": 2,
    "encoder_ffn_dim": 96,
    "decoder_ffn_dim": 80,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 2,
    "max_position_embeddings": 192,
    "decoder_start_token_id": 2,
    "forced_eos_token_id": 5,  # an answer that reaches its longest length is cut there
    "scale_embedding": True,
}
FAMILIES = {"t5": T5, "t5-gated": GATED, "mt5": GATED, "bart": BART}
PROMPTS = ("g2p: cascade", "p2g: K AE T", "stress: banana " * 12)
# Of |NLL of the program - NLL under torch|, on random weights: trained ones drift less.
MOST_DRIFT: dict[Scheme, float] = {"float16": 0.01, "int8": 0.1, "dynamic-int8": 0.1, "int4": 1.5}


def save_model(folder: Path, family: str, settings: dict[str, Any]) -> Path:
    """Weights are scaled so that answers differ from prompt to prompt and from step to step."""
    torch.manual_seed(1)
    config = AutoConfig.for_model(
        family,
        vocab_size=build_tokenizer().get_vocab_size(),
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
        **settings,
    )
    model = AutoModelForSeq2SeqLM.from_config(config).eval()
    if settings is GATED:  # transformers makes them tied, and loads them as they are stored
        model.lm_head.weight = torch.nn.Parameter(0.3 * torch.randn_like(model.lm_head.weight))
    of_embedding, of_matrix, of_position = (6, 8, 50) if family == "bart" else (0.3, 1.5, 20)
    for name, parameter in model.named_parameters():
        if "shared" in name:
            parameter.data.mul_(of_embedding)
        elif "positions" in name or "relative" in name:
            parameter.data.mul_(of_position)
        elif parameter.ndim == 1:
            parameter.data.add_(0.03 * torch.randn_like(parameter))
        elif "lm_head" not in name:
            parameter.data.mul_(of_matrix)
    if family == "bart":
        model.final_logits_bias.normal_(std=0.3)
    model.save_pretrained(folder)
    save_tokenizer(folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("encoder-decoders")
    return {
        name: save_model(root / name, name.partition("-")[0], settings)
        for name, settings in FAMILIES.items()
    }


@pytest.fixture(scope="module")
def artifacts(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """In float32."""
    root = tmp_path_factory.mktemp("artifacts")
    for name, model in models.items():
        export_artifact(model, root / name, golden_prompts=PROMPTS)
    return {name: root / name for name in models}


def programs(artifact: Path) -> int:
    """Bytes of both programs."""
    return sum(path.stat().st_size for path in artifact.glob("*.onnx*"))


def drawn(artifact: Artifact, prompt_ids: list[int], longest: int, seed: int = 1) -> list[Step]:
    pieces = artifact.stream(prompt_ids, longest, sampling=Sampling(seed=seed))
    return [piece.step for piece in pieces if piece.step is not None]


@pytest.mark.parametrize("name", FAMILIES)
def test_greedy_answers_are_torchs(artifacts: dict[str, Path], name: str) -> None:
    manifest = read_manifest(artifacts[name])
    assert manifest.parity.same_tokens == manifest.parity.prompts == 3
    assert manifest.parity.max_abs_delta_nll < 1e-4
    assert len({tuple(golden.token_ids) for golden in manifest.golden}) == 3
    assert manifest.encoder == "encoder.onnx"
    found = manifest.model
    expected = (2, 2, 2, 32, 192) if name == "bart" else (0, 2, 4, 8, 2048)
    assert expected == (
        found.decoder_start_id,
        found.layers,
        found.kv_heads,
        found.head_dim,
        found.window,
    )


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(("prompt", "response"), [(CHUNK_TOKENS + 20, 40), (5, 180)])
def test_drawn_tokens_have_torchs_log_probabilities(
    models: dict[str, Path], artifacts: dict[str, Path], name: str, prompt: int, response: int
) -> None:
    manifest = read_manifest(artifacts[name])
    endless = msgspec.structs.replace(manifest.model, end_of_sequence_ids=[])
    runtime = open_runtime(
        artifacts[name], msgspec.structs.replace(manifest, model=endless), threads=1
    )
    torch.manual_seed(2)
    prompt_ids = torch.randint(3, endless.vocabulary_size, (prompt,)).tolist()
    steps = list(runtime.generate(prompt_ids, response, sampling=Sampling(seed=3)))
    token_ids = [step.token_id for step in steps]
    assert len(token_ids) == response
    assert len(set(token_ids)) > 10
    model = AutoModelForSeq2SeqLM.from_pretrained(models[name]).eval()
    before = [[endless.decoder_start_id, *token_ids[:-1]]]
    with torch.inference_mode():
        logits = model(torch.tensor([prompt_ids]), decoder_input_ids=torch.tensor(before)).logits
    logprobs = logits[0].double().log_softmax(-1)[range(len(steps)), token_ids]
    assert [step.logprob for step in steps] == pytest.approx(logprobs.tolist(), abs=1e-4)


@pytest.mark.parametrize("name", ["t5", "t5-gated", "bart"])
@pytest.mark.parametrize("scheme", MOST_DRIFT)
def test_every_scheme_opens_and_answers(
    models: dict[str, Path],
    artifacts: dict[str, Path],
    name: str,
    scheme: Scheme,
    tmp_path: Path,
) -> None:
    manifest = export_artifact(
        models[name], tmp_path / "out", quantize=scheme, golden_prompts=PROMPTS
    )
    assert 0 < manifest.parity.mean_abs_delta_nll < MOST_DRIFT[scheme]
    assert programs(tmp_path / "out") < 0.7 * programs(artifacts[name])
    artifact = Artifact.open(tmp_path / "out")
    assert len(artifact.generate([5, 6, 7], 4)) == 4


def test_weights_rounded_on_prompts_are_others(models: dict[str, Path], tmp_path: Path) -> None:
    settings: dict[str, Any] = {"quantize": "int4", "golden_prompts": PROMPTS}
    export_artifact(models["t5"], tmp_path / "nearest", **settings)
    export_artifact(models["t5"], tmp_path / "gptq", rounded_by=RoundingText(PROMPTS), **settings)
    for data in ("encoder.onnx.data", "model.onnx.data"):
        both = [(tmp_path / name / data).read_bytes() for name in ("nearest", "gptq")]
        assert len(both[0]) == len(both[1])
        assert both[0] != both[1]
    nearest, gptq = (read_manifest(tmp_path / name).parity for name in ("nearest", "gptq"))
    assert gptq.mean_abs_delta_nll < nearest.mean_abs_delta_nll


@pytest.mark.parametrize("name", ["t5", "t5-gated"])
def test_the_embedding_is_stored_once(artifacts: dict[str, Path], name: str) -> None:
    stored = {}
    for program in ("encoder.onnx", "model.onnx"):
        graph = onnx.load(artifacts[name] / program, load_external_data=False).graph
        tensors = {tensor.name: tensor for tensor in graph.initializer}
        stored[program] = {entry.key: entry.value for entry in tensors["embedding"].external_data}
        assert ("head" in tensors) == (program == "model.onnx" and name == "t5-gated")
    assert stored["encoder.onnx"] == stored["model.onnx"]
    assert stored["encoder.onnx"]["location"] == "model.onnx.data"


def test_two_scalars_leave_the_graph_unless_logits_are_asked_for(
    artifacts: dict[str, Path],
) -> None:
    graph = onnx.load(artifacts["t5"] / "model.onnx", load_external_data=False).graph
    caches = [f"{layer}.decoder.{kind}" for layer in range(2) for kind in ("key", "value")]
    crossed = [name.replace("decoder", "encoder") for name in caches]
    assert {value.name for value in graph.output} == {
        "next_token",
        "logprob",
        "logits",
        *(f"present.{name}" for name in caches),
    }
    assert {value.name for value in graph.input} == {
        "input_ids",
        "decoder_attention_mask",
        "logits_to_keep",
        *(f"past_key_values.{name}" for name in (*caches, *crossed)),
    }


def test_an_answer_does_not_depend_on_those_before(artifacts: dict[str, Path]) -> None:
    artifact = Artifact.open(artifacts["t5-gated"])
    first, second = ([5, 6, 7, 8], list(range(3, 60)))
    fresh = [artifact.generate(ids, 20) for ids in (first, second)]
    assert fresh[0] != fresh[1]
    assert drawn(artifact, first, 20) == drawn(artifact, first, 20)
    assert drawn(artifact, first, 20) != drawn(artifact, first, 20, seed=2)
    assert [artifact.generate(ids, 20) for ids in (second, second, first)] == [
        fresh[1],
        fresh[1],
        fresh[0],
    ]


def test_cancelling_ends_it_before_the_encoder_and_between_tokens(
    artifacts: dict[str, Path],
) -> None:
    folder = artifacts["t5"]
    runtime = open_runtime(folder, read_manifest(folder), threads=1)

    def after(asked: int) -> Iterator[Step]:
        count = itertools.count()
        return runtime.generate([5, 6, 7], 10, cancelled=lambda: next(count) >= asked)

    assert list(after(0)) == []
    assert len(list(after(3))) == 3


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        ({"encoder": "model.onnx"}, r"the graph lacks present\.0\.encoder\.key"),
        ({"program": "encoder.onnx"}, "the graph lacks decoder_attention_mask"),
        ({"model": {"decoder_start_id": None}}, "no decoder_start_id"),
    ],
)
def test_programs_that_do_not_belong_together_are_refused(
    artifacts: dict[str, Path], spoil: dict[str, Any], says: str
) -> None:
    folder = artifacts["t5"]
    manifest = read_manifest(folder)
    if "model" in spoil:
        spoil = {"model": msgspec.structs.replace(manifest.model, **spoil["model"])}
    with pytest.raises(ArtifactError, match=says):
        open_runtime(folder, msgspec.structs.replace(manifest, **spoil), threads=1)


def test_kinds_that_cannot_be_written_are_refused(models: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(ModelError, match="executorch takes decoder-only models"):
        export_artifact(models["t5"], out, format="executorch")
    pegasus = save_model(
        tmp_path / "pegasus", "pegasus", {"d_model": 32, "encoder_layers": 1, "decoder_layers": 1}
    )
    with pytest.raises(ModelError, match="must be one of bart, mt5, t5 .* got 'pegasus'"):
        export_artifact(pegasus, out)
    beginning = Path(shutil.copytree(models["t5"], tmp_path / "no-beginning"))
    for name in ("config.json", "generation_config.json"):
        settings = json.loads((beginning / name).read_text())
        del settings["decoder_start_token_id"]
        (beginning / name).write_text(json.dumps(settings))
    with pytest.raises(ModelError, match="names no decoder_start_token_id"):
        export_artifact(beginning, out)
    assert not out.exists()
