"""A GGUF file from elsewhere is an artifact; what is none that can be opened is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from escalade.edge.artifact import read_manifest
from escalade.edge.generation import Artifact
from escalade.export.artifact.artifact import export_artifact
from escalade.export.artifact.gguf_file import export_gguf_file
from escalade.export.errors import ModelError

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not here; make test-gguf")

PROMPTS = ("hello", "the 1 2 3", "naïve 😀")


@pytest.fixture(scope="module")
def ours(bytes_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("artifacts") / "ours"
    export_artifact(bytes_model_dir, out, format="gguf", golden_prompts=PROMPTS)
    return out


def test_a_file_that_we_wrote_comes_back_the_same(ours: Path, tmp_path: Path) -> None:
    found = export_gguf_file(ours / "model.gguf", tmp_path / "back", golden_prompts=PROMPTS)
    own = read_manifest(ours)
    assert found.golden == own.golden
    assert found.parity.prompts == 0
    assert found.quantization.scheme == own.quantization.scheme == "none"
    assert found.files["model.gguf"] == own.files["model.gguf"]
    for name in (
        "vocabulary_size", "window", "layers", "kv_heads", "head_dim", "widest", "kv_bytes",
        "end_of_sequence_ids", "parameters",
    ):  # fmt: skip
        assert getattr(found.model, name) == getattr(own.model, name), name
    artifact = Artifact.open(tmp_path / "back")
    assert artifact.chat_template == Artifact.open(ours).chat_template
    for text in (*PROMPTS, "a<|turn|>b  c\n"):
        assert artifact.encode(text) == Artifact.open(ours).encode(text)


@pytest.mark.slow
def test_each_width_is_what_llamacpp_calls_it(
    bytes_model_dir: Path, ours: Path, tmp_path: Path
) -> None:
    sizes = [read_manifest(ours).files["model.gguf"].bytes]
    for scheme, theirs in (("float16", "float16"), ("int8", "q8_0"), ("int4", "q4_k_m")):
        out = tmp_path / scheme
        manifest = export_artifact(
            bytes_model_dir, out, format="gguf", quantize=scheme, golden_prompts=PROMPTS[:1]
        )
        assert manifest.quantization.scheme == scheme
        assert manifest.parity.max_abs_delta_nll < {"float16": 0.01, "int8": 0.05}.get(scheme, 0.5)
        sizes.append(manifest.files["model.gguf"].bytes)
        assert [path.name for path in out.iterdir() if path.name.startswith(".")] == []
        back = export_gguf_file(
            out / "model.gguf", tmp_path / f"{scheme}-back", golden_prompts=PROMPTS[:1]
        )
        assert back.quantization.scheme == theirs
        assert back.golden == manifest.golden
    assert sizes == sorted(sizes, reverse=True)


def test_a_file_that_llamacpp_asserts_on_is_refused_in_a_line(ours: Path, tmp_path: Path) -> None:
    one = (1).to_bytes(8, "little")
    twice = (ours / "model.gguf").read_bytes().replace(one + b"I", one + b"J", 1)
    (tmp_path / "twice.gguf").write_bytes(twice)
    with pytest.raises(
        ModelError, match=r"twice.gguf: damaged: .*SIGABRT: llama-vocab.cpp:"
    ) as said:
        export_gguf_file(tmp_path / "twice.gguf", tmp_path / "out", golden_prompts=["hello"])
    assert "\n" not in str(said.value)
    assert [path.name for path in tmp_path.iterdir()] == ["twice.gguf"]


def test_the_command_takes_the_file_and_refuses_what_is_not_for_it(
    ours: Path, tmp_path: Path
) -> None:
    from escalade.cli.main import app

    runner = CliRunner()
    out = tmp_path / "out"
    took = runner.invoke(app, ["export", str(ours / "model.gguf"), str(out), "--json"])
    assert took.exit_code == 0, took.output
    assert json.loads(took.stdout)["format"] == "gguf"
    said = runner.invoke(app, ["export", str(ours / "model.gguf"), str(out)]).stdout
    assert "held against nothing: there is no other program of it\n" in said
    asked = runner.invoke(app, ["ask", str(out), "hello", "--json"])
    assert asked.exit_code == 0, asked.output
    refused = runner.invoke(
        app, ["export", str(ours / "model.gguf"), str(out), "--quantize", "int8"]
    )
    assert refused.exit_code == 2
    assert "stays as it is" in refused.output
