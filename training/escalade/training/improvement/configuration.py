"""Reads what `escalade learn` is told for language models (TOML); opens nothing.

Unknown keys are refused, the nearest known one is named. Paths are relative to the file's folder.
Tables that a training recipe has are the recipe's: [expert] is its [teacher], with an address.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import msgspec

from escalade.edge.base import Count, OpenShare, Positive, Share
from escalade.training.errors import RecipeError
from escalade.training.losses import LossName, needs_teacher
from escalade.training.recipes import (
    DataTable,
    LoraTable,
    ModelTable,
    OptimTable,
    Recipe,
    RunTable,
    TeacherTable,
)
from escalade.training.tables import Table, parse_tables, toml_text


class ReplayTable(Table, frozen=True):
    """Old training records to learn beside the expert's answers, so that nothing is forgotten."""

    #: Query records (JSON Lines) that the base model learned from.
    path: str
    #: How much of all training records they are to be.
    share: Share = 0.5


class CalibrationTable(Table, frozen=True):
    """Which prompts set the threshold of the next version, and check it."""

    #: Of all prompts; the others train.
    share: OpenShare = 0.2
    #: At most so many.
    queries: Positive = 1000
    #: Goal: the share of all answers, deferred ones included, that are to be the expert's; default:
    #: the goal of the version before.
    quality: Share | None = None


class Improvement(Table, frozen=True):
    """How the next version of a small language model is made."""

    kind: Literal["generation"]
    #: The torch folder that the first version in the store was exported from.
    model: str
    #: Versions of the artifact; the next one becomes current there.
    store: str
    expert: TeacherTable
    optim: OptimTable
    seed: Count = 1
    loss: LossName = "cat-xent"
    #: Private key (PEM) to sign versions with.
    key: str | None = None
    replay: ReplayTable | None = None
    calibration: CalibrationTable = CalibrationTable()
    #: Longest prompt plus answer, in tokens; longer examples are refused.
    max_tokens: Positive = 96
    lora: LoraTable | None = None
    run: RunTable = RunTable()


def read_improvement(path: Path) -> Improvement:
    """Read and check a configuration; paths in it become absolute.

    Raises:
        RecipeError: it cannot be read, a key is unknown, or a value is out of range.
    """
    found = parse_tables(toml_text(path), path, Improvement)
    expert = found.expert
    if expert.address is None:
        raise RecipeError(f"{path}: expert.address is missing: HOST:PORT of `escalade serve`")
    for name in ("path", "cache"):
        if getattr(expert, name) is not None:
            raise RecipeError(f"{path}: expert.{name} is of a recipe's teacher; give an address")
    if found.replay is not None and found.replay.share >= 1.0:
        raise RecipeError(f"{path}: replay.share must be in [0, 1), got {found.replay.share}")
    return _resolved(found, path.parent)


def recipe_of(improvement: Improvement, name: str, model: Path, data: Path, cache: Path) -> str:
    """The recipe (TOML) by which the next version is trained.

    Args:
        improvement: with absolute paths.
        name: of the version.
        model: the torch folder to go on from.
        data: a folder with train.jsonl and valid.jsonl.
        cache: where the expert's predictions are kept.
    """
    import tomlkit

    teacher = msgspec.structs.replace(improvement.expert, cache=str(cache))
    recipe = Recipe(
        name=name,
        seed=improvement.seed,
        loss=improvement.loss,
        model=ModelTable(path=str(model)),
        optim=improvement.optim,
        data=DataTable(source=str(data), max_tokens=improvement.max_tokens),
        teacher=teacher if needs_teacher(improvement.loss) else None,
        lora=improvement.lora,
        run=improvement.run,
    )
    return tomlkit.dumps(_without_nones(msgspec.to_builtins(recipe)))


def _without_nones(value: Any) -> Any:  # noqa: ANN401 - plain values: TOML has no null
    if isinstance(value, dict):
        return {key: _without_nones(one) for key, one in value.items() if one is not None}
    return value


def _resolved(found: Improvement, folder: Path) -> Improvement:
    replace = msgspec.structs.replace

    def beside(value: str | None) -> str | None:
        return None if value is None else str((folder / value).resolve())

    files = ("ca_cert", "token_file", "client_cert", "client_key")
    expert = replace(found.expert, **{name: beside(getattr(found.expert, name)) for name in files})
    replay = found.replay and replace(
        found.replay, path=str((folder / found.replay.path).resolve())
    )
    return replace(
        found,
        model=str((folder / found.model).resolve()),
        store=str((folder / found.store).resolve()),
        key=beside(found.key),
        expert=expert,
        replay=replay,
    )
