"""What a manifest says of a classifier: its labels, and how a linear one reads; knows no file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from escalade.edge.base import Finite
from escalade.edge.classification.hashed_ngrams import HashedNgrams
from escalade.edge.deferral import Table

#: How a linear model's sums become probabilities: all classes together, or each alone (one against
#: the rest, as scikit-learn's SGDClassifier learns them) and then over their sum.
Link = Literal["softmax", "sigmoid"]

# A label is an answer, and stands in a row of a terminal.
_LONGEST_LABEL = 200
# More than any published set has (ImageNet-21k has 21,841); each is a number of every answer.
_MOST_LABELS = 1 << 16


class LinearEntry(Table, frozen=True, kw_only=True):
    """A linear model but for its weights."""

    features: HashedNgrams
    link: Link
    #: `(K,)`
    intercepts: list[Finite]
    #: Of which the weights' file has the frequencies; with 0 every n-gram weighs the same.
    documents: Annotated[int, msgspec.Meta(ge=0, le=1 << 31)]


class ClassificationEntry(Table, frozen=True, kw_only=True):
    """What makes an artifact a classifier: it answers with a label, of which it has K."""

    #: In the order of the classes.
    labels: list[str]
    #: None of an encoder, which reads tokens and has all its numbers in the program.
    linear: LinearEntry | None = None


def check_labels(labels: Sequence[str]) -> None:
    """Check that each is an answer of its own.

    Raises:
        ValueError: there are fewer than two, or too many; one is empty, too long, not printable,
            or there twice.
    """
    if not 2 <= len(labels) <= _MOST_LABELS:  # noqa: PLR2004
        raise ValueError(f"labels must be 2 to {_MOST_LABELS}, got {len(labels)}")
    seen = set()
    for label in labels:
        if not (label.strip() and label.isprintable() and len(label) <= _LONGEST_LABEL):
            raise ValueError(
                f"labels must each have 1 to {_LONGEST_LABEL} printable characters, got"
                f" {label[:_LONGEST_LABEL]!r}"
            )
        if label in seen:
            raise ValueError(f"labels must differ, got {label!r} twice")
        seen.add(label)


def check_classification(entry: ClassificationEntry) -> None:
    """Check what holds between its values.

    Raises:
        ValueError: see `check_labels`; or a linear model has not one intercept for each label.
    """
    check_labels(entry.labels)
    linear = entry.linear
    if linear is not None and len(linear.intercepts) != len(entry.labels):
        raise ValueError(
            f"linear.intercepts must be {len(entry.labels)}, one for each label, got"
            f" {len(linear.intercepts)}"
        )
