"""What a next version is exported with."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from escalade.cli.improvement.making import ARTIFACT, CHECKPOINT, VALID, Making
from escalade.edge.artifact import load_manifest
from escalade.edge.base import Record, write_records
from escalade.export.artifact import export_artifact
from escalade.training.improvement import Improvement


@pytest.mark.parametrize(
    "options",
    [
        {"quantize": "int4", "head_bits": 4, "activation_bits": 32},
        {"quantize": "int4", "bits": 8.0, "activation_bits": 32},
        {"layout": "genai"},
        pytest.param(
            {"format": "executorch", "quantize": "8da4w", "head_bits": 4}, marks=pytest.mark.slow
        ),
    ],
)
def test_a_version_is_stored_as_the_one_before(
    options: dict[str, object], tiny_model_dir: Path, tmp_path: Path
) -> None:
    before = tmp_path / "before"
    export_artifact(
        tiny_model_dir, before, golden_prompts=["g2p: a"], max_new_tokens=2,
        **options,  # type: ignore[arg-type]
    )  # fmt: skip
    wanted = msgspec.convert(
        {
            "kind": "generation", "model": "m", "store": "s", "expert": {"address": "e:1"},
            "optim": {"steps": 1, "batch_size": 1, "learning_rate": 1e-3, "warmup_steps": 0},
        },
        Improvement,
    )  # fmt: skip
    folder = tmp_path / "next"
    shutil.copytree(tiny_model_dir, folder / CHECKPOINT)
    (folder / VALID).parent.mkdir()
    write_records(folder / VALID, [Record(id="a", task="g2p", prompt="g2p: a", references=["AH"])])
    Making(wanted, folder, before).export()
    made, was = load_manifest(folder / ARTIFACT), load_manifest(before)
    assert made.quantization == was.quantization
    assert set(made.files) == set(was.files)
