"""Whole runs of a very small model: what they write, and what they refuse."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from recipe_runs import (
    CHECKPOINT_STEPS,
    STEPS,
    CutOff,
    Write,
    assert_same_weights,
    cut_off,
    log_of,
    silent,
    weights,
)
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from transformers.utils import logging

from escalade.edge.base.records import read_records, subsample
from escalade.edge.errors import DataError
from escalade.training.errors import RecipeError
from escalade.training.examples import Examples
from escalade.training.quality import exact_match, greedy_answers
from escalade.training.recipes.run import run_recipe


def test_a_run_writes_a_whole_checkpoint(finished: Path, write: Write) -> None:
    names = {path.name for path in finished.iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "recipe.toml"} <= names
    assert (finished / "recipe.toml").read_text() == write().read_text()
    assert not finished.with_name("finished.run").exists()
    assert not list(finished.parent.glob("*.tmp"))
    metrics = json.loads((finished / "metrics.json").read_text())
    model = AutoModelForCausalLM.from_pretrained(finished)
    assert metrics["steps"] == STEPS
    assert metrics["parameters"] == sum(p.numel() for p in model.parameters())
    assert model.dtype == torch.float32
    assert metrics["valid_queries"] == 10


def test_the_loss_falls_and_is_logged(finished: Path) -> None:
    losses = [entry["loss"] for entry in log_of(finished) if "loss" in entry]
    held_out = [entry["eval_loss"] for entry in log_of(finished) if "eval_loss" in entry]
    assert len(losses) == STEPS // 4
    assert len(held_out) == STEPS // CHECKPOINT_STEPS
    assert losses[-1] < losses[0]
    assert held_out[-1] < held_out[0]
    logged = [entry for entry in log_of(finished) if "loss" in entry]
    assert all(0 <= entry["tokens_right"] <= 1 for entry in logged)
    assert all(entry["tokens_filtered"] == 0 for entry in logged)
    assert not any("tokens_none" in entry for entry in log_of(finished))


def test_the_metrics_are_those_of_the_saved_model(finished: Path, workplace: Path) -> None:
    records = read_records(workplace / "data" / "valid.jsonl")
    model = AutoModelForCausalLM.from_pretrained(finished).eval()
    tokenizer = AutoTokenizer.from_pretrained(finished)
    prompts = [record.prompt for record in records]
    model.generation_config.do_sample = True  # as published models ask for; greedy is greedy
    together = greedy_answers(model, tokenizer, prompts, max_new_tokens=8)
    alone = [greedy_answers(model, tokenizer, [p], max_new_tokens=8)[0] for p in prompts]
    assert [a.text for a in together] == [a.text for a in alone]
    metrics = json.loads((finished / "metrics.json").read_text())
    assert metrics["valid_exact_match"] == exact_match(records, [a.text for a in together])


def test_the_seed_decides_the_weights(finished: Path, workplace: Path, write: Write) -> None:
    run_recipe(write(), workplace / "again", progress=silent)
    assert_same_weights(workplace / "again", finished)
    run_recipe(write("other", seed=2, steps=1), workplace / "other", progress=silent)
    assert not torch.equal(
        weights(workplace / "other")["model.embed_tokens.weight"],
        weights(finished)["model.embed_tokens.weight"],
    )


def test_two_runs_do_not_train_into_one_folder(workplace: Path, write: Write) -> None:
    out = workplace / "shared"
    again: list[str] = []

    def begin_another(stage: str, *_: object) -> None:
        with pytest.raises(DataError, match=r"shared\.run: is in use: another process is") as found:
            run_recipe(write(), out, progress=silent)
        again.append(str(found.value))
        raise CutOff

    with pytest.raises(CutOff):
        run_recipe(write(), out, progress=begin_another)
    assert len(again) == 1
    cut_off(write(), out, 1)  # whoever dies lets go
    assert not out.exists()


def test_a_recipe_may_come_through_a_pipe(workplace: Path, write: Write) -> None:
    source, pipe = write("piped").read_text(), workplace / "piped.pipe"
    source = source.replace('source = "data"', f'source = "{workplace}/data"')
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(source,))
    writer.start()
    cut_off(pipe, workplace / "piped", 1)
    writer.join()
    assert (workplace / "piped.run" / "recipe.toml").read_text() == source


def test_a_student_stored_in_bfloat16_learns_in_float32(
    finished: Path, workplace: Path, write: Write
) -> None:
    half = AutoModelForCausalLM.from_pretrained(finished).bfloat16()
    shutil.copytree(finished, workplace / "half")
    half.save_pretrained(workplace / "half")
    recipe = write("x", steps=1)
    text = recipe.read_text()
    start, end = text.index("[model.config]"), text.index("[data]")
    recipe.write_text(text[:start] + '[model]\npath = "half"\n' + text[end:])
    seen: list[torch.dtype] = []

    class Look(TrainerCallback):
        def on_step_begin(self, *_: object, model: torch.nn.Module, **__: object) -> None:
            seen.append(next(model.parameters()).dtype)

    run_recipe(recipe, workplace / "from-half", progress=silent, callbacks=[Look()])
    assert seen == [torch.float32]


def test_lora_learns_and_is_merged(finished: Path, workplace: Path, write: Write) -> None:
    recipe = write("x", steps=3, teacher="[lora]\nr = 2")
    run_recipe(recipe, workplace / "lora", progress=silent)
    assert weights(workplace / "lora").keys() == weights(finished).keys()
    with pytest.raises(RecipeError, match=r"lora\.targets"):
        run_recipe(
            write("x", steps=3, teacher='[lora]\ntargets = ["nowhere"]'),
            workplace / "refused",
            progress=silent,
        )


def held_out_loss(folder: Path, data: Path) -> float:
    """The mean over target tokens, one validation query at a time."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    examples = Examples(subsample(read_records(data), 8), tokenizer, max_tokens=96)
    nats, tokens = 0.0, 0
    for index in range(len(examples)):
        ids, labels = (torch.tensor(examples[index][key]) for key in ("input_ids", "labels"))
        with torch.no_grad():
            said = model(ids[None]).logits[0, :-1].log_softmax(dim=-1)
        counted = labels[1:] != -100
        nats -= said[counted].gather(1, labels[1:][counted, None]).sum().item()
        tokens += int(counted.sum())
    return nats / tokens


@pytest.mark.parametrize(
    ("name", "lora", "precision"),
    [
        ("float32", "", 1e-4),
        pytest.param("bf16", "", 2e-2, marks=pytest.mark.slow),
        ("tied-head", "[lora]\ntargets = ['lm_head', 'q_proj']\nalpha = 64", 1e-4),
    ],
)
def test_the_saved_folder_has_the_loss_of_the_last_evaluation(
    name: str, lora: str, precision: float, finished: Path, workplace: Path, write: Write
) -> None:
    """Cut off and gone on with, and with the head of a tied model among what is updated."""
    recipe = write("x", log_steps=1, teacher=lora)
    text = recipe.read_text()
    start, end = text.index("[model.config]"), text.index("[data]")
    run = "bf16 = true\n" if name == "bf16" else ""
    recipe.write_text(text[:start] + f'[model]\npath = "{finished.name}"\n' + text[end:] + run)
    out = workplace / f"saved-{name}"
    cut_off(recipe, out, 7)
    run_recipe(recipe, out, progress=silent)
    last = [entry["eval_loss"] for entry in log_of(out) if "eval_loss" in entry][-1]
    data = workplace / "data" / "valid.jsonl"
    assert held_out_loss(out, data) == pytest.approx(last, rel=precision)
    assert abs(held_out_loss(finished, data) - last) > 1e-3


def test_an_example_longer_than_the_window_is_refused(workplace: Path, write: Write) -> None:
    recipe = write("x")
    recipe.write_text(
        recipe.read_text().replace("valid_size = 8", "valid_size = 8\nmax_tokens = 5")
    )
    with pytest.raises(DataError, match="tokens, max_tokens is 5"):
        run_recipe(recipe, workplace / "refused", progress=silent)


def test_transformers_draws_no_bar_beside_ours(workplace: Path, write: Write) -> None:
    drawn: list[object] = []

    def note(factory: Callable[..., object], given: Sequence[object], named: object) -> object:
        drawn.append(named)
        return factory(*given, disable=True)

    before = logging.set_tqdm_hook(note)
    try:
        run_recipe(write("x", steps=3), workplace / "no-bars", progress=silent)
    finally:
        logging.set_tqdm_hook(before)
    assert drawn == []
