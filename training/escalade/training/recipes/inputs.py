"""What a run learns from, as digests: going on, it must find what it began with; trains nothing.

They are kept beside the checkpoints of a run (`OUT.run/inputs.json`), and in the metrics of what
was trained.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
from transformers import PreTrainedTokenizerFast

from escalade.edge.base import UNDECODABLE, Record, atomic_write, pretty_json, sha256_of
from escalade.training.errors import RecipeError
from escalade.training.examples import Examples, fingerprint
from escalade.training.recipes.loading import fingerprint_of, located, revision_of
from escalade.training.recipes.recipe import Recipe, RunTable
from escalade.training.tables import differences
from escalade.training.teachers import cache_digest

INPUTS_NAME = "inputs.json"

#: By what a run learns from: its sha256, in hexadecimal. In the order in which they are compared:
#: other queries make other examples.
Inputs = dict[str, str]


def inputs_of(
    recipe: Recipe,
    tokenizer: PreTrainedTokenizerFast,
    train: Sequence[Record],
    valid: Sequence[Record],
    examples: Examples,
) -> Inputs:
    """The digests of everything a run learns from, but for the teachers."""
    inputs = {"training queries": _digest(train), "validation queries": _digest(valid)}
    inputs["tokenizer"] = fingerprint_of(tokenizer)
    if recipe.model.path is not None:
        folder = located(recipe.model.path).folder
        inputs["base weights"] = revision_of(folder)
        inputs["config.json of the base model"] = sha256_of(folder / "config.json")
    # Settings outside tokenizer.json change how a text is read.
    inputs["tokens of the training queries"] = fingerprint(examples)
    return inputs


def teachers_of(recipe: Recipe) -> Inputs:
    """The digests of what the teachers asked say or are; none of one that is not there yet."""
    found: Inputs = {}
    for name, teacher in recipe.asked:
        if teacher.cache is not None:
            if (cache := Path(teacher.cache)).is_file():
                found[f"{name}'s cache"] = cache_digest(cache)
        elif teacher.path is not None:
            found[f"{name}'s weights"] = revision_of(located(teacher.path).folder)
    return found


def write_inputs(state: Path, inputs: Inputs) -> None:
    """Keep what a run begins with in the folder of its checkpoints."""
    with atomic_write(state / INPUTS_NAME) as stream:
        stream.write(pretty_json(inputs))


def check_inputs(state: Path, inputs: Inputs) -> None:
    """Refuse to go on with what the run of a folder did not begin with.

    Args:
        state: the folder of the run's checkpoints.
        inputs: those that are there now.

    Raises:
        RecipeError: one has changed; the message names it.
    """
    path = state / INPUTS_NAME
    try:
        begun = msgspec.json.decode(path.read_bytes(), type=Inputs)
    except (OSError, *UNDECODABLE) as error:
        raise RecipeError(
            f"{state} holds an unfinished run that does not say what it began with"
            f" ({INPUTS_NAME}); delete the folder to begin again"
        ) from error
    for name, digest in inputs.items():
        if begun.get(name) != digest:
            raise RecipeError(
                f"{state} holds an unfinished run, and its {name} changed since it began: sha256"
                f" {begun.get(name, 'none')[:12]}, now {digest[:12]}; put them back, or delete the"
                " folder to begin again"
            )


def check_same_recipe(state: Path, begun: Recipe, recipe: Recipe) -> None:
    """Refuse to go on with another recipe; how to run may differ, what is learned may not.

    Raises:
        RecipeError: a value differs; the message names it.
    """
    started, now = (
        msgspec.to_builtins(msgspec.structs.replace(one, run=RunTable())) for one in (begun, recipe)
    )
    for name, was, is_ in differences(started, now):
        raise RecipeError(
            f"{state} holds the unfinished run of another recipe: {name} was {was!r}, is"
            f" {is_!r}; go on with that one, or delete the folder"
        )


def _digest(records: Sequence[Record]) -> str:
    digest, encoder = hashlib.sha256(), msgspec.json.Encoder()
    for record in records:
        digest.update(encoder.encode(record) + b"\n")
    return digest.hexdigest()
