"""A linear model on its way to an artifact: a folder of two files, no pickle; knows no artifact.

`classification.json` says labels, features, link and intercepts, `linear.npy` has the rows of
weights: what learns writes it, `escalade export` reads it.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import msgspec

from escalade.edge.base import atomic_folder, explain, pretty_json
from escalade.edge.classification.entry import ClassificationEntry, check_classification
from escalade.edge.classification.linear_weights import LinearWeights, read_weights, write_weights
from escalade.edge.errors import ArtifactError

CLASSIFICATION_NAME, WEIGHTS_NAME = "classification.json", "linear.npy"
# 65,536 labels of 200 characters, of up to 4 bytes each.
_MOST_BYTES = 1 << 26


class LinearModel(NamedTuple):
    """A linear classifier, whole."""

    #: Its `linear` is there.
    entry: ClassificationEntry
    rows: LinearWeights


def write_linear_folder(folder: Path, model: LinearModel) -> None:
    """Write both files, aside and renamed; replaced if such a folder is there.

    Raises:
        DataError: it cannot be written.
    """
    with atomic_folder(folder, marker=CLASSIFICATION_NAME) as aside:
        write_weights(aside / WEIGHTS_NAME, model.rows)
        (aside / CLASSIFICATION_NAME).write_bytes(pretty_json(model.entry))


def read_linear_folder(folder: Path) -> LinearModel:
    """Read both.

    Raises:
        ArtifactError: one is missing, cannot be read, or holds what cannot be.
    """
    path = folder / CLASSIFICATION_NAME
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MOST_BYTES)
        entry = msgspec.json.decode(raw, type=ClassificationEntry)
        check_classification(entry)
    except msgspec.ValidationError as error:
        raise ArtifactError(f"{path}: {explain(error, raw, ClassificationEntry)}") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{path}: {error}") from error
    if entry.linear is None:
        raise ArtifactError(f"{path}: linear is missing: the folder of a linear model has it")
    return LinearModel(entry, read_weights(folder / WEIGHTS_NAME, entry))
