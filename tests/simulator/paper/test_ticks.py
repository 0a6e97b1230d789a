"""Ticks are read as what they are: no `m` that may be minutes, or millions."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from escalade.edge.trace import Trace
from escalade.simulator.evaluation.evaluation import evaluate
from escalade.simulator.paper.drawing import count_ticks, room_around, seconds_ticks
from escalade.simulator.paper.figures import evaluation_figures


@pytest.mark.parametrize(
    ("value_s", "shown"),
    [(1e-6, "1 µs"), (0.001, "1 ms"), (0.1, "100 ms"), (1, "1 s"), (10, "10 s")],
)
def test_a_time_has_its_unit(value_s: float, shown: str) -> None:
    assert seconds_ticks()(value_s) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (0.2, "0.2"), (1.5, "1.5"), (1200, "1.2k"), (3e6, "3M")]
)
def test_a_part_of_one_is_a_decimal(value: float, shown: str) -> None:
    assert count_ticks()(value) == shown


@pytest.mark.parametrize(
    ("shares", "low", "high"),
    [
        ([0.5, None, 0.9], 0.484, 0.916),
        ([1.0, 1.0], 0.9792, 1.0008),
        ([0.0], -0.0008, 0.0208),
        ([0.5], 0.4892, 0.5108),
        ([None], -0.04, 1.04),
    ],
)
def test_shares_that_are_all_one_have_no_axis_far_beyond_100_percent(
    shares: list[float | None], low: float, high: float
) -> None:
    assert room_around(shares) == pytest.approx((low, high))


@pytest.mark.parametrize(
    ("cost", "label", "value", "shown"),
    [
        ("seconds", "Time per query", 0.003, "3 ms"),
        ("deferral_rate", "Deferral rate", 0.25, "25%"),
        ("money", "Price of a query (USD)", 0.002, "0.002"),
        ("flops_per_token", "Compute per token (FLOPs)", 2e6, "2M"),
    ],
)
def test_a_cost_has_the_ticks_of_its_unit(
    make_trace: Callable[..., Trace], cost: str, label: str, value: float, shown: str
) -> None:
    trace = make_trace([0.9, 0.1], [True, False], [True, True], prices=((0.0, 0.0), (1.0, 1.0)))
    (axes,) = evaluation_figures(evaluate({"m": [trace]}, cost=cost, resamples=3))[
        "deferral-curve"
    ].axes
    assert axes.get_xlabel() == label
    assert axes.xaxis.get_major_formatter()(value) == shown
