"""Who wins among some models in some order, and how many that takes; knows no cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from escalade.edge.deferral import Agreement, Voice, Vote, asked_of
from escalade.simulator.ensembles.zoo import Zoo

#: Who agrees with whom in a vote of so many is a number below 12!, and fits.
MOST_MEMBERS = 12


class Votes(NamedTuple):
    """What K models agree on, in their order, of N queries."""

    #: `(N,)` places in the order: whose answer wins.
    winner: NDArray[np.intp]
    #: `(N,)` how many answer, one after the other, until the winner is certain.
    asked: NDArray[np.intp]
    #: `(N,)` whether all give one answer.
    unanimous: NDArray[np.bool_]


def votes_of(zoo: Zoo, order: Sequence[int]) -> Votes:
    """Let them agree; the rule is the edge's, and a vote is held once for each pattern.

    Args:
        zoo: of M models.
        order: 1 to `MOST_MEMBERS` of the M, in the order they are asked.
    """
    ours, weights = zoo.said[list(order)], zoo.weights_of(order)
    # Each answer by the place where it was first given: of the k-th model a digit from 0 to k.
    first = np.zeros_like(ours)
    code = np.zeros(ours.shape[1], dtype=np.int64)
    for k in range(1, len(order)):
        first[k] = np.argmax(ours[: k + 1] == ours[k], axis=0)
        code = code * (k + 1) + first[k]
    if zoo.texts:
        # Of answers that are all the same it does not matter which: they are heard once.
        alike = _decided(zoo.agreement, [""] * len(order), weights)
        decided = np.array(
            [
                _decided(zoo.agreement, [zoo.texts[one][n] for one in order], weights)
                if differ
                else alike
                for n, differ in enumerate(code)
            ],
            dtype=np.intp,
        )
    else:
        _, example, pattern = np.unique(code, return_index=True, return_inverse=True)
        same = (_voted(tuple(first[:, n].tolist()), weights) for n in example)
        decided = np.array(list(same), dtype=np.intp)[pattern]
    winner, asked = decided.T
    return Votes(winner, asked, code == 0)


@lru_cache(1 << 16)
def _voted(pattern: tuple[int, ...], weights: tuple[float, ...]) -> tuple[int, int]:
    return _decided(Vote(), map(str, pattern), weights)


def _decided(
    rule: Agreement, texts: Iterator[str] | Sequence[str], weights: Sequence[float]
) -> tuple[int, int]:
    voices = [Voice(place, text) for place, text in enumerate(texts)]
    asked = asked_of(rule, [voices], weights, side_by_side=False, gated=False)
    return rule.outcome(voices, weights).winner, int(asked.members[0, 0])
