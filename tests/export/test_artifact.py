"""What export writes: a graph without logits, honest parity, and nothing where it fails."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import onnx
import pytest

from escalade.edge.artifact.manifest import read_manifest
from escalade.edge.errors import DataError, PromptError
from escalade.edge.generation.artifact import Artifact
from escalade.export.artifact.artifact import export_artifact
from escalade.export.errors import ExportError, ModelError, OptionError
from escalade.export.text import RoundingText
from escalade.v1.identity import tokenizer_fingerprint, weights_revision


def outputs(artifact: Path) -> dict[str, list[int | str]]:
    graph = onnx.load(artifact / "model.onnx", load_external_data=False).graph
    return {
        value.name: [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim]
        for value in graph.output
    }


def test_token_and_logprob_leave_the_graph_and_logits_for_who_wants_them(
    float_artifact: Path,
) -> None:
    found = outputs(float_artifact)
    caches = {f"present.{layer}.{kind}" for layer in range(2) for kind in ("key", "value")}
    assert set(found) == {"next_token", "logprob", "logits", *caches}
    assert found["next_token"] == found["logprob"] == found["logits"][:2] == ["batch", "kept"]
    graph = onnx.load(float_artifact / "model.onnx", load_external_data=False).graph
    [kept] = [one for one in graph.initializer if one.name == "logits_to_keep"]
    assert onnx.numpy_helper.to_array(kept).tolist() == [-1]  # the last one where none is fed


def test_what_follows_the_last_attention_is_computed_of_the_positions_to_keep(
    float_artifact: Path,
) -> None:
    graph = onnx.load(float_artifact / "model.onnx", load_external_data=False).graph
    kept = [node.input[0] for node in graph.node if "logits_to_keep" in node.input]
    attended = [node.output[0] for node in graph.node if node.op_type == "GroupQueryAttention"]
    # What it found, and the residual stream that is added to it.
    assert kept == [attended[-1], "layers.1.attention_norm.sum"]
    assert [node.op_type for node in graph.node if attended[-1] in node.input] == ["Gather"]


def test_the_unquantized_graph_gives_torchs_tokens(float_artifact: Path) -> None:
    manifest = read_manifest(float_artifact)
    assert manifest.quantization.scheme == "none"
    assert manifest.parity.same_tokens == manifest.parity.prompts == len(manifest.golden) == 3
    assert manifest.parity.max_abs_delta_nll < 1e-4


def test_int8_says_how_far_off_it_is(int8_artifact: Path) -> None:
    parity = read_manifest(int8_artifact).parity
    assert parity.prompts == 3
    assert 0 < parity.mean_abs_delta_nll <= parity.max_abs_delta_nll < 0.1


def test_int8_stores_matrices_and_embedding_in_bytes(int8_artifact: Path) -> None:
    graph = onnx.load(int8_artifact / "model.onnx", load_external_data=False).graph
    big_floats = [
        tensor.name
        for tensor in graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT
        and len(tensor.dims) > 1
        and min(tensor.dims) > 1
        and "scales" not in tensor.name
    ]
    assert sorted(big_floats) == ["cosines", "sines"]
    kinds = {node.op_type for node in graph.node}
    assert {"MatMulNBits", "GatherBlockQuantized", "GroupQueryAttention"} <= kinds
    assert not kinds & {"MatMul", "FusedMatMul", "Gemm"}


def test_tied_weights_are_stored_once(int8_artifact: Path) -> None:
    graph = onnx.load(int8_artifact / "model.onnx", load_external_data=False).graph
    places = {
        tensor.name: {entry.key: entry.value for entry in tensor.external_data}
        for tensor in graph.initializer
    }
    assert places["embedding.rows"] == places["embedding.blocks"] != {}
    assert "head.blocks" not in places


def test_the_manifest_says_who_the_model_is(float_artifact: Path, tiny_model_dir: Path) -> None:
    manifest = read_manifest(float_artifact)
    config = json.loads((tiny_model_dir / "config.json").read_text())
    assert manifest.model.name == "tiny"
    assert manifest.model.revision == weights_revision(tiny_model_dir)
    assert manifest.model.window == config["max_position_embeddings"]
    assert manifest.model.kv_heads == config["num_key_value_heads"]
    assert manifest.model.vocabulary_size == config["vocab_size"]
    assert manifest.model.end_of_sequence_ids == [config["eos_token_id"]]
    assert {"torch", "transformers", "onnxruntime", "escalade"} <= set(manifest.versions)
    assert set(manifest.files) == {"model.onnx", "model.onnx.data", "tokenizer.json"}


def test_an_artifact_is_of_the_tokenizer_and_weights_it_was_made_from(
    float_artifact: Path, tiny_model_dir: Path
) -> None:
    model = read_manifest(float_artifact).model
    assert tokenizer_fingerprint(tiny_model_dir / "tokenizer.json") == model.tokenizer_fingerprint
    assert weights_revision(tiny_model_dir) == model.revision


def test_a_new_export_replaces_the_old_one_whole(tiny_model_dir: Path, tmp_path: Path) -> None:
    out = tmp_path / "artifact"
    out.mkdir()
    (out / "left-over").write_text("old")
    with pytest.raises(DataError, match="holds no manifest.json; name another"):
        export_artifact(tiny_model_dir, out, golden_prompts=["g2p: a"])
    assert (out / "left-over").read_text() == "old"
    (out / "manifest.json").write_text("{}")
    export_artifact(tiny_model_dir, out, golden_prompts=["g2p: a"], max_new_tokens=5)
    assert not (out / "left-over").exists()
    artifact = Artifact.open(out)
    assert len(artifact.generate(artifact.encode("g2p: cascade"))) <= 5
    assert [path.name for path in tmp_path.iterdir()] == ["artifact"]


@pytest.mark.parametrize(
    ("spoil", "kind", "says"),
    [
        (lambda d: (d / "config.json").unlink(), ModelError, "config.json is missing"),
        (lambda d: (d / "model.safetensors").unlink(), ModelError, r"no \*.safetensors"),
        (
            lambda d: (d / "config.json").write_text('{"model_type": "nonsense"}'),
            ModelError,
            "cannot be loaded",
        ),
        (
            lambda d: (d / "model.safetensors").write_bytes(b"\x00" * 64),
            ModelError,
            "cannot be loaded",
        ),
    ],
)
def test_a_bad_model_folder_is_named_and_nothing_is_written(
    tiny_model_dir: Path, tmp_path: Path, spoil: object, kind: type[ExportError], says: str
) -> None:
    model = Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))
    spoil(model)  # type: ignore[operator]
    with pytest.raises(kind, match=says):
        export_artifact(model, tmp_path / "out", golden_prompts=["g2p: a"])
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_code_that_comes_with_a_model_is_never_run(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))
    config = json.loads((model / "config.json").read_text())
    config |= {
        "model_type": "own",
        "auto_map": {"AutoConfig": "m.C", "AutoModelForCausalLM": "m.M"},
    }
    (model / "config.json").write_text(json.dumps(config))
    (model / "m.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(ModelError, match="cannot be loaded"):
        export_artifact(model, tmp_path / "out", golden_prompts=["g2p: a"])
    assert not (tmp_path / "ran").exists()


def test_options_out_of_range(tiny_model_dir: Path, tmp_path: Path) -> None:
    steps: list[str] = []
    export = partial(export_artifact, progress=steps.append)
    with pytest.raises(OptionError, match="must be one of none, 8da4w, got int8"):
        export(tiny_model_dir, tmp_path / "out", format="executorch", quantize="int8")
    with pytest.raises(OptionError, match="got 8da4w"):
        export(tiny_model_dir, tmp_path / "out", quantize="8da4w")
    with pytest.raises(OptionError, match="be one of 16, 32, 64, 128, 256, got 48"):
        export(tiny_model_dir, tmp_path / "out", quantize="int4", block_size=48)
    with pytest.raises(OptionError, match="--block-size is for int4 and int8, got it for none"):
        export(tiny_model_dir, tmp_path / "out", block_size=32)
    with pytest.raises(OptionError, match="--gptq is for --quantize int4 and int8, got it for n"):
        export(tiny_model_dir, tmp_path / "out", rounded_by=RoundingText(["g2p: a"]))
    with pytest.raises(OptionError, match="--block-size is for --format onnx, got 32"):
        export(tiny_model_dir, tmp_path / "out", format="executorch", block_size=32)
    with pytest.raises(OptionError, match="--head-bits is for --quantize int4 and 8da4w, got it"):
        export(tiny_model_dir, tmp_path / "out", quantize="int8", head_bits=4)
    with pytest.raises(OptionError, match="--activation-bits is for .* got it for onnx float16"):
        export(tiny_model_dir, tmp_path / "out", quantize="float16", activation_bits=32)
    with pytest.raises(OptionError, match="--activation-bits must be 8 or 32, got 16"):
        export(tiny_model_dir, tmp_path / "out", quantize="int8", activation_bits=16)
    with pytest.raises(OptionError, match="--head-bits must be 4 or 8, got 5"):
        export(tiny_model_dir, tmp_path / "out", quantize="int4", head_bits=5)
    assert list(tmp_path.iterdir()) == []
    assert steps == []  # before anything is loaded, or hours of rounding begin


def test_a_golden_prompt_that_cannot_be_read_is_named_before_the_work(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    steps: list[str] = []
    long = "g2p: " + "a" * 60
    with pytest.raises(PromptError, match="golden prompt .g2p: a*.: .* takes 1 to 47") as caught:
        export_artifact(
            tiny_model_dir,
            tmp_path / "a",
            golden_prompts=["g2p: a", long],
            progress=steps.append,
        )
    assert long in str(caught.value)
    assert steps == ["loading the model"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["model.norm.weight", "model.embed_tokens.weight"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(
    name: str, value: float, tiny_model_dir: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    model = Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))
    weights = load_file(model / "model.safetensors")
    weights[name].view(-1)[3] = value
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=f"{name} must be finite, holds NaN or infinity"):
        export_artifact(model, tmp_path / "out", quantize="int4", golden_prompts=["g2p: a"])
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (
            lambda d: (d / "config.json").write_text(
                (d / "config.json").read_text().replace('"hidden_size": 64', '"hidden_size": 32')
            ),
            "weights of another shape: model.embed_tokens.weight, .* and 16 more",
        ),
        (
            lambda d: (d / "config.json").write_text(
                (d / "config.json").read_text().replace('"hidden_size": 64', '"hidden_size": "x"')
            ),
            "cannot be loaded",
        ),
        (lambda d: (d / "tokenizer_config.json").write_text("{"), "not JSON"),
        (lambda d: (d / "tokenizer_config.json").write_text("[]"), "must hold a JSON object"),
    ],
)
def test_files_that_do_not_fit_are_named_in_one_line(
    spoil: object, says: str, tiny_model_dir: Path, tmp_path: Path
) -> None:
    model = Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))
    spoil(model)  # type: ignore[operator]
    with pytest.raises(ModelError, match=says) as caught:
        export_artifact(model, tmp_path / "out", golden_prompts=["g2p: a"])
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:This API is experimental and subject to change")
def test_the_executorch_program_gives_the_same_tokens(
    tiny_model_dir: Path, float_artifact: Path, tmp_path: Path
) -> None:
    out = tmp_path / "pte"
    manifest = export_artifact(
        tiny_model_dir,
        out,
        format="executorch",
        golden_prompts=["g2p: cascade", "stress: banana"],
        max_new_tokens=47,
    )
    assert manifest.format == "executorch"
    assert manifest.parity.same_tokens == 2
    assert set(manifest.files) == {"model.pte", "tokenizer.json"}
    onnx_artifact, pte = Artifact.open(float_artifact), Artifact.open(out)
    for prompt in ("g2p: cascade", "p2g: K AE T", "g2p: cascade"):
        ids = onnx_artifact.encode(prompt)
        ours, theirs = onnx_artifact.generate(ids), pte.generate(ids)
        assert [step.token_id for step in ours] == [step.token_id for step in theirs]
        assert [step.logprob for step in ours] == pytest.approx(
            [step.logprob for step in theirs], abs=1e-4
        )
