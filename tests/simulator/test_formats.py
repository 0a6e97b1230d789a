"""Numbers as people read them."""

from __future__ import annotations

import math

import pytest

from escalade.simulator.formats import count, nominal_seconds, seconds


@pytest.mark.parametrize(
    ("value_s", "measured", "nominal"),
    [
        (0.0, "0 s", "0 s"),
        (1e-6, "1.00 µs", "1 µs"),
        (0.0842, "84.2 ms", "84.2 ms"),
        (0.15, "150 ms", "150 ms"),
        (1.2, "1.20 s", "1.2 s"),
        (9_990.0, "9990 s", "9990 s"),
        (10_200.0, "2.83 h", "10,200 s"),
        (345_600.0, "96.0 h", "345,600 s"),
        (1_050_000.0, "12.2 days", "1,050,000 s"),
        (math.inf, "inf s", "inf s"),
    ],
)
def test_times_read_well(value_s: float, measured: str, nominal: str) -> None:
    assert seconds(value_s) == measured
    assert nominal_seconds(value_s) == nominal


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"),
        (math.inf, "inf"),
        (math.nan, "nan"),
        (7, "7"),
        (7.0, "7.00"),
        (1000, "1.00 k"),
        (999.6, "1.00 k"),
        (4.21e6, "4.21 M"),
    ],
)
def test_counts_read_well(value: float, said: str) -> None:
    assert count(value) == said
