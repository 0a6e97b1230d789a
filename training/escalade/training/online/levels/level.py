"""What a level of a cascade that learns is; knows no model and no calibrator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: A level's state: arrays of any type and shape, by name.
Tensors = dict[str, NDArray[Any]]


class Example(NamedTuple):
    """A text, and the class that the expert gave it."""

    text: str
    #: 0..K-1.
    label: int


class Prediction(NamedTuple):
    """What a level says of a text, and what that cost."""

    #: log p of each class `(K,)`.
    logprobs: Floats
    flops: float


class Level(Protocol):
    """A model of K classes that can be updated; one thread at a time.

    The same examples in the same order give the same model, bit for bit, and so does going on
    from a state that was restored. Nothing but `learn` changes what it says.
    """

    def predict(self, text: str) -> Prediction:
        """What it says of a text now."""
        ...

    def learn(self, examples: Sequence[Example]) -> float:
        """One update, from n >= 1 examples and what it keeps of earlier ones; gives its FLOPs."""
        ...

    def state(self) -> Tensors:
        """All that `learn` has changed."""
        ...

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a state of a level with the same settings."""
        ...

    def save(self, folder: Path) -> None:
        """Write what `escalade export` takes into a new folder."""
        ...
