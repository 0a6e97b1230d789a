"""The file of a linear model's weights: rows of the buckets that have any; knows no text.

One array of numpy's own format (`.npy`), of records: bucket, documents that have it, and a weight
for each class. Buckets that no text had and no weight is of are left out, so that it is as long as
what was seen and not as the hash is wide. A pickle inside is never read.
"""

from __future__ import annotations

from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from escalade.edge.base import atomic_write
from escalade.edge.classification.entry import ClassificationEntry
from escalade.edge.errors import ArtifactError

# What numpy writes of a short header.
_VERSION = (1, 0)


class LinearWeights(NamedTuple):
    """What is known of n buckets."""

    #: `(n,)`, rising.
    buckets: NDArray[np.int32]
    #: `(n,)`, how many documents have each.
    documents: NDArray[np.int32]
    #: `(n, K)`
    weights: NDArray[np.float32]


def write_weights(path: Path, content: LinearWeights) -> None:
    """Write the file, aside and renamed.

    Raises:
        DataError: it cannot be written.
    """
    rows = np.empty(len(content.buckets), dtype=_row_type(content.weights.shape[1]))
    for name, values in content._asdict().items():
        rows[name] = values
    with atomic_write(path) as stream:
        np.save(stream, rows, allow_pickle=False)


def read_weights(path: Path, entry: ClassificationEntry) -> LinearWeights:
    """Read it.

    Args:
        path: the file.
        entry: of a linear classifier, checked.

    Raises:
        ArtifactError: it cannot be read, is not of so many classes, or holds what cannot be.
    """
    linear = entry.linear
    assert linear is not None  # noqa: S101 - who calls has looked
    wanted = _row_type(len(entry.labels))
    try:
        with path.open("rb") as stream:
            rows = _rows(stream, wanted)
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: not an array of weights: {error}") from error
    buckets, documents, weights = (np.ascontiguousarray(rows[name]) for name in wanted.names or ())
    most = linear.features.buckets
    for wrong, what in (
        (len(buckets) and not 0 <= buckets[0] <= buckets[-1] < most, f"buckets in 0-{most - 1}"),
        (np.any(buckets[1:] <= buckets[:-1]), "buckets that rise"),
        (
            np.any((documents < 0) | (documents > linear.documents)),
            f"documents in 0-{linear.documents}",
        ),
        (not np.isfinite(weights).all(), "weights that are finite"),
    ):
        if wrong:
            raise ArtifactError(f"{path}: must have {what}, has others")
    return LinearWeights(buckets, documents, weights)


def _rows(stream: IO[bytes], wanted: np.dtype[np.void]) -> NDArray[np.void]:
    """The rows of a file, which has to be as long as it says before any memory is taken for them.

    Raises:
        ValueError: it is no such file, or of other rows.
    """
    if npy.read_magic(stream) != _VERSION:
        raise ValueError(f"must be of version {_VERSION[0]}.{_VERSION[1]} of the format")
    shape, _, found = npy.read_array_header_1_0(stream)
    if found != wanted or len(shape) != 1:
        raise ValueError(f"must be rows of {wanted}, is {found} of shape {shape}")
    raw = stream.read()
    if len(raw) != shape[0] * wanted.itemsize:
        raise ValueError(f"{len(raw)} bytes for {shape[0]} rows of {wanted.itemsize}")
    return np.frombuffer(raw, dtype=wanted)


def _row_type(classes: int) -> np.dtype[np.void]:
    return np.dtype([("buckets", "<i4"), ("documents", "<i4"), ("weights", "<f4", (classes,))])
