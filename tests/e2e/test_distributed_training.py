"""Two processes under accelerate learn what one does: the same loss at every step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from escalade.edge.base.records import Record, write_records

RECIPE = """
name = "{name}"
seed = 1
loss = "{loss}"
tokenizer = "bundled"
{teacher}
[model.config]
model_type = "llama"
hidden_size = 16
intermediate_size = 32
num_hidden_layers = 1
num_attention_heads = 2
num_key_value_heads = 2
max_position_embeddings = 96
tie_word_embeddings = true
[data]
source = "data"
valid_size = 8
[optim]
steps = 8
batch_size = 8
learning_rate = 1e-2
warmup_steps = 2
[run]
checkpoint_steps = 4
log_steps = 1
"""
_TEACHER = '[teacher]\npath = "large"\ncache = "kept.safetensors"\ntop_k = 4'


def train(recipe: Path, out: Path, *, processes: int) -> list[dict[str, float]]:
    """Run `escalade train` in that many processes on the CPU (gloo); give its log.

    `--multi_gpu` means torchrun, which starts processes on a CPU as well; `--cpu` means MPI.
    """
    launcher = [
        str(Path(sys.executable).with_name("accelerate")), "launch", "--multi_gpu",
        "--num_processes", str(processes), "--num_machines", "1", "--mixed_precision", "no",
        "--dynamo_backend", "no",
        "--main_process_port", "0", "--module",
    ]  # fmt: skip
    start = launcher if processes > 1 else [sys.executable, "-m"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(
        [*start, "escalade.cli", "train", str(recipe), str(out), "--json"],
        env=environment, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_two_processes_follow_the_curve_of_one(tmp_path: Path) -> None:
    letters = "abcdefgh"
    words = [a + b * n for a in letters for b in letters for n in (1, 2)]
    records = [
        Record(id=word, task="syllables", prompt=f"syllables: {word}", references=[str(len(word))])
        for word in words
    ]
    write_records(tmp_path / "data" / "train.jsonl", records)
    write_records(tmp_path / "data" / "valid.jsonl", records[::5])
    large = tmp_path / "large.toml"
    large.write_text(RECIPE.format(name="large", loss="xent", teacher=""))
    train(large, tmp_path / "large", processes=1)
    recipe = tmp_path / "small.toml"
    recipe.write_text(RECIPE.format(name="small", loss="cat-dist", teacher=_TEACHER))
    two = train(recipe, tmp_path / "two", processes=2)
    one = train(recipe, tmp_path / "one", processes=1)
    for name in ("loss", "grad_norm", "tokens_filtered", "tokens_both", "tokens_none"):
        curve = [entry[name] for entry in two if name in entry]
        assert len(curve) == 8
        assert curve == pytest.approx([entry[name] for entry in one if name in entry], rel=1e-3)
    metrics = json.loads((tmp_path / "two" / "metrics.json").read_text())
    assert metrics["machine"].endswith("cpu x 2")
