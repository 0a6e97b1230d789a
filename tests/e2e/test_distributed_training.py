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
accumulation_steps = {parts}
learning_rate = 1e-2
warmup_steps = 2
[run]
checkpoint_steps = 4
log_steps = 1
"""
_TEACHER = '[teacher]\npath = "large"\ncache = "kept.safetensors"\ntop_k = 4'
#: Two tiers above the student, each with a cache that one process writes.
_TEACHERS = (
    'alpha = "soft"\n[[teacher]]\npath = "medium"\ncache = "medium.safetensors"\n'
    '[[teacher]]\npath = "large"\ncache = "kept.safetensors"\ntop_k = 4'
)


#: `escalade train`, cut off at the beginning of the sixth step.
_CUT_OFF = """
import sys
from pathlib import Path
from transformers import TrainerCallback
from escalade.training.recipes import run_recipe

class Cut(TrainerCallback):
    def on_step_begin(self, args, state, control, **_):
        if state.global_step == 5:
            print("cut off")
            raise SystemExit(9)

run_recipe(Path(sys.argv[1]), Path(sys.argv[2]), progress=lambda *_: None, callbacks=[Cut()])
"""


def train(recipe: Path, out: Path, *, processes: int) -> list[dict[str, float]]:
    """Run `escalade train` in that many processes on the CPU; give its log."""
    command = ["escalade.cli", "train", str(recipe), str(out), "--json"]
    done = launch(["--module" if processes > 1 else "-m", *command], processes=processes)
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def launch(command: list[str], *, processes: int) -> subprocess.CompletedProcess[str]:
    """Run a Python program in that many processes (gloo).

    `--multi_gpu` means torchrun, which starts processes on a CPU as well; `--cpu` means MPI.
    """
    launcher = [
        str(Path(sys.executable).with_name("accelerate")), "launch", "--multi_gpu",
        "--num_processes", str(processes), "--num_machines", "1", "--mixed_precision", "no",
        "--dynamo_backend", "no",
        "--main_process_port", "0",
    ]  # fmt: skip
    start = launcher if processes > 1 else [sys.executable]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    return subprocess.run(
        [*start, *command],
        env=environment, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


def records_of_unequal_length(count: int) -> list[Record]:
    """How long is this word? The answers of long words have more tokens."""
    return [
        Record(
            id=word, task="spelling", prompt=f"spelling: {word}", references=[word * (n % 3 + 1)]
        )
        for n, word in enumerate(
            "abcdefgh"[n % 8] + "abcdefgh"[n // 8 % 8] * (1 + n % 5) for n in range(count)
        )
    ]


def assert_same_curves(two: list[dict[str, float]], one: list[dict[str, float]]) -> None:
    """To rounding: sums of float32 are added up in another order."""
    for name in ("loss", "grad_norm", "tokens_filtered", "tokens_both", "tokens_none", "eval_loss"):
        curve = [entry[name] for entry in two if name in entry]
        assert len(curve) == (2 if name == "eval_loss" else 8)
        assert curve == pytest.approx([entry[name] for entry in one if name in entry], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("examples", "held_out", "parts", "teacher"),
    [(64, 8, 1, _TEACHER), (51, 7, 2, _TEACHERS), (49, 1, 1, _TEACHER)],
    ids=["even batches", "a last batch for one and a half", "a validation query for two"],
)
def test_two_processes_follow_the_curve_of_one(
    examples: int, held_out: int, parts: int, teacher: str, tmp_path: Path
) -> None:
    records = records_of_unequal_length(examples)
    write_records(tmp_path / "data" / "train.jsonl", records)
    write_records(tmp_path / "data" / "valid.jsonl", records[:held_out])
    for name in ("medium", "large") if "medium" in teacher else ("large",):
        plain = tmp_path / f"{name}.toml"
        plain.write_text(RECIPE.format(name=name, loss="xent", teacher="", parts=1))
        train(plain, tmp_path / name, processes=1)
    recipe = tmp_path / "small.toml"
    recipe.write_text(RECIPE.format(name="small", loss="cat-dist", teacher=teacher, parts=parts))
    two = train(recipe, tmp_path / "two", processes=2)
    assert_same_curves(two, train(recipe, tmp_path / "one", processes=1))
    metrics = json.loads((tmp_path / "two" / "metrics.json").read_text())
    assert metrics["machine"].endswith("cpu x 2")


@pytest.mark.slow
def test_two_processes_that_were_cut_off_end_as_one_that_was_not(tmp_path: Path) -> None:
    """Cut off within the first epoch, the last batch of which both have to share."""
    records = records_of_unequal_length(51)
    write_records(tmp_path / "data" / "train.jsonl", records)
    write_records(tmp_path / "data" / "valid.jsonl", records[:3])
    recipe = tmp_path / "small.toml"
    text = RECIPE.format(name="small", loss="cat-xent-s", teacher="", parts=2)
    recipe.write_text(text)
    script = tmp_path / "cut_off.py"
    script.write_text(_CUT_OFF)
    cut = launch([str(script), str(recipe), str(tmp_path / "two")], processes=2)
    assert cut.returncode != 0
    assert "cut off" in cut.stdout, cut.stderr[-3000:]
    two = train(recipe, tmp_path / "two", processes=2)
    one = train(recipe, tmp_path / "one", processes=1)
    for name in ("loss", "eval_loss"):
        curves = [[entry[name] for entry in log if name in entry] for log in (two, one)]
        assert curves[0] == pytest.approx(curves[1], rel=1e-3)
