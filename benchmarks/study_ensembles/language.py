"""Members that generate: language models of four sizes, trained and exported; knows no cascade.

Tiny is cut out of the bundled small model and medium out of the large one, and both are first
trained, once for all seeds. Small's members go on from the two bundled ones. Members of a size
differ in their loss, in which half of the training queries they see, and in the order of these.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from benchmarks.study.data import queries
from benchmarks.study_three.cutting import cut_out
from filelock import FileLock

from escalade.edge.base import Record, write_records
from escalade.export.artifact.artifact import export_artifact
from escalade.training.recipes import run_recipe

CHECKPOINTS = Path(__file__).parents[2] / "training" / "checkpoints"
_LARGE = CHECKPOINTS / "large"

Loss = Literal["xent", "cat-xent"]
Half = Literal["all", "first", "second"]

#: Of members, and of a size's first model, before all seeds.
STEPS, BASE_STEPS = 150, 1000
TRAIN, VALID, TEST = 64_000, 800, 1600
_BASE_RATE, _RATE, _BATCH = 2e-3, 1e-3, 256


class Writer(NamedTuple):
    """A language model of a size."""

    name: str
    loss: Loss = "xent"
    seen: Half = "all"


class Written(NamedTuple):
    """Members of one size, and where they begin."""

    name: str
    members: tuple[Writer, ...]
    #: What is cut, of which layers and how many neurons of each stay.
    cut: tuple[str, tuple[int, ...], int] | None = None


def _five(size: str) -> tuple[Writer, ...]:
    return (
        Writer(f"{size}-xent"),
        Writer(f"{size}-xent-1", seen="first"),
        Writer(f"{size}-xent-2", seen="second"),
        Writer(f"{size}-cat", "cat-xent"),
        Writer(f"{size}-cat-1", "cat-xent", "first"),
    )


SIZES = (
    Written("tiny", _five("tiny"), ("small-base", (1,), 96)),
    Written("small", _five("small")),
    # Of large's four layers and 512 neurons, as `benchmarks.study_three` has them.
    Written("medium", _five("medium")[1:4], ("large", (0, 3), 176)),
    Written("large", (Writer("large"),)),
)

_RECIPE = """name = "{name}"
seed = {seed}
loss = "{loss}"

[model]
path = "{start}"

[data]
source = "{data}"
valid_size = 200

[optim]
steps = {steps}
batch_size = {batch_size}
learning_rate = {rate}
warmup_steps = {warmup}

[run]
checkpoint_steps = 100
"""


def asked(seed: int) -> tuple[list[Record], list[Record]]:
    """What is chosen by and what is measured on, drawn from their splits by a seed."""
    draw = np.random.default_rng(seed)
    valid, test = (
        [found[place] for place in draw.permutation(len(found))[:count]]
        for found, count in ((queries("valid", 5000), VALID), (queries("test", 10_000), TEST))
    )
    return valid, test


def make(out: Path, seed: int, say: Callable[[str], None]) -> dict[str, Path]:
    """Train and export the members, unless they are there.

    Args:
        out: the study's folder; models are kept in it.
        seed: of halves, and of the order of queries.
        say: called with a line before each.

    Returns:
        By a member's name its artifact, in 8 bits, size by size.
    """
    models = out / "language"
    data = {seen: _data(models / f"seed-{seed}" / f"data-{seen}", seen, seed) for seen in _HALVES}
    made = {}
    for size in SIZES:
        base = _base(size, models, say) if size.cut else None
        for number, member in enumerate(size.members):
            folder = models / f"seed-{seed}" / member.name
            checkpoint = _LARGE
            if size.name != "large":
                checkpoint = folder
                start = base or CHECKPOINTS / f"small-{member.loss}"
                _train(
                    folder, start, data[member.seen], member.loss, 100 * seed + number, STEPS, say
                )
            made[member.name] = artifact = folder.with_name(f"{member.name}-int8")
            if not artifact.exists():
                say(f"exporting {member.name}")
                export_artifact(checkpoint, artifact, name=member.name, quantize="int8")
    return made


_HALVES: tuple[Half, ...] = ("all", "first", "second")


def _data(folder: Path, seen: Half, seed: int) -> Path:
    if not (folder / "valid.jsonl").exists():  # written last
        folder.mkdir(parents=True, exist_ok=True)
        found = queries("train", TRAIN)
        order = np.random.default_rng(seed).permutation(len(found))
        half = len(order) // 2
        places = {"all": order, "first": order[:half], "second": order[half:]}[seen]
        write_records(folder / "train.jsonl", [found[place] for place in sorted(places)])
        write_records(folder / "valid.jsonl", queries("valid", 200))
    return folder


def _base(size: Written, models: Path, say: Callable[[str], None]) -> Path:
    assert size.cut is not None  # noqa: S101 - the others begin elsewhere
    source, layers, width = size.cut
    folder = models / f"{size.name}-base"
    models.mkdir(parents=True, exist_ok=True)
    with FileLock(models / f"{size.name}.lock"):  # other seeds want it too
        cut = models / f"{size.name}-cut"
        if not cut.exists():
            cut_out(CHECKPOINTS / source, cut, layers=layers, width=width)
        data = _data(models / "data", "all", 0)
        _train(folder, cut, data, "xent", 1, BASE_STEPS, say)
    return folder


def _train(
    folder: Path,
    start: Path,
    data: Path,
    loss: Loss,
    seed: int,
    steps: int,
    say: Callable[..., None],
) -> None:
    if (folder / "metrics.json").exists():
        return
    say(f"training {folder.name}, {steps} steps")
    text = _RECIPE.format(
        name=folder.name,
        seed=seed,
        loss=loss,
        start=start,
        data=data,
        steps=steps,
        batch_size=_BATCH,
        rate=_BASE_RATE if steps == BASE_STEPS else _RATE,
        warmup=steps // 15,
    )
    if loss == "cat-xent":
        text += f'\n[teacher]\npath = "{_LARGE}"\ncache = "{data / "large.predictions"}"\n'
    recipe = folder.with_name(f"{folder.name}.toml")
    recipe.parent.mkdir(parents=True, exist_ok=True)
    recipe.write_text(text)
    run_recipe(recipe, folder, progress=lambda *_: None)
