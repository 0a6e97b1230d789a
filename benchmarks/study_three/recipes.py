"""The recipe of each round of the study; trains nothing."""

from __future__ import annotations

from pathlib import Path

from benchmarks.study_three.arms import Round, Settings

_RECIPE = """name = "{name}"
seed = {seed}
loss = "{loss}"
alpha = "{alpha}"

[model]
path = "{start}"

[data]
source = "{data}"
valid_size = {valid_size}

[optim]
steps = {steps}
batch_size = {batch_size}
learning_rate = {learning_rate}
warmup_steps = {warmup_steps}

[run]
checkpoint_steps = {checkpoint_steps}
"""


def recipe_of(settings: Settings, one: Round, seed: int, *, steps: int) -> str:
    """The recipe of a round; every seed and every round has an order of examples of its own."""
    if one.start is not None:
        start = settings.folder(seed, one.start)
    else:
        start = settings.small if one.size == "small" else settings.folder(seed, "medium-base")
    if one.name == "medium-base":
        start = settings.out / "medium-cut"
    text = _RECIPE.format(
        name=one.name,
        seed=100 * seed + one.number if one.number else 1,
        loss=one.loss,
        alpha=one.alpha,
        start=start,
        data=settings.out / "data",
        valid_size=min(settings.valid_queries, 1000),
        steps=steps,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        warmup_steps=steps // 15,
        checkpoint_steps=100,
    )
    for teacher in teachers_of(settings, seed, one):
        cache = cache_path(settings, teacher)
        text += f'\n[[teacher]]\npath = "{teacher}"\ncache = "{cache}"\n'
    return text


def teaches(one: Round) -> bool:
    """Whether small ever looks at it."""
    return one.name == "medium-base" or (one.size == "medium" and one.loss != "xent")


def teachers_of(settings: Settings, seed: int, one: Round) -> list[Path]:
    """Those that the recipe of a round names, the next tier first."""
    if one.loss == "xent":
        return []
    medium = [] if one.medium is None else [settings.folder(seed, one.medium)]
    return [*medium, settings.large]


def cache_path(settings: Settings, model: Path) -> Path:
    """Where a model's predictions lie; large's are all seeds', as the first medium model's."""
    if model == settings.large:
        return settings.out / "large.predictions"
    return model.with_name(f"{model.name}.predictions")
