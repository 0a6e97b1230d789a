"""Who wins the votes of some models in some order, and how many that takes; knows no cost."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from escalade.edge.deferral import Voice, Vote, asked_of

#: Who agrees with whom in a vote of so many is a number below 12!, and fits.
MOST_MEMBERS = 12


class Votes(NamedTuple):
    """The votes on N queries of K models, in their order."""

    #: `(N,)` places in the order: whose answer wins.
    winner: NDArray[np.intp]
    #: `(N,)` how many answer, one after the other, until the winner is certain.
    asked: NDArray[np.intp]
    #: `(N,)` whether all give one answer.
    unanimous: NDArray[np.bool_]


def votes_of(said: NDArray[np.intp], order: Sequence[int]) -> Votes:
    """Hold all the votes; the rule is the edge's, asked once for each pattern of agreement.

    Args:
        said: `(M, N)`, see `Zoo`.
        order: 1 to `MOST_MEMBERS` of the M, in the order they are asked.
    """
    ours = said[list(order)]
    # Each answer by the place where it was first given: of the k-th model a digit from 0 to k.
    first = np.zeros_like(ours)
    code = np.zeros(ours.shape[1], dtype=np.int64)
    for k in range(1, len(order)):
        first[k] = np.argmax(ours[: k + 1] == ours[k], axis=0)
        code = code * (k + 1) + first[k]
    _, example, pattern = np.unique(code, return_index=True, return_inverse=True)
    decided = np.array([_decided(tuple(first[:, n].tolist())) for n in example], dtype=np.intp)
    winner, asked = decided[pattern].T
    return Votes(winner, asked, code == 0)


@lru_cache(1 << 16)
def _decided(pattern: tuple[int, ...]) -> tuple[int, int]:
    voices = [Voice(place, str(first)) for place, first in enumerate(pattern)]
    rule, weights = Vote(), [1.0] * len(pattern)
    asked = asked_of(rule, [voices], weights, side_by_side=False, gated=False)
    return rule.outcome(voices, weights).winner, int(asked.members[0, 0])
