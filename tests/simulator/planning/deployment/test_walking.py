"""The best of many choices: the same as by looking at all of them, by looking at a few."""

from __future__ import annotations

import math

import numpy as np
import pytest

from escalade.simulator.planning.deployment.walking import walk


@pytest.mark.parametrize("seed", range(200))
@pytest.mark.parametrize("kind", ["a line", "a cloud"])
def test_the_best_is_found_by_few(seed: int, kind: str) -> None:
    """Worth its bound where it asks for no more than there is in any way; else nothing.

    On a line what is better asks for more, as with one gate; in a cloud the two are drawn apart.
    """
    rng = np.random.default_rng([seed, len(kind)])
    many = 300
    bounds = rng.integers(0, 100, many).astype(np.float64)
    asked = rng.random((many, 2))
    if kind == "a line":
        asked = np.column_stack([100 - bounds, 1000 - 10 * bounds]) + asked
    room = np.quantile(asked, rng.random(2), axis=0).diagonal()
    fits = (asked <= room).all(axis=1)
    looked_at = []

    def value_of(place: int) -> float:
        looked_at.append(place)
        return float(bounds[place]) if fits[place] else math.inf

    told = []
    found = walk(bounds, asked, value_of, lambda done, total: told.append((done, total)))
    if not fits.any():
        assert found is None
    else:
        assert found is not None
        assert bounds[found] == bounds[fits].min()
    assert len(looked_at) == len(set(looked_at)) <= (10 if kind == "a line" else 20)
    assert [done for done, _ in told] == list(range(1, len(looked_at) + 1))
    assert told[-1][0] == told[-1][1]


def test_what_costs_more_than_its_bound_leaves_out_what_asks_for_more() -> None:
    """A bill: tokens, and replicas for what is asked, which a bound counts too few."""
    rng = np.random.default_rng(7)
    load, tokens = rng.random((2, 400)) * 50
    bounds = np.floor(load) + 1 + tokens
    bill = np.ceil(1.2 * load + 1) + tokens
    looked_at = []

    def value_of(place: int) -> float:
        looked_at.append(place)
        return float(bill[place])

    found = walk(bounds, np.column_stack([load, tokens]), value_of)
    assert found is not None
    assert bill[found] == bill.min()
    assert len(looked_at) < 15


def test_nothing_to_choose_among_is_nothing() -> None:
    assert walk(np.empty(0), np.empty((0, 2)), lambda place: 0.0) is None
