"""A run with several teachers: caches of each, going on, and what it comes to with one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from escalade.training.errors import RecipeError
from escalade.training.losses.filters import ALPHAS
from escalade.training.recipes.run import run_recipe
from escalade.training.teachers.prediction_cache import read_key

Write = Callable[..., Path]


class CutOff(BaseException):
    """Stands for a kill."""


class Cut(TrainerCallback):
    """Cuts a run off after the checkpoint of its third step."""

    def on_step_begin(self, args: object, state: object, *_: object, **__: object) -> None:
        if getattr(state, "global_step", 0) == 4:
            raise CutOff


def silent(stage: str, done: int, total: int, numbers: Mapping[str, float]) -> None:
    """A `Progress` that draws nothing."""


def same_weights(one: Path, other: Path) -> bool:
    left, right = (load_file(folder / "model.safetensors") for folder in (one, other))
    return all(torch.equal(left[name], right[name]) for name in left)


def of(*folders: str, cached: bool = False, head: str = "[[teacher]]") -> str:
    """Tables of teachers, the next tier first."""
    return "\n".join(
        f'{head}\npath = "{one}"' + (f'\ncache = "{one}.said"' if cached else "") for one in folders
    )


@pytest.fixture(scope="module")
def tiers(finished: Path, workplace: Path, write: Write) -> tuple[str, str]:
    """The tiers above a student: one that has learned little, and one that has learned more."""
    run_recipe(write("middle", seed=5, steps=40), workplace / "middle", progress=silent)
    run_recipe(write("last", seed=6, steps=150), workplace / "last", progress=silent)
    return "middle", "last"


@pytest.mark.parametrize("alpha", ALPHAS)
def test_each_teacher_has_its_cache_and_says_there_what_it_says_alive(
    alpha: str, tiers: tuple[str, str], workplace: Path, write: Write
) -> None:
    for cached in (False, True):
        tables = of(*tiers, cached=cached) + ("\ntop_k = 84" if cached else "")
        recipe = write("x", loss="cat-dist", steps=6, teacher=f"alpha = {alpha!r}\n{tables}")
        run_recipe(recipe, workplace / f"{alpha}-{cached}", progress=silent)
    live, kept = (
        [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        for folder in (workplace / f"{alpha}-{one}" for one in (False, True))
    )
    # float16 log-probabilities differ a little; what alpha sees does not differ at all.
    for one, other in zip(live, kept, strict=True):
        for name in one.keys() & {"tokens_both", "tokens_none", "tokens_filtered"}:
            assert one[name] == other[name]
        if "loss" in one:
            assert one["loss"] == pytest.approx(other["loss"], rel=1e-2)
    if alpha != "last":
        assert read_key(workplace / "middle.said").top_k == 0
    assert read_key(workplace / "last.said").top_k == 84


@pytest.mark.slow
def test_criteria_are_of_the_teachers_they_name(
    tiers: tuple[str, str], workplace: Path, write: Write
) -> None:
    middle, last = tiers
    recipes = {
        **{alpha: f"alpha = {alpha!r}\n{of(middle, last)}" for alpha in ALPHAS},
        "middle alone": of(middle, head="[teacher]"),
        "last alone": of(last, head="[teacher]"),
        "listed": of(last),
    }
    for name, teacher in recipes.items():
        run_recipe(
            write("x", loss="cat-xent", steps=6, teacher=teacher),
            workplace / f"by {name}",
            progress=silent,
        )

    def same(one: str, other: str) -> bool:
        return same_weights(workplace / f"by {one}", workplace / f"by {other}")

    assert same("next", "middle alone")
    assert same("last", "last alone")
    assert same("listed", "last alone")
    assert not same("next", "last")
    assert not same("any", "next")
    assert not same("soft", "any")


def test_a_run_that_was_cut_off_goes_on_and_a_teacher_that_changed_is_named(
    tiers: tuple[str, str], workplace: Path, write: Write
) -> None:
    teacher = f"alpha = 'soft'\n{of(*tiers)}"
    recipe = write("x", loss="cat-xent", steps=6, teacher=teacher)
    run_recipe(recipe, workplace / "whole", progress=silent)
    with pytest.raises(CutOff):
        run_recipe(recipe, workplace / "cut", progress=silent, callbacks=[Cut()])
    write("x", loss="cat-xent", steps=6, teacher=of(*tiers))
    with pytest.raises(RecipeError, match=r"another recipe: alpha was 'soft', is 'any'"):
        run_recipe(recipe, workplace / "cut", progress=silent)
    write("x", loss="cat-xent", steps=6, teacher=teacher)
    weights = workplace / "middle" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes((workplace / "last" / "model.safetensors").read_bytes())
    with pytest.raises(RecipeError, match=r"its teacher\[0\]'s weights changed since it began"):
        run_recipe(recipe, workplace / "cut", progress=silent)
    weights.write_bytes(content)
    run_recipe(recipe, workplace / "cut", progress=silent)
    assert same_weights(workplace / "cut", workplace / "whole")
