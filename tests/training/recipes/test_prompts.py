"""Which prompts a checkpoint keeps of what it was trained on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from transformers import TrainerCallback, TrainingArguments

from escalade.checkpoint import MOST_PROMPTS, PROMPTS_NAME
from escalade.edge.base import Record, read_records, subsample
from escalade.training.data import load_pronunciations, make_records
from escalade.training.errors import RecipeError
from escalade.training.recipes.prompts import draw_prompts
from escalade.training.recipes.recipe import read_recipe
from escalade.training.recipes.run import run_recipe

Write = Callable[..., Path]
CHECKPOINTS = Path(__file__).parents[3] / "training" / "checkpoints"
RECORDS = [
    Record(id=str(number), task="g2p", prompt=f"g2p: {number}", references=["AH"])
    for number in range(100)
]


class CutOff(BaseException):
    """Stands for a kill."""


class Cut(TrainerCallback):
    """Cuts a run off after its sixth step."""

    def on_step_begin(
        self, args: TrainingArguments, state: object, *_: object, **__: object
    ) -> None:
        if getattr(state, "global_step", 0) == 6:
            raise CutOff


def silent(stage: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
    """A `Progress` that draws nothing."""


def ids_of(records: list[Record]) -> list[str]:
    return [record.id for record in records]


def test_the_seed_draws_them_in_the_order_of_the_data_and_without_references() -> None:
    drawn = draw_prompts(RECORDS, 20, 1)
    assert drawn == draw_prompts(RECORDS, 20, 1) != draw_prompts(RECORDS, 20, 2)
    assert len(drawn) == 20
    assert ids_of(drawn) == sorted(ids_of(drawn), key=int)
    assert set(ids_of(drawn)) < set(ids_of(draw_prompts(RECORDS, 40, 1)))
    assert {record.prompt for record in drawn} <= {record.prompt for record in RECORDS}
    assert not any(record.references for record in drawn)


def test_all_of_few_and_none_of_none() -> None:
    assert ids_of(draw_prompts(RECORDS, MOST_PROMPTS, 1)) == ids_of(RECORDS)
    assert draw_prompts(RECORDS, 0, 1) == []


def test_long_prompts_are_fewer() -> None:
    mebibyte = "ä" * (1 << 19)
    long = [Record(id=str(number), task="t", prompt=mebibyte, references=[]) for number in range(9)]
    assert len(draw_prompts(long, MOST_PROMPTS, 1)) == 4


def test_a_checkpoint_keeps_what_it_was_trained_on_and_nothing_else(
    finished: Path, workplace: Path
) -> None:
    kept = read_records(finished / PROMPTS_NAME)
    train = read_records(workplace / "data" / "train.jsonl")
    assert [(one.id, one.task, one.prompt) for one in kept] == [
        (one.id, one.task, one.prompt) for one in train
    ]
    assert not any(one.references for one in kept)


def test_a_run_that_was_cut_off_keeps_the_same(workplace: Path, write: Write) -> None:
    run_recipe(write(), workplace / "whole", progress=silent, keep_prompts=9)
    with pytest.raises(CutOff):
        run_recipe(write(), workplace / "cut", progress=silent, callbacks=[Cut()], keep_prompts=9)
    # How many are kept is no part of what was begun.
    metrics = run_recipe(write(), workplace / "cut", progress=silent, keep_prompts=9)
    whole, cut = ((workplace / name / PROMPTS_NAME).read_bytes() for name in ("whole", "cut"))
    assert whole == cut
    assert metrics["kept_prompts"] == len(cut.splitlines()) == 9


def test_a_recipe_or_who_runs_it_has_none_kept(workplace: Path, write: Write) -> None:
    recipe = write("bare", steps=1)
    metrics = run_recipe(recipe, workplace / "bare", progress=silent, keep_prompts=0)
    assert metrics["kept_prompts"] == 0
    assert not (workplace / "bare" / PROMPTS_NAME).exists()
    recipe.write_text(recipe.read_text() + "keep_prompts = 0\n")
    run_recipe(recipe, workplace / "bare", progress=silent)
    assert not (workplace / "bare" / PROMPTS_NAME).exists()
    # Nor do those of a checkpoint that was there before stay.
    run_recipe(recipe, workplace / "bare", progress=silent, keep_prompts=3)
    assert len(read_records(workplace / "bare" / PROMPTS_NAME)) == 3
    run_recipe(recipe, workplace / "bare", progress=silent)
    assert not (workplace / "bare" / PROMPTS_NAME).exists()


@pytest.mark.parametrize("count", [-1, MOST_PROMPTS + 1])
def test_a_count_out_of_range_is_one_line(count: int, write: Write) -> None:
    recipe = write("range")
    recipe.write_text(recipe.read_text() + f"keep_prompts = {count}\n")
    with pytest.raises(RecipeError, match=r"run\.keep_prompts must be") as refused:
        read_recipe(recipe)
    assert str(count) in str(refused.value)


def test_the_bundled_ones_keep_what_their_recipes_draw_from_the_training_split() -> None:
    train = list(make_records("train", load_pronunciations()))
    folders = sorted(path.parent for path in CHECKPOINTS.glob("*/config.json"))
    assert len(folders) == 4
    for folder in folders:
        recipe = read_recipe(folder / "recipe.toml")
        learned = subsample(train, recipe.data.train_size)
        assert read_records(folder / PROMPTS_NAME) == draw_prompts(
            learned, MOST_PROMPTS, recipe.seed
        )
