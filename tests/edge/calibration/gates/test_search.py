"""Thresholds of several gates against every vector of thresholds there is, by plain loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escalade.edge.calibration.gates.climb import Sample, climb, right_under
from escalade.edge.calibration.gates.planes import line, plane
from escalade.edge.calibration.gates.search import (
    best_at_cost,
    cheapest_at_quality,
    search,
)

Samples = Callable[..., st.SearchStrategy[Sample]]

QUARTERS = st.integers(-1, 7).map(lambda k: k / 4)


@settings(deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("gates", [1, 2, 3])
def test_queries_climb_as_in_a_plain_loop(
    samples: Samples, reference: Any, gates: int, data: st.DataObject
) -> None:
    sample = data.draw(samples(gates, 12))
    taus = data.draw(st.lists(QUARTERS, min_size=gates, max_size=gates))
    found = climb(sample, taus)
    by_loop = reference(sample).climb(taus)
    assert found.answered_by.tolist() == [tier for tier, _ in by_loop]
    assert found.cost.tolist() == [spent for _, spent in by_loop]
    assert right_under(sample, taus).mean() == pytest.approx(reference(sample).does(taus)[0])


@settings(deadline=None, max_examples=60)
@given(data=st.data())
@pytest.mark.parametrize(("gates", "first", "second"), [(2, 0, 1), (3, 0, 1), (3, 0, 2), (3, 1, 2)])
def test_a_plane_and_a_line_say_what_climbing_says(
    samples: Samples, gates: int, first: int, second: int, data: st.DataObject
) -> None:
    sample = data.draw(samples(gates, 12))
    taus = data.draw(st.lists(QUARTERS, min_size=gates, max_size=gates))
    a, b = (sample.candidates(gate) for gate in (first, second))
    right, cost = plane(sample, taus, first, second, a, b)
    for i, j in np.ndindex(right.shape):
        there = list(taus)
        there[first], there[second] = float(a[i]), float(b[j])
        assert right[i, j] == pytest.approx(right_under(sample, there).mean())
        assert cost[i, j] == pytest.approx(climb(sample, there).cost.mean())
    right, cost = line(sample, taus, second, b)
    for j, tau in enumerate(b):
        there = [*taus[:second], float(tau), *taus[second + 1 :]]
        assert right[j] == pytest.approx(right_under(sample, there).mean())
        assert cost[j] == pytest.approx(climb(sample, there).cost.mean())


def best_by_loop(reference: Any, sample: Sample, quality: float | None, most: float | None) -> Any:
    """(quality, cost) of the best vector there is; None where none meets the constraint."""
    every = [(right, cost) for _, right, cost in reference(sample).every()]
    if quality is not None:
        meeting = [(-cost, right) for right, cost in every if right >= quality - 1e-9]
        return None if not meeting else (max(meeting)[1], -max(meeting)[0])
    assert most is not None
    meeting = [(right, -cost) for right, cost in every if cost <= most + 1e-9]
    return None if not meeting else (max(meeting)[0], -max(meeting)[1])


@settings(deadline=None, max_examples=150)
@given(data=st.data())
@pytest.mark.parametrize("gates", [1, 2])
def test_one_gate_and_two_are_searched_exactly(
    samples: Samples, reference: Any, gates: int, data: st.DataObject
) -> None:
    sample = data.draw(samples(gates))
    _, quality, cost = data.draw(st.sampled_from(list(reference(sample).every())))
    for objective, known in (
        (cheapest_at_quality(quality), best_by_loop(reference, sample, quality, None)),
        (best_at_cost(cost), best_by_loop(reference, sample, None, cost)),
    ):
        found = search(sample, objective)
        assert (found.quality, found.cost) == pytest.approx(known)
        assert reference(sample).does(found.thresholds) == pytest.approx(known)
    # Out of reach: as near as can be.
    least = min(cost for _, _, cost in reference(sample).every())
    assert search(sample, best_at_cost(least / 2 - 0.5)).cost == pytest.approx(least)
    most = max(right for _, right, _ in reference(sample).every())
    assert search(sample, cheapest_at_quality(1.5)).quality == pytest.approx(most)


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_what_is_found_of_three_gates_cannot_be_bettered_by_moving_one(
    samples: Samples, reference: Any, data: st.DataObject
) -> None:
    sample = data.draw(samples(3))
    _, quality, cost = data.draw(st.sampled_from(list(reference(sample).every())))
    for objective in (cheapest_at_quality(quality), best_at_cost(cost)):
        found = search(sample, objective)
        does = reference(sample).does(found.thresholds)
        assert (found.quality, found.cost) == pytest.approx(does)
        here = tuple(map(float, objective(np.array(found.quality), np.array(found.cost))))
        for gate in range(3):
            for tau in sample.candidates(gate):
                there = list(found.thresholds)
                there[gate] = float(tau)
                moved = objective(*map(np.array, reference(sample).does(there)))
                assert here <= tuple(float(key) + 1e-6 for key in moved)


def test_three_gates_are_mostly_set_as_well_as_can_be(samples: Samples, reference: Any) -> None:
    """Not always: what is shown here is how often, on 60 made-up cascades."""
    as_good = 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        hard = generator.random((8, 1))
        sample = Sample(
            scores=np.round(hard + 0.3 * generator.normal(size=(8, 3)), 1),
            right=generator.random((8, 4)) > hard * np.array([1.0, 0.8, 0.5, 0.2]),
            costs=[np.full((1, 8), cost) for cost in (1.0, 3.0, 10.0, 30.0)],
        )
        every = list(reference(sample).every())
        quality = float(np.median([right for _, right, _ in every]))
        known = min(cost for _, right, cost in every if right >= quality - 1e-9)
        as_good += search(sample, cheapest_at_quality(quality)).cost <= known + 1e-9
    assert as_good >= 54


def test_two_gates_of_too_many_pairs_are_set_nearly_as_well() -> None:
    generator = np.random.default_rng(1)
    hard = generator.random((300, 1))
    sample = Sample(
        scores=hard + 0.3 * generator.normal(size=(300, 2)),
        right=generator.random((300, 3)) > hard * np.array([1.0, 0.6, 0.2]),
        costs=[np.full((1, 300), cost) for cost in (1.0, 5.0, 30.0)],
    )
    exact = search(sample, best_at_cost(15.0))
    near = search(sample, best_at_cost(15.0), most_pairs=40 * 40)
    assert near == search(sample, best_at_cost(15.0), most_pairs=40 * 40)
    assert near.cost <= 15.0
    assert exact.quality - 0.01 <= near.quality <= exact.quality


def test_of_equally_good_thresholds_those_that_defer_least_are_taken() -> None:
    sample = Sample(
        scores=np.array([[0.0, 1.0], [1.0, 1.0]]),
        right=np.ones((2, 3), dtype=np.bool_),
        costs=[np.zeros((1, 2))] * 3,
    )
    found = search(sample, cheapest_at_quality(1.0))
    assert climb(sample, found.thresholds).answered_by.tolist() == [0, 0]
    assert found.thresholds == (np.nextafter(1.0, 2.0), np.nextafter(1.0, 2.0))
