"""Reads weights by transformers, and refuses what it only logs; knows no family and no kind."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, cast

import torch
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    PreTrainedModel,
)

from escalade.checkpoint.bars import no_bars
from escalade.checkpoint.errors import CheckpointError, first_line

Kind = Literal["causal", "encoder-decoder", "classifier", "encoder"]
_CLASSES = {
    "causal": AutoModelForCausalLM,
    "encoder-decoder": AutoModelForSeq2SeqLM,
    "classifier": AutoModelForSequenceClassification,
    "encoder": AutoModel,
}
# A message names so many weights, and how many more there are.
_NAMED = 4


@contextmanager
def refusing(folder: Path) -> Iterator[None]:
    """Say of whatever is raised that the folder does not load.

    safetensors, huggingface_hub and transformers each raise what they like, even bare Exception.
    """
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(f"{folder}: cannot be loaded: {first_line(error)}") from error


@no_bars()
def from_pretrained(
    folder: Path, kind: Kind, **settings: object
) -> tuple[PreTrainedModel, dict[str, set[str]]]:
    """A model of a kind, from safetensors alone, and what transformers says of its weights."""
    return cast(
        "tuple[PreTrainedModel, dict[str, set[str]]]",
        _CLASSES[kind].from_pretrained(
            folder,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # which `check_read` refuses by name
            **settings,
        ),
    )


def check_read(
    folder: Path,
    network: PreTrainedModel,
    loading: dict[str, set[str]],
    *,
    counts: Callable[[str], bool] = lambda name: True,
) -> None:
    """Refuse what transformers only logs.

    It fills what is missing with random numbers, and drops what is left over, but for what it knows
    that a family's old checkpoints have.

    Args:
        folder: the model's, for messages.
        network: as `from_pretrained` gave it.
        loading: what it said besides.
        counts: whether a weight of this name is to be there, and of its shape.

    Raises:
        CheckpointError: weights are missing, left over, of another shape or do not load.
    """
    mismatched = cast("set[tuple[str, object, object]]", loading["mismatched_keys"])
    # Old checkpoints hold what the model computes for itself, and the number that once hid later
    # tokens (GPT-2, GPT-J, GPT-Neo).
    computed = {name for name, _ in network.named_buffers()}
    left_over = {
        name
        for name in loading["unexpected_keys"]
        if name not in computed and not name.endswith(".masked_bias")
    }
    for what, names in (
        ("weights missing", loading["missing_keys"]),
        (f"weights that {type(network).__name__} has no place for", left_over),
        ("weights of another shape", {name for name, _, _ in mismatched}),
    ):
        if counted := {name for name in names if counts(name)}:
            raise CheckpointError(f"{folder}: {what}: {_some(counted)}")
    if loading["error_msgs"]:
        raise CheckpointError(f"{folder}: weights that do not load: {_some(loading['error_msgs'])}")


def check_finite(folder: Path, network: PreTrainedModel) -> None:
    """Refuse numbers that are none.

    Raises:
        CheckpointError: a weight holds one.
    """
    for name, values in itertools.chain(network.named_parameters(), network.named_buffers()):
        if not torch.isfinite(values).all():
            ends = " as float16, which ends at 65504" if values.dtype == torch.float16 else ""
            raise CheckpointError(f"{folder}: {name} must be finite, holds NaN or infinity{ends}")


def _some(names: set[str]) -> str:
    given = sorted(map(str, names))
    more = f" and {len(given) - _NAMED} more" if len(given) > _NAMED else ""
    return ", ".join(given[:_NAMED]) + more
