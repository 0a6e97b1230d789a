"""Whole runs that learn from a large model, here or in a cache."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from recipe_runs import (
    Write,
    assert_same_weights,
    log_of,
    silent,
    weights,
)
from transformers import AutoModelForCausalLM

from escalade.training.errors import CacheError, RecipeError, TeacherError
from escalade.training.losses.filters import LOSSES, LossName, needs_teacher
from escalade.training.recipes.run import run_recipe


@pytest.mark.parametrize("loss", [name for name in LOSSES if name != "xent"])
def test_a_run_with_a_teacher_learns_and_logs_what_it_filters(
    loss: LossName, finished: Path, workplace: Path, write: Write
) -> None:
    teacher = f'[teacher]\npath = "{finished.name}"'
    seen: dict[str, list[int]] = {}

    def progress(stage: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
        assert 0 <= done <= total
        seen.setdefault(stage, []).append(done)

    before = weights(finished)
    recipe = write(loss, loss=loss, teacher=teacher, steps=6, log_steps=2)
    run_recipe(recipe, workplace / loss, progress=progress)
    entries = [entry for entry in log_of(workplace / loss) if "loss" in entry]
    assert len(entries) == 3
    for entry in entries:
        assert torch.isfinite(torch.tensor(entry["loss"]))
        both, small, large, none = (
            entry.get(f"tokens_{group}", 0.0)
            for group in ("both", "small_only", "large_only", "none")
        )
        filtered = {
            "dist": 0.0,
            "cat-xent": none,
            "cat-dist": none,
            "cat-xent-l": small + none,
            "cat-dist-l": small + none,
            "cat-dist-s": large + none,
            "cat-xent-s": 1 - entry.get("tokens_right", 0.0),
        }[loss]
        assert entry["tokens_filtered"] == pytest.approx(filtered)
        if needs_teacher(loss):
            assert both + small + large + none == pytest.approx(1)
    assert seen["train"][-1] == 6
    assert seen["validate"][-1] == 10
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(finished).items())


def test_a_teacher_with_padded_logits_teaches_the_same(
    finished: Path, workplace: Path, write: Write
) -> None:
    """Models of one tokenizer often differ in how far their vocabulary is padded."""
    wide = AutoModelForCausalLM.from_pretrained(finished)
    wide.resize_token_embeddings(wide.config.vocab_size + 8, mean_resizing=False)
    with torch.no_grad():
        wide.get_output_embeddings().weight[-8:] = 0
    shutil.copytree(finished, workplace / "wide")
    wide.save_pretrained(workplace / "wide")
    for name in ("wide", finished.name):
        recipe = write("x", loss="dist", steps=2, teacher=f'[teacher]\npath = "{name}"')
        run_recipe(recipe, workplace / f"by-{name}", progress=silent)
    assert_same_weights(workplace / "by-wide", workplace / f"by-{finished.name}")


def test_a_cache_is_written_once_and_teaches_what_the_model_does(
    finished: Path, workplace: Path, write: Write
) -> None:
    stages: list[str] = []

    def progress(stage: str, *_: object) -> None:
        stages.append(stage)

    live = f'[teacher]\npath = "{finished.name}"'
    cached = f'{live}\ncache = "kept/argmax.safetensors"'
    for name, table in (("live", live), ("first", cached), ("again", cached)):
        stages.clear()
        recipe = write("x", loss="cat-xent", steps=3, teacher=table)
        run_recipe(recipe, workplace / f"c-{name}", progress=progress)
        assert ("teacher" in stages) == (name == "first")
    assert_same_weights(workplace / "c-first", workplace / "c-live")
    assert_same_weights(workplace / "c-again", workplace / "c-live")
    # Written and complete, it needs no model any more.
    alone = write(
        "x", loss="cat-xent", steps=3, teacher='[teacher]\ncache = "kept/argmax.safetensors"'
    )
    run_recipe(alone, workplace / "c-alone", progress=silent)
    assert_same_weights(workplace / "c-alone", workplace / "c-live")
    with pytest.raises(CacheError, match="keeps 0 log-probabilities of each token"):
        run_recipe(write("x", loss="dist", teacher=cached), workplace / "refused", progress=silent)


def test_more_log_probabilities_than_tokens_are_all_of_them(
    finished: Path, workplace: Path, write: Write
) -> None:
    teacher = f'[teacher]\npath = "{finished.name}"\ncache = "all.safetensors"\ntop_k = 1000'
    for _ in range(2):
        recipe = write("x", loss="dist", steps=1, teacher=teacher)
        run_recipe(recipe, workplace / "all-of-them", progress=silent)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ('[lora]\ntargets = ["nowhere"]', "lora.targets"),
        ('[lora]\ntargets = "(q_proj"', "lora.targets"),
        ('report_to = "nobody"', "'nobody'"),
    ],
)
def test_what_can_be_refused_at_once_is_refused_before_the_teacher_is_asked(
    wrong: str, message: str, finished: Path, workplace: Path, write: Write
) -> None:
    teacher = f'[teacher]\npath = "{finished.name}"\ncache = "unasked.safetensors"\n'
    recipe = write("x", loss="cat-xent", teacher=teacher)
    with recipe.open("a") as stream:
        stream.write(wrong + "\n")
    with pytest.raises(RecipeError, match=message):
        run_recipe(recipe, workplace / "refused", progress=silent)
    assert not list(workplace.glob("unasked*"))


def test_accumulating_gradients_changes_nothing(
    finished: Path, workplace: Path, write: Write
) -> None:
    teacher = f'[teacher]\npath = "{finished.name}"'
    curves = []
    for parts in (1, 4):
        recipe = write("x", loss="cat-dist", dropout=0.0, log_steps=1, teacher=teacher)
        text = recipe.read_text().replace(
            "batch_size = 8", f"batch_size = 8\naccumulation_steps = {parts}"
        )
        recipe.write_text(text)
        run_recipe(recipe, workplace / f"parts-{parts}", progress=silent)
        curves.append([e["loss"] for e in log_of(workplace / f"parts-{parts}") if "loss" in e])
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)


def test_an_encoder_decoder_learns_from_an_encoder_decoder(
    finished: Path, workplace: Path, write: Write
) -> None:
    t5 = """[model.config]
model_type = "t5"
d_model = 16
d_kv = 8
d_ff = 32
num_layers = 1
num_heads = 2
"""
    teacher = write("t5-large", steps=2)
    text = teacher.read_text()
    start, end = text.index("[model.config]"), text.index("[data]")
    teacher.write_text(text[:start] + t5 + text[end:])
    run_recipe(teacher, workplace / "t5-large", progress=silent)
    for loss in ("cat-xent", "dist"):
        student = write(
            "t5-small", loss=loss, steps=3, teacher='[teacher]\npath = "t5-large"\ncache = "T"'
        )
        text = student.read_text().replace('"T"', f'"t5-{loss}.safetensors"')
        start, end = text.index("[model.config]"), text.index("[data]")
        student.write_text(text[:start] + t5 + text[end:])
        metrics = run_recipe(student, workplace / f"t5-{loss}", progress=silent)
        assert metrics["valid_queries"] == 10
    causal = write("x", loss="dist", teacher='[teacher]\npath = "t5-large"')
    with pytest.raises(
        TeacherError, match="'t5-large' is an encoder-decoder, the student a causal"
    ):
        run_recipe(causal, workplace / "refused", progress=silent)
