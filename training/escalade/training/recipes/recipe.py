"""Reads a training recipe (TOML); knows no model and no data.

A recipe says everything a run depends on. Unknown keys are refused, the nearest known
one is named. Paths in a recipe are relative to the recipe's own folder; a model that is not
there is looked for where the command runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from escalade.checkpoint import HUB, MOST_PROMPTS, CheckpointError, check_model, check_there
from escalade.edge.base import Count, Positive, Share
from escalade.edge.errors import DataError
from escalade.training.errors import RecipeError
from escalade.training.losses import (
    Alpha,
    LossName,
    filters_by_teacher,
    looked_at,
    needs_distribution,
    needs_teacher,
)
from escalade.training.tables import Table, parse_tables, toml_text

#: Those of transformers' schedules that need no argument beyond the steps.
Schedule = Literal["cosine", "linear", "constant", "constant_with_warmup", "inverse_sqrt"]
#: The data and the tokenizer that come along.
BUNDLED = "bundled"


class ModelTable(Table, frozen=True):
    """Either `path` (fine-tune: a folder, or `hub:NAME`) or `config` (train from scratch)."""

    path: str | None = None
    #: Arguments of a transformers config, with its `model_type`, e.g. "llama".
    config: dict[str, Any] | None = None


class DataTable(Table, frozen=True):
    """Where the queries come from: `bundled`, or a folder with train.jsonl and valid.jsonl."""

    source: str = BUNDLED
    #: So many training queries, evenly spread over the split; default: all.
    train_size: Positive | None = None
    #: How many queries of the validation split the loss curve uses.
    valid_size: Positive = 2000
    #: Longest prompt plus response, in tokens; longer examples are refused.
    max_tokens: Annotated[int, msgspec.Meta(ge=2)] = 96


class TeacherTable(Table, frozen=True):
    """The large model `p_L` that Dist and the CAT losses look at.

    Where several tiers lie above the student, one `[[teacher]]` for each, the next one first; the
    last one's distribution is learned from.

    Either `path`, a model to run here, or `address`, a cloud to ask; with `cache`, it is asked
    once, and a cache that is already there needs neither.
    """

    path: str | None = None
    #: `HOST:PORT` of `escalade serve`; needs `cache`.
    address: str | None = None
    #: Root certificates (PEM) to trust there, over TLS; the system's own where there are none.
    ca_cert: str | None = None
    #: Holds the token that is sent there.
    token_file: str | None = None
    #: The certificate that is shown there, over TLS, and its key.
    client_cert: str | None = None
    client_key: str | None = None
    #: Speak TLS there, or not. If None, with `ca_cert`, and to every host that is not loopback.
    tls: bool | None = None
    #: A safetensors file that holds, or will hold, its predictions on the training queries.
    cache: str | None = None
    #: Log-probabilities of each token that a cache keeps for distillation.
    top_k: Count = 8
    #: Share of the one-hot term in equations 3, 7, 13 and 14.
    w: Share = 0.5


class LoraTable(Table, frozen=True):
    """Learn low-rank updates alone (Hu et al. 2021, arXiv 2106.09685), merged at the end."""

    r: Positive = 8
    alpha: Positive = 16
    dropout: Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)] = 0.0
    #: Names of the layers to update, or peft's "all-linear".
    targets: str | list[str] = "all-linear"


class OptimTable(Table, frozen=True):
    """How long and how fast to learn."""

    steps: Positive
    #: Examples in one step, over all processes and accumulation steps.
    batch_size: Positive = 128
    #: Parts that a step's batch is computed in, one after another.
    accumulation_steps: Positive = 1
    learning_rate: Annotated[float, msgspec.Meta(gt=0.0)] = 1e-3
    schedule: Schedule = "cosine"
    warmup_steps: Count = 200
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0


class RunTable(Table, frozen=True):
    """How to run: none of these changes what is learned, but for rounding."""

    checkpoint_steps: Positive = 500
    log_steps: Positive = 50
    bf16: bool = False
    compile: bool = False
    #: Where else transformers should log: "tensorboard", "wandb", ...
    report_to: str = "none"
    #: So many prompts of the training split stay in the checkpoint, for whoever rounds its weights.
    keep_prompts: Annotated[int, msgspec.Meta(ge=0, le=MOST_PROMPTS)] = MOST_PROMPTS


class Recipe(Table, frozen=True):
    """One training run, whole."""

    name: str
    seed: int
    loss: LossName
    model: ModelTable
    optim: OptimTable
    data: DataTable = DataTable()
    #: A folder with tokenizer.json, or `bundled`; default: the fine-tuned model's own.
    tokenizer: str | None = None
    teacher: TeacherTable | Annotated[list[TeacherTable], msgspec.Meta(min_length=1)] | None = None
    #: Of several teachers, by which a token is filtered; see the losses.
    alpha: Alpha = "any"
    lora: LoraTable | None = None
    run: RunTable = RunTable()

    @property
    def teachers(self) -> list[TeacherTable]:
        """Every tier above the student, the next one first."""
        if self.teacher is None:
            return []
        return self.teacher if isinstance(self.teacher, list) else [self.teacher]

    @property
    def asked(self) -> list[tuple[str, TeacherTable]]:
        """Those that the loss looks at, by what messages call each."""
        tables = self.teachers
        return [
            (_called(place, tables), tables[place])
            for place in looked_at(self.loss, self.alpha, len(tables))
        ]


def read_recipe(path: Path, *, folder: Path | None = None) -> Recipe:
    """Read and check a recipe; paths in it become absolute.

    Args:
        path: the file.
        folder: that its paths are relative to; the file's own if None.

    Raises:
        RecipeError: it cannot be read, a key is unknown, or a value is out of range.
    """
    return parse_recipe(toml_text(path), path, folder=folder)


def parse_recipe(text: str, path: Path, *, folder: Path | None = None) -> Recipe:
    """As `read_recipe`, out of the text of the file."""
    recipe = parse_tables(text, path, Recipe)
    _check(path, recipe)
    return _resolved(recipe, path.parent if folder is None else folder)


def check_paths(recipe: Recipe) -> None:
    """Refuse models and data at sight, before what loads them is loaded; asks no hub.

    Raises:
        RecipeError: there is no such folder, or it is no model's.
        DataError: a file of queries is not there.
    """
    models = [recipe.model.path, *(one.path for one in recipe.teachers)]
    try:
        for model in filter(None, models):
            check_model(model)
        if recipe.tokenizer not in {None, BUNDLED}:
            check_there(recipe.tokenizer)
    except CheckpointError as error:
        raise RecipeError(str(error)) from error
    if recipe.data.source != BUNDLED:
        for path in split_files(recipe.data.source):
            if not path.exists():
                raise DataError(f"{path}: no such file")


def split_files(source: str) -> tuple[Path, Path]:
    """The files of a user's own queries, to train by and to validate by."""
    return Path(source) / "train.jsonl", Path(source) / "valid.jsonl"


@contextmanager
def naming_recipe(recipe_path: Path) -> Iterator[None]:
    """Put the recipe's file before what is said of its content."""
    try:
        yield
    except RecipeError as error:
        raise RecipeError(f"{recipe_path}: {error}") from error


def _resolved(recipe: Recipe, folder: Path) -> Recipe:
    replace = msgspec.structs.replace
    data, model = recipe.data, recipe.model
    teachers = [
        replace(
            one,
            path=_model(one.path, folder),
            cache=_beside(one.cache, folder),
            ca_cert=_beside(one.ca_cert, folder),
            token_file=_beside(one.token_file, folder),
            client_cert=_beside(one.client_cert, folder),
            client_key=_beside(one.client_key, folder),
        )
        for one in recipe.teachers
    ]
    if data.source != BUNDLED:
        data = replace(data, source=str((folder / data.source).resolve()))
    return replace(
        recipe,
        data=data,
        model=replace(model, path=_model(model.path, folder)),
        teacher=teachers if isinstance(recipe.teacher, list) else next(iter(teachers), None),
        tokenizer=recipe.tokenizer
        if recipe.tokenizer == BUNDLED
        else _model(recipe.tokenizer, folder),
    )


def _beside(value: str | None, folder: Path) -> str | None:
    return None if value is None else str((folder / value).resolve())


def _model(value: str | None, folder: Path) -> str | None:
    """A model's folder, beside the recipe or, if none is there, where the command runs."""
    if value is None or value.startswith(HUB):
        return value
    beside, here = folder / value, Path(value)
    return str((here if here.exists() and not beside.exists() else beside).resolve())


def _check(path: Path, recipe: Recipe) -> None:
    def need(holds: bool, message: str) -> None:
        if not holds:
            raise RecipeError(f"{path}: {message}")

    model, teachers = recipe.model, recipe.teachers
    need(
        (model.path is None) != (model.config is None),
        "model: give either path (fine-tune) or config (train from scratch)",
    )
    need(
        model.config is None or "model_type" in model.config,
        "model.config: model_type is missing, e.g. model_type = 'llama'",
    )
    need(
        not needs_teacher(recipe.loss) or bool(teachers),
        f"loss {recipe.loss!r} looks at a large model: a [teacher] table with its path is missing",
    )
    need(
        recipe.alpha == "any" or filters_by_teacher(recipe.loss),
        f"alpha: loss {recipe.loss!r} filters by no teacher, got {recipe.alpha!r}; leave it out",
    )
    for place, teacher in enumerate(teachers):
        _check_teacher(need, recipe.loss, teachers, place, teacher)


def _called(place: int, teachers: Sequence[TeacherTable]) -> str:
    return "teacher" if len(teachers) == 1 else f"teacher[{place}]"


def _check_teacher(
    need: Callable[[bool, str], None],
    loss: LossName,
    teachers: Sequence[TeacherTable],
    place: int,
    teacher: TeacherTable,
) -> None:
    name, last = _called(place, teachers), place == len(teachers) - 1
    need(
        teacher.path is None or teacher.address is None,
        f"{name}: give path (a model to run here) or address (a cloud to ask), not both",
    )
    need(
        any(source is not None for source in (teacher.path, teacher.address, teacher.cache)),
        f"{name}: path, address and cache are all missing; give at least one",
    )
    for key in ("ca_cert", "token_file", "client_cert", "client_key", "tls"):
        need(
            teacher.address is not None or getattr(teacher, key) is None,
            f"{name}.{key}: of a cloud to ask, with an address; there is none",
        )
    need(
        teacher.ca_cert is None or teacher.tls is not False,
        f"{name}.tls: must not be false where {name}.ca_cert ({teacher.ca_cert!r}) is given:"
        " certificates are for TLS",
    )
    need(
        teacher.address is None or teacher.cache is not None,
        f"{name}.cache is missing: a cloud is asked once, before training, not at every step",
    )
    least = 1 if needs_distribution(loss) and teacher.cache is not None and last else 0
    need(
        teacher.top_k >= least,
        f"{name}.top_k must be at least {least} for loss {loss!r}, got {teacher.top_k}",
    )
    for key in ("top_k", "w"):
        value = getattr(teacher, key)
        need(
            last or value == getattr(TeacherTable(), key),
            f"{name}.{key}: is of the last teacher, whose distribution is learned from;"
            f" got {value}; leave it out",
        )
    for key in ("path", "address", "cache"):
        value = getattr(teacher, key)
        need(
            value is None or all(getattr(one, key) != value for one in teachers[:place]),
            f"{name}.{key}: is another teacher's too, got {value!r}; each is a tier of its own",
        )
