"""What layers that do not learn make of texts, kept for all levels of a process; knows no model.

A sweep runs the same texts through the same frozen layers again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from escalade.training.online.levels import Tensors

# Of one encoder's states; the oldest go first.
_MOST_BYTES = 1 << 28
# Two of 2^32 texts share one with a probability of 2^-65.
_KEY_BYTES = 16


class Lowered(NamedTuple):
    """Of a text: what goes into the layers that learn `(T, H)`, and its tokens."""

    hidden: Tensor
    tokens: int


class KeptStates:
    """The latest texts' states, up to some bytes."""

    def __init__(self) -> None:
        self._bytes = 0
        self._states: dict[str, Lowered] = {}

    def get(self, text: str, compute: Callable[[str], Lowered]) -> Lowered:
        """A text's, computed where it is not there."""
        if (known := self._states.get(text)) is not None:
            return known
        found = self._states[text] = compute(text)
        self._bytes += found.hidden.nbytes
        while self._bytes > _MOST_BYTES:
            self._bytes -= self._states.pop(next(iter(self._states))).hidden.nbytes
        return found


class SeenTexts:
    """Of which texts one level has had states; the oldest go where it alone could keep no more.

    A run that goes on computes its states again, and is to count what one counts that was never cut
    off: so this is in a checkpoint, and states are not.
    """

    def __init__(self) -> None:
        self._bytes = 0
        self._sizes: dict[bytes, int] = {}

    def add(self, text: str, size: int) -> bool:
        """Whether a text, whose states have so many bytes, was not there."""
        key = blake2b(text.encode(), digest_size=_KEY_BYTES).digest()
        if key in self._sizes:
            return False
        self._sizes[key] = size
        self._bytes += size
        while self._bytes > _MOST_BYTES:
            self._bytes -= self._sizes.pop(next(iter(self._sizes)))
        return True

    def state(self) -> Tensors:
        """All that is to be kept of it."""
        keys = np.frombuffer(b"".join(self._sizes), dtype=np.uint8).reshape(-1, _KEY_BYTES)
        return {"keys": keys, "sizes": np.array([*self._sizes.values()], dtype=np.int64)}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Be as one was."""
        keys = [row.tobytes() for row in state["keys"]]
        self._sizes = dict(zip(keys, state["sizes"].tolist(), strict=True))
        self._bytes = sum(self._sizes.values())


@cache
def kept_states(made_by: tuple[str | int | bool, ...]) -> KeptStates:
    """Those of everything that decides what a text becomes."""
    return KeptStates()


def forget_states() -> None:
    """Compute anew from here on, such as where seconds are measured."""
    kept_states.cache_clear()
