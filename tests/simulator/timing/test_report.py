"""What samples are reduced to, and what is said of a delay that cannot be told from none."""

from __future__ import annotations

import numpy as np
import pytest

from escalade.simulator.timing import lines_of, tables_of
from escalade.simulator.timing.report import reduced, report_of
from escalade.simulator.timing.tables import NOT_RESOLVABLE


def test_the_baseline_and_what_was_asked_are_taken_off() -> None:
    baseline = np.array([0.4, 0.5, 0.6, 0.5, 0.5]) * 1e-3
    row = reduced("proxy", 0.01, baseline, baseline + 0.0103)
    assert row.baseline_p50_s == pytest.approx(0.5e-3)
    assert row.achieved_p50_s == pytest.approx(10.3e-3)
    assert row.residual_s == pytest.approx(0.3e-3)
    assert row.residual_low_s <= row.residual_s <= row.residual_high_s
    assert row.resolvable


@pytest.mark.parametrize(("iqr_s", "resolvable"), [(1e-3, True), (1.1e-3, False)])
def test_a_delay_below_three_quartile_ranges_is_not_resolvable(
    iqr_s: float, resolvable: bool
) -> None:
    baseline = np.array([0.0, 1.0, 2.0, 3.0, 4.0]) / 2 * iqr_s  # quartiles 0.5 and 1.5
    row = reduced("proxy", 3e-3, baseline, baseline + 3e-3)
    assert row.baseline_iqr_s == pytest.approx(iqr_s)
    assert row.resolvable == resolvable
    report = report_of([row], load_before=0.0)
    cells = [cell.text for table in tables_of(report) for one in table.rows for cell in one]
    assert (NOT_RESOLVABLE in cells) != resolvable
    assert any("cannot be resolved" in line for line in lines_of(report)) != resolvable


def test_the_interval_covers_the_residual_as_often_as_it_says() -> None:
    """Of 200 seeded samples; 95 % is asked, 90 % is what chance leaves of it with 99.9 %."""
    draw, covered = np.random.default_rng(1), 0
    for _ in range(200):
        baseline, delayed = draw.normal(1e-3, 1e-4, 60), draw.normal(6.2e-3, 1e-4, 60)
        row = reduced("proxy", 5e-3, baseline, delayed)
        covered += row.residual_low_s <= 0.2e-3 <= row.residual_high_s
    assert covered >= 180
