"""What was asked of a driver and what came, reduced from samples; measures nothing."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

#: `proxy`: the live TCP proxy before a gRPC server. `calls`: gRPC calls in process, `CallNetwork`.
#: `kernel`: namespaces and netem, `KernelNetwork`, where the kernel has them.
#: `wait`: the proxy's own way to wait for a moment. `sleep`: `escalade load`'s, which leaves the
#: processor to its calls. `virtual`: the delay line in virtual time.
Driver = Literal["proxy", "calls", "kernel", "wait", "sleep", "virtual"]

Samples = NDArray[np.float64]

#: A delay below so many interquartile ranges of the same without it cannot be told from it.
RESOLVED_AT = 3.0
_RESAMPLES, _SEED = 2000, 0
_LOW, _HIGH = 2.5, 97.5


class DelayRow(msgspec.Struct, frozen=True, kw_only=True):
    """One driver at one delay; seconds. The interval is 95 %, by bootstrap of medians."""

    driver: Driver
    asked_s: float
    calls: int
    #: The same without the delay, after as long a pause: its median and interquartile range.
    baseline_p50_s: float
    baseline_iqr_s: float
    #: With the delay, the baseline's median taken off.
    achieved_p50_s: float
    achieved_p99_s: float
    #: Of `achieved_p50_s` what was not asked.
    residual_s: float
    residual_low_s: float
    residual_high_s: float

    @property
    def resolvable(self) -> bool:
        """Whether the delay stands out from what the same takes without it."""
        return self.asked_s >= RESOLVED_AT * self.baseline_iqr_s


class ClockReport(msgspec.Struct, frozen=True, kw_only=True):
    """Every driver at every delay, and what the figures depend on."""

    rows: list[DelayRow]
    machine: str
    python: str
    cores: int
    #: Load average of the last minute, before and after.
    load_before: float
    load_after: float
    #: Of the wall clock's counter, seconds.
    resolution_s: float
    #: Why the kernel's driver was not timed; empty where it was.
    kernel_lacks: str = ""


def reduced(driver: Driver, asked_s: float, baseline: Samples, delayed: Samples) -> DelayRow:
    """A row of samples.

    Args:
        driver: whose.
        asked_s: the delay.
        baseline: `(calls,)` seconds without it.
        delayed: `(calls,)` with it, each beside the baseline of the same place.
    """
    base, calls = float(np.median(baseline)), len(baseline)
    quartiles = np.percentile(baseline, [25, 75])
    achieved = delayed - base
    # Whole rounds are drawn: the calls of one share their moment.
    drawn = np.random.default_rng(_SEED).integers(0, calls, (_RESAMPLES, calls))
    differences = np.median(delayed[drawn], axis=1) - np.median(baseline[drawn], axis=1) - asked_s
    low, high = np.percentile(differences, [_LOW, _HIGH])
    p50 = float(np.median(achieved))
    return DelayRow(
        driver=driver,
        asked_s=asked_s,
        calls=calls,
        baseline_p50_s=base,
        baseline_iqr_s=float(quartiles[1] - quartiles[0]),
        achieved_p50_s=p50,
        achieved_p99_s=float(np.percentile(achieved, 99)),
        residual_s=p50 - asked_s,
        residual_low_s=float(low),
        residual_high_s=float(high),
    )


def load_average() -> float:
    """Of the last minute; NaN where the system has none."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")


def report_of(rows: list[DelayRow], *, load_before: float, kernel_lacks: str = "") -> ClockReport:
    """The rows, with the machine."""
    return ClockReport(
        rows=rows,
        machine=platform.platform(),
        python=platform.python_version(),
        cores=os.cpu_count() or 1,
        load_before=load_before,
        load_after=load_average(),
        resolution_s=time.get_clock_info("monotonic").resolution,
        kernel_lacks=kernel_lacks,
    )


def joined(reports: Sequence[ClockReport]) -> ClockReport:
    """Those of one machine, at least one, in the order of their time, as one."""
    return msgspec.structs.replace(
        reports[-1],
        rows=[row for report in reports for row in report.rows],
        load_before=reports[0].load_before,
    )
