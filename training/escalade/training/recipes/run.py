"""Reads a recipe, refuses what is not there, and has it run; loads no torch before that.

The output folder is its run's alone while it lasts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from escalade.edge.base import check_replaceable, exclusive_lock
from escalade.training.recipes.recipe import check_paths, naming_recipe, parse_recipe
from escalade.training.tables import toml_text

if TYPE_CHECKING:
    from transformers import TrainerCallback

    from escalade.training.recipes.teaching import Progress


def run_recipe(
    recipe_path: Path,
    out: Path,
    *,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda line: None,
    callbacks: Sequence[TrainerCallback] = (),
    keep_prompts: int | None = None,
) -> dict[str, Any]:
    """Train what a recipe says; returns the metrics that were written.

    Under `accelerate launch` every process calls this; the first one writes, and the others
    get empty metrics.

    Args:
        recipe_path: a TOML file; see `read_recipe`.
        out: the checkpoint folder; replaced whole when the run is done.
        progress: told how far the run is; without it transformers draws its own bar.
        say: told in a line, before training, what export will refuse of the model; it may be for a
            server alone.
        callbacks: transformers callbacks, called from within the training loop.
        keep_prompts: in place of the recipe's `run.keep_prompts`; None takes that.

    Raises:
        RecipeError: the recipe, or a path in it, is wrong; or a run that was cut off began with
            another recipe, or learned from something else.
        TeacherError: the teacher does not fit the student, or does not answer.
        CacheError: a prediction cache was made for other data or another teacher.
        DataError: the data cannot be read, or another run trains into the folder.
        SavingError: the folder would not hold the model that was trained; its last checkpoint
            stays in `OUT.run/`.
    """
    text = toml_text(recipe_path)
    # Of paths in it; what comes through a pipe has no folder of its own.
    home = recipe_path.parent if recipe_path.is_file() else Path()
    recipe = parse_recipe(text, recipe_path, folder=home)
    if keep_prompts is not None:
        run = msgspec.structs.replace(recipe.run, keep_prompts=keep_prompts)
        recipe = msgspec.structs.replace(recipe, run=run)
    with naming_recipe(recipe_path):
        check_paths(recipe)  # before torch is loaded, which takes seconds

    from escalade.training.recipes.running import METRICS_NAME, train_recipe

    check_replaceable(out, METRICS_NAME)
    state = out.with_name(out.name + ".run")
    with _owned(state):
        return train_recipe(recipe_path, text, home, recipe, state, out, progress, callbacks, say)


@contextmanager
def _owned(state: Path) -> Iterator[None]:
    """Keep other runs from the state of this one, in the first of its processes.

    Raises:
        DataError: another run has it.
    """
    if int(os.environ.get("RANK", "0")):  # as torchrun and `accelerate launch` set it
        yield
        return
    state.mkdir(parents=True, exist_ok=True)
    try:
        with exclusive_lock(state, wait_s=0.0):
            yield
    finally:
        with suppress(OSError):  # gone, or a run to go on with
            state.rmdir()
