"""What layers that do not learn make of texts, kept for all levels of a process; knows no model.

A sweep runs the same texts through the same frozen layers again and again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

from torch import Tensor

# Of one encoder's states; the oldest go first.
_MOST_BYTES = 1 << 28


class Lowered(NamedTuple):
    """Of a text: what goes into the layers that learn `(T, H)`, and its tokens."""

    hidden: Tensor
    tokens: int


class KeptStates:
    """The latest texts' states, up to some bytes."""

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._states: dict[str, Lowered] = {}

    def get(self, text: str, compute: Callable[[str], Lowered]) -> Lowered:
        """A text's, computed where it is not there."""
        if (known := self._states.get(text)) is not None:
            return known
        found = self._states[text] = compute(text)
        self._bytes += found.hidden.nbytes
        while self._bytes > self._most_bytes:
            self._bytes -= self._states.pop(next(iter(self._states))).hidden.nbytes
        return found


@cache
def kept_states(revision: str, frozen_layers: int, max_tokens: int) -> KeptStates:
    """Those of an encoder's weights, so many of its layers, and texts cut after so many tokens."""
    return KeptStates()


def forget_states() -> None:
    """Compute anew from here on, such as where seconds are measured."""
    kept_states.cache_clear()
