"""Ticks are read as what they are: no `m` that may be minutes, or millions."""

from __future__ import annotations

import pytest

from escalade.simulator.paper.drawing import count_ticks, seconds_ticks


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
