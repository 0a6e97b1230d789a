"""Real processes, a few calls each: what a driver adds, in the order that is promised."""

from __future__ import annotations

import pytest

from escalade.simulator.network import kernel_lacks, probe_kernel
from escalade.simulator.timing import (
    SMALL_S,
    few_calls_at,
    joined,
    lines_of,
    measure_delays,
    tables_of,
)
from escalade.simulator.timing.measuring import ASKED_S, calls_at


def test_every_driver_is_timed_at_every_delay() -> None:
    told = list[tuple[int, int]]()
    report = measure_delays(
        (1e-6, 0.02), calls=lambda _: 5, progress=lambda done, total: told.append((done, total))
    )
    lacking = kernel_lacks(probe_kernel())
    count = 8 if lacking else 10
    assert told == [(done, count) for done in range(1, count + 1)]
    found = {(row.driver, row.asked_s): row for row in report.rows}
    assert len(found) == count
    assert report.kernel_lacks == lacking
    said = [line for line in lines_of(report) if line.startswith("kernel: not on this machine")]
    assert len(said) == bool(lacking)
    assert len(tables_of(report)) == count / 2
    assert (("kernel", 0.02) in found) == (not lacking)
    assert {driver for driver, _ in found} - {"kernel"} == {"proxy", "calls", "wait", "virtual"}
    for row in report.rows:
        # Nobody is early: half of the calls took the delay or longer, however slow the machine is.
        # The kernel counts in ticks of 64 ns (psched), each way.
        assert row.baseline_p50_s + row.achieved_p50_s >= row.asked_s - 1e-6
        # What there is without the delay is taken off, once.
        assert row.residual_s == pytest.approx(row.achieved_p50_s - row.asked_s, abs=1e-12)
    for asked_s in (1e-6, 0.02):
        assert found["virtual", asked_s].residual_s == pytest.approx(0.0, abs=1e-12)
    assert found["virtual", 1e-6].resolvable
    assert found["proxy", 1e-6].baseline_p50_s > 1e-6


def test_long_delays_are_asked_for_less_often() -> None:
    counts = [calls_at(delay) for delay in (0.0, *ASKED_S)]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == 4


def test_a_live_report_has_its_own_driver_and_few_calls() -> None:
    report = measure_delays(SMALL_S, drivers=("sleep",), calls=few_calls_at)
    assert [(row.driver, row.asked_s) for row in report.rows] == [("sleep", s) for s in SMALL_S]
    assert [row.calls for row in report.rows] == [75, 75, 75, 33]
    assert all(row.baseline_p50_s + row.achieved_p50_s >= row.asked_s for row in report.rows)
    assert report.kernel_lacks == ""
    assert few_calls_at(1.0) == 4


def test_reports_are_joined_in_their_order() -> None:
    first, then = (
        measure_delays((asked_s,), drivers=("virtual",), calls=lambda _: 2)
        for asked_s in (0.1, 0.01)
    )
    both = joined([first, then])
    assert [row.asked_s for row in both.rows] == [0.1, 0.01]
    assert (both.load_before, both.load_after) == (first.load_before, then.load_after)


def test_a_pause_may_end_the_timing() -> None:
    def pause(seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_delays((60.0,), drivers=("proxy",), pause=pause)
