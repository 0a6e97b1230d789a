"""Whole runs of a very small model: what they write, how they resume, what they refuse."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback, TrainingArguments

from escalade.edge.base.records import read_records, subsample
from escalade.edge.errors import DataError
from escalade.training.errors import CacheError, RecipeError, TeacherError
from escalade.training.examples import Examples
from escalade.training.losses.filters import LOSSES, LossName, needs_teacher
from escalade.training.quality import exact_match, greedy_answers
from escalade.training.recipes.resume import last_checkpoint
from escalade.training.recipes.run import run_recipe

STEPS, CHECKPOINT_STEPS = 12, 3  # as the recipe of conftest.py says

Write = Callable[..., Path]


class CutOff(BaseException):
    """Stands for a kill: nothing in the run may catch it."""


class CutAfter(TrainerCallback):
    """Cuts a run off after a given step, once that step's checkpoint is written."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_begin(
        self, args: TrainingArguments, state: object, *_: object, **__: object
    ) -> None:
        if getattr(state, "global_step", 0) == self._step:
            raise CutOff


def silent(stage: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
    """A `Progress` that draws nothing."""


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def assert_same_weights(one: Path, other: Path) -> None:
    left, right = weights(one), weights(other)
    assert left.keys() == right.keys()
    for name, tensor in left.items():
        assert torch.equal(tensor, right[name]), name


def log_of(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def cut_off(recipe: Path, out: Path, step: int) -> None:
    with pytest.raises(CutOff):
        run_recipe(recipe, out, progress=silent, callbacks=[CutAfter(step)])


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


@pytest.mark.parametrize("step", [6, 11], ids=["first epoch", "second epoch"])
def test_a_run_that_was_cut_off_ends_with_the_same_weights(
    step: int, finished: Path, workplace: Path, write: Write
) -> None:
    out = workplace / f"cut-{step}"
    cut_off(write(), out, step)
    assert not out.exists()
    last = step // CHECKPOINT_STEPS * CHECKPOINT_STEPS
    assert (workplace / f"{out.name}.run" / f"checkpoint-{last}").is_dir()
    first_seen: list[int] = []
    run_recipe(write(), out, progress=lambda stage, done, *_: first_seen.append(done))
    assert first_seen[0] == last + 1
    assert_same_weights(out, finished)
    assert [e["step"] for e in log_of(out)] == [e["step"] for e in log_of(finished)]


def timeless(log: list[dict[str, float]]) -> list[dict[str, float]]:
    timed = ("runtime", "per_second")
    return [{key: entry[key] for key in entry if not key.endswith(timed)} for entry in log]


def test_a_checkpoint_that_was_half_written_is_passed_over(
    finished: Path, workplace: Path, write: Write
) -> None:
    out = workplace / "torn"
    cut_off(write(), out, 7)
    (workplace / "torn.run" / "checkpoint-6" / "trainer_state.json").unlink()
    run_recipe(write(), out, progress=silent)
    assert_same_weights(out, finished)


def test_a_checkpoint_that_was_damaged_is_passed_over(
    finished: Path, workplace: Path, write: Write
) -> None:
    out, said = workplace / "damaged", list[str]()
    cut_off(write(), out, 7)
    state, whole = workplace / "damaged.run", workplace / "damaged.whole"
    shutil.copytree(state, whole)
    names = sorted(path.name for path in (whole / "checkpoint-6").iterdir())
    assert {"model.safetensors", "optimizer.pt", "rng_state.pth", "sha256.json"} <= {*names}
    assert last_checkpoint(state) == state / "checkpoint-6"
    for name in names:
        path = state / "checkpoint-6" / name
        content = path.read_bytes()
        middle = len(content) // 2
        for damaged in (
            b"",
            content[:middle],
            (whole / "checkpoint-6" / names[names[0] == name]).read_bytes(),
            content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        ):
            path.write_bytes(damaged)
            said.clear()
            assert last_checkpoint(state, said.append) == state / "checkpoint-3"
            [line] = said
            assert line.startswith(f"{state / 'checkpoint-6'}/")
            assert line.endswith("the run goes on from the checkpoint before, or begins again")
        path.write_bytes(content)
    for step in (3, 6):
        (state / f"checkpoint-{step}" / "optimizer.pt").write_bytes(b"")
    said.clear()
    run_recipe(write(), out, progress=silent, say=said.append)
    assert [line.partition(" ")[0] for line in said[:2]] == [
        str(state / f"checkpoint-{step}" / "optimizer.pt") for step in (6, 3)
    ]
    assert_same_weights(out, finished)


def test_a_run_whose_recipe_was_damaged_says_how_to_begin_again(
    workplace: Path, write: Write
) -> None:
    out = workplace / "spoiled"
    cut_off(write(), out, 4)
    for content in (b"", b"\xff\x00", b'name = "tiny"'):
        (workplace / "spoiled.run" / "recipe.toml").write_bytes(content)
        with pytest.raises(RecipeError, match=r"spoiled\.run is damaged: delete it to begin again"):
            run_recipe(write(), out, progress=silent)


def test_a_run_cut_off_after_its_last_step_takes_no_other(
    finished: Path, workplace: Path, write: Write
) -> None:
    out = workplace / "at-the-end"

    def cut_when_validating(stage: str, *_: object) -> None:
        if stage == "validate":
            raise CutOff

    with pytest.raises(CutOff):
        run_recipe(write(), out, progress=cut_when_validating)
    metrics = run_recipe(write(), out, progress=silent)
    assert metrics["steps"] == STEPS
    assert_same_weights(out, finished)
    assert timeless(log_of(out)) == timeless(log_of(finished))


def test_the_seed_decides_the_weights(finished: Path, workplace: Path, write: Write) -> None:
    run_recipe(write(), workplace / "again", progress=silent)
    assert_same_weights(workplace / "again", finished)
    run_recipe(write("other", seed=2, steps=1), workplace / "other", progress=silent)
    assert not torch.equal(
        weights(workplace / "other")["model.embed_tokens.weight"],
        weights(finished)["model.embed_tokens.weight"],
    )


def test_another_recipes_unfinished_run_is_not_gone_on_with(workplace: Path, write: Write) -> None:
    out = workplace / "claimed"
    cut_off(write(), out, 4)
    with pytest.raises(RecipeError, match=r"claimed\.run holds the unfinished run of another"):
        run_recipe(write("tiny", seed=3), out, progress=silent)
    # How often it logs changes nothing that is learned.
    cut_off(write("tiny", log_steps=1), out, 4)


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


def test_an_example_longer_than_the_window_is_refused(workplace: Path, write: Write) -> None:
    recipe = write("x")
    recipe.write_text(
        recipe.read_text().replace("valid_size = 8", "valid_size = 8\nmax_tokens = 5")
    )
    with pytest.raises(DataError, match="tokens, max_tokens is 5"):
        run_recipe(recipe, workplace / "refused", progress=silent)
