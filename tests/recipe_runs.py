"""Runs of the recipes of tests/training/recipes, and what they leave; knows no test."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback, TrainingArguments

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
