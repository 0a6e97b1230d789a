"""What this machine makes of delays, beside a run from it; asks no server of others."""

from __future__ import annotations

from collections.abc import Callable

from escalade.simulator.load.plan import Plan
from escalade.simulator.timing import SMALL_S, ClockReport, few_calls_at, joined, measure_delays

# A longer gap than this is waited for as this is.
_LONGEST_GAP_S = 0.1


def timed_delays(
    plan: Plan, *, progress: Callable[[int, int], None] = lambda done, total: None
) -> ClockReport:
    """Time the calls of a process on this machine, and how an open loop waits; takes some seconds.

    Args:
        plan: of the run; the gaps of an open loop are timed too.
        progress: called with (delays timed, all), of the calls and then of the gaps.

    Raises:
        SimulatorError: a process for it does not start.
    """
    calls = measure_delays(SMALL_S, drivers=("calls",), calls=few_calls_at, progress=progress)
    if plan.rate is None:
        return calls
    asked_s = sorted({*SMALL_S, min(1 / plan.rate, _LONGEST_GAP_S)})
    gaps = measure_delays(asked_s, drivers=("sleep",), calls=few_calls_at, progress=progress)
    return joined([calls, gaps])
