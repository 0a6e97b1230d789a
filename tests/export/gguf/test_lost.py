"""What llama.cpp's rounding lost: read by it token by token, said as for other formats."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from escalade.cli.main import app
from escalade.edge.artifact import read_manifest
from escalade.edge.generation import Artifact
from escalade.export.artifact import export_artifact
from escalade.export.held import measure_lost
from escalade.export.held.lost import Text, program_reader

pytest.importorskip("llama_cpp", reason="llama-cpp-python is not here; make test-gguf")

PROMPTS = ("g2p: cascade", "p2g: K AE T")
# Float32 sums in another order.
NEAR = 1e-4


@pytest.fixture(scope="module")
def rounded(tiny_model_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("gguf") / "int8"
    export_artifact(tiny_model_dir, out, format="gguf", quantize="int8")
    return out


def test_a_file_in_float32_lost_nothing(tiny_model_dir: Path, tmp_path: Path) -> None:
    export_artifact(tiny_model_dir, tmp_path / "out", format="gguf")
    lost = measure_lost(tmp_path / "out", tiny_model_dir)
    assert lost is not None
    assert lost.same_argmax == 1.0
    assert 0 <= lost.mean_kl < lost.worst_kl < 1e-6
    assert lost.perplexity_ratio == pytest.approx(1, abs=1e-5)


def test_answers_to_records_are_looked_at(rounded: Path, tiny_model_dir: Path) -> None:
    lost = measure_lost(rounded, tiny_model_dir, PROMPTS)
    assert lost is not None
    assert (lost.source, lost.texts) == ("records", 2)
    assert 2 <= lost.tokens <= 2 * 64
    assert 1e-7 < lost.mean_kl < 0.1
    assert lost == measure_lost(rounded, tiny_model_dir, PROMPTS)


def test_the_reader_gives_at_each_place_what_the_device_sees_there(rounded: Path) -> None:
    artifact = Artifact.open(rounded, threads=1)
    ids = artifact.encode("g2p: cascade")
    steps = artifact.generate(ids, 4)
    logits = program_reader(rounded, read_manifest(rounded))(
        Text([*ids, *(step.token_id for step in steps)], len(ids))
    )
    assert len(logits) == len(steps)
    for place, step in enumerate(steps):
        said = torch.from_numpy(logits[place]).double().log_softmax(-1)
        assert int(said.argmax()) == step.token_id
        assert float(said.max()) == pytest.approx(step.logprob, abs=NEAR)


def test_the_verb_says_it_as_of_other_formats(tiny_model_dir: Path, tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    record = {"id": "1", "task": "g2p", "prompt": PROMPTS[0], "references": []}
    data.write_text(json.dumps(record))
    export = ["export", str(tiny_model_dir), str(tmp_path / "out"), "--format", "gguf"]
    export += ["--quantize", "int4"]
    said = CliRunner().invoke(app, [*export, "--held-out", str(data)])
    assert said.exit_code == 0, said.output
    assert "lost on " in said.stdout
    assert " tokens of records: KL mean " in said.stdout
    found = CliRunner().invoke(app, [*export, "--json"])
    assert json.loads(found.stdout)["lost"]["source"] == "the model"
    none = CliRunner().invoke(app, [*export, "--held-out", "none"])
    assert none.exit_code == 0, none.output
    assert "lost" not in none.stdout
