"""Reads a training recipe (TOML); knows no model and no data.

A recipe says everything a run depends on. Unknown keys are refused, the nearest known
one is named. Paths in a recipe are relative to the recipe's own folder.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from pathlib import Path
from typing import Any, Literal

import msgspec

from escalade.training.errors import RecipeError

LossName = Literal["xent", "dist", "cat-xent", "cat-dist"]

#: Those of transformers' schedules that need no argument beyond the steps.
SCHEDULES = ("cosine", "linear", "constant", "constant_with_warmup", "inverse_sqrt")


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A TOML table whose keys are all known."""


class ModelTable(_Table, frozen=True):
    """Either `path` (fine-tune: a folder or hub name) or `config` (train from scratch)."""

    path: str | None = None
    #: Arguments of a transformers config, with its `model_type`, e.g. "llama".
    config: dict[str, Any] | None = None


class DataTable(_Table, frozen=True):
    """Where the queries come from: `bundled`, or a folder with train.jsonl and valid.jsonl."""

    source: str = "bundled"
    #: How many queries of the validation split the loss curve uses.
    valid_size: int = 2000
    #: Longest prompt plus response, in tokens; longer examples are refused.
    max_tokens: int = 96


class TeacherTable(_Table, frozen=True):
    """The large model `p_L` that Dist and the CAT losses look at."""

    path: str
    #: Share of the one-hot term in equations 3 and 7.
    w: float = 0.5


class OptimTable(_Table, frozen=True):
    """How long and how fast to learn."""

    steps: int
    batch_size: int = 128
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    warmup_steps: int = 200
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0


class RunTable(_Table, frozen=True):
    """How to run: none of these changes what is learned, but for rounding."""

    checkpoint_steps: int = 500
    log_steps: int = 50
    bf16: bool = False
    compile: bool = False


class Recipe(_Table, frozen=True):
    """One training run, whole."""

    name: str
    seed: int
    loss: LossName
    model: ModelTable
    optim: OptimTable
    data: DataTable = DataTable()
    #: A folder with tokenizer.json, or `bundled`; default: the fine-tuned model's own.
    tokenizer: str | None = None
    teacher: TeacherTable | None = None
    run: RunTable = RunTable()


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises:
        RecipeError: it cannot be read, a key is unknown, or a value is out of range.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not valid TOML: {error}") from error
    try:
        recipe = msgspec.convert(raw, Recipe)
    except msgspec.ValidationError as error:
        raise RecipeError(f"{path}: {error}{_nearest(str(error))}") from error
    _check(path, recipe)
    return recipe


def resolve(recipe_path: Path, value: str) -> str:
    """A path in a recipe made absolute; a hub name is left alone."""
    local = (recipe_path.parent / value).resolve()
    return str(local) if local.exists() or value.startswith(".") else value


def _check(path: Path, recipe: Recipe) -> None:
    def need(holds: bool, message: str) -> None:
        if not holds:
            raise RecipeError(f"{path}: {message}")

    model, teacher, optim = recipe.model, recipe.teacher, recipe.optim
    need(
        (model.path is None) != (model.config is None),
        "model: give either path (fine-tune) or config (train from scratch)",
    )
    need(
        model.config is None or "model_type" in model.config,
        "model.config: model_type is missing, e.g. model_type = 'llama'",
    )
    need(
        recipe.loss == "xent" or teacher is not None,
        f"loss {recipe.loss!r} looks at a large model: a [teacher] table with its path is missing",
    )
    if teacher is not None:
        need(0.0 <= teacher.w <= 1.0, f"teacher.w must be in [0, 1], got {teacher.w}")
    need(optim.steps >= 1, f"optim.steps must be at least 1, got {optim.steps}")
    need(optim.batch_size >= 1, f"optim.batch_size must be at least 1, got {optim.batch_size}")
    need(optim.learning_rate > 0, f"optim.learning_rate must be > 0, got {optim.learning_rate}")
    need(
        optim.warmup_steps >= 0, f"optim.warmup_steps must be at least 0, got {optim.warmup_steps}"
    )
    need(
        optim.schedule in SCHEDULES,
        f"optim.schedule must be one of {', '.join(SCHEDULES)}, got {optim.schedule!r}",
    )
    run, data = recipe.run, recipe.data
    need(
        run.checkpoint_steps >= 1,
        f"run.checkpoint_steps must be at least 1, got {run.checkpoint_steps}",
    )
    need(run.log_steps >= 1, f"run.log_steps must be at least 1, got {run.log_steps}")
    need(data.valid_size >= 1, f"data.valid_size must be at least 1, got {data.valid_size}")
    need(data.max_tokens > 1, f"data.max_tokens must be at least 2, got {data.max_tokens}")


def _nearest(message: str) -> str:
    unknown = re.search(r"unknown field `(\w+)`", message)
    if unknown is None:
        return ""
    tables = (Recipe, ModelTable, DataTable, TeacherTable, OptimTable, RunTable)
    known = {name for table in tables for name in table.__struct_fields__}
    near = difflib.get_close_matches(unknown[1], known, n=1)
    return f"; did you mean `{near[0]}`?" if near else f"; known keys: {', '.join(sorted(known))}"
