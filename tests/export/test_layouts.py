"""The files that a layout adds for another library: what they say of the program beside them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import onnx
import pytest

from escalade.edge.artifact.manifest import read_manifest
from escalade.edge.generation.artifact import Artifact
from escalade.export.artifact.artifact import export_artifact
from escalade.export.artifact.layouts import layout_of, write_layout
from escalade.export.errors import OptionError
from escalade.export.model import load_model
from escalade.export.settings import Layout


def exported(layout: Layout, model_dir: Path, out: Path) -> Path:
    export_artifact(
        model_dir, out, layout=layout, golden_prompts=["g2p: cascade"], max_new_tokens=47
    )
    return out


@pytest.mark.parametrize(
    ("layout", "names"),
    [
        ("optimum", {"config.json", "generation_config.json", "tokenizer_config.json"}),
        ("genai", {"genai_config.json", "tokenizer_config.json"}),
    ],
)
def test_a_layout_adds_listed_files_and_changes_no_weight(
    layout: Layout, names: set[str], tiny_model_dir: Path, float_artifact: Path, tmp_path: Path
) -> None:
    out = exported(layout, tiny_model_dir, tmp_path / "out")
    with_layout, without = read_manifest(out).files, read_manifest(float_artifact).files
    assert set(with_layout) - set(without) == names
    changed = {name for name, entry in without.items() if with_layout[name] != entry}
    assert changed == ({"model.onnx"} if layout == "genai" else set())
    assert layout_of(with_layout) == layout
    assert layout_of(set(with_layout) - {"generation_config.json"}) == layout
    assert layout_of(without) is None
    Artifact.open(out)


def test_genais_program_says_that_it_gives_the_last_position_alone(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    folder = exported("genai", tiny_model_dir, tmp_path / "out")
    graph = onnx.load(folder / "model.onnx", load_external_data=False).graph
    assert "logits_to_keep" not in {value.name for value in graph.input}
    for output in graph.output:
        if output.name in {"logits", "next_token", "logprob"}:
            assert output.type.tensor_type.shape.dim[1].dim_value == 1


def test_executorch_has_no_layout(tiny_model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="--layout is for --format onnx"):
        export_artifact(tiny_model_dir, tmp_path / "out", format="executorch", layout="genai")


def test_the_genai_config_names_what_the_graph_has(tiny_model_dir: Path, tmp_path: Path) -> None:
    folder = exported("genai", tiny_model_dir, tmp_path / "out")
    told = json.loads((folder / "genai_config.json").read_text())["model"]
    decoder = told["decoder"]
    graph = onnx.load(folder / decoder["filename"], load_external_data=False).graph
    layers = range(decoder["num_hidden_layers"])
    for side, values in (("inputs", graph.input), ("outputs", graph.output)):
        named = {
            name % layer if "%d" in name else name
            for name in decoder[side].values()
            for layer in layers
        }
        has = {value.name for value in values}
        assert named <= has
        assert has - named <= {"next_token", "logprob"}
    cache = next(value for value in graph.input if value.name == "past_key_values.0.key")
    shape = [dim.dim_value for dim in cache.type.tensor_type.shape.dim]
    assert [shape[1], shape[3]] == [decoder["num_key_value_heads"], decoder["head_size"]]
    entry = read_manifest(folder).model
    assert told["context_length"] == entry.window
    assert told["eos_token_id"] == entry.end_of_sequence_ids


def test_the_optimum_config_ends_where_the_program_does(
    tiny_model_dir: Path, float_artifact: Path, tmp_path: Path
) -> None:
    model, entry = load_model(tiny_model_dir), read_manifest(float_artifact).model
    write_layout(
        "optimum", tiny_model_dir, tmp_path, model, msgspec.structs.replace(entry, window=40)
    )
    assert json.loads((tmp_path / "config.json").read_text())["max_position_embeddings"] == 40
    assert model.config.max_position_embeddings == 48


@pytest.mark.parametrize(
    "settings",
    [
        '{"tokenizer_class": "TokenizersBackend", "eos_token": "<eos>"}',
        '{"tokenizer_class": "GPT2Tokenizer", "eos_token": "<eos>"}',
        '{"eos_token": "<eos>"}',
        None,
    ],
)
def test_the_tokenizer_has_the_class_that_takes_its_file_whole(
    tiny_model_dir: Path, tmp_path: Path, settings: str | None
) -> None:
    model_dir = Path(shutil.copytree(tiny_model_dir, tmp_path / "model"))
    (model_dir / "tokenizer_config.json").unlink(missing_ok=True)
    if settings is not None:
        (model_dir / "tokenizer_config.json").write_text(settings)
    folder = exported("genai", model_dir, tmp_path / "out")
    written = json.loads((folder / "tokenizer_config.json").read_text())
    assert written["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert written["clean_up_tokenization_spaces"] is False
    assert written.get("eos_token") == (None if settings is None else "<eos>")


@pytest.mark.parametrize(
    ("layout", "change", "says"),
    [
        ("genai", {"decoder_start_id": 0}, "is for decoder-only models, got genai"),
        ("optimum", {"decoder_start_id": 0}, "is for decoder-only models, got optimum"),
        ("optimum", {"head_dim": 32}, "needs head_dim = .* = 16, got 32"),
    ],
)
def test_a_model_that_the_library_cannot_open_is_refused(
    tiny_model_dir: Path,
    float_artifact: Path,
    tmp_path: Path,
    layout: Layout,
    change: dict[str, int],
    says: str,
) -> None:
    entry = msgspec.structs.replace(read_manifest(float_artifact).model, **change)
    with pytest.raises(OptionError, match=says):
        write_layout(layout, tiny_model_dir, tmp_path, load_model(tiny_model_dir), entry)
    assert list(tmp_path.iterdir()) == []
