"""How many cores this process may use; knows no backend."""

from __future__ import annotations

import math
import os
from pathlib import Path

_GROUP = Path("/sys/fs/cgroup")


def usable_cores(group: Path = _GROUP) -> int:
    """Cores that the scheduler and the control group's quota leave to this process, at least 1.

    Threads beyond the quota are throttled together: all wait until the period ends.

    Args:
        group: folder of the control group, of version 1 or 2.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _quota(group)
    return max(1, math.ceil(min(cores or 1, quota)))


def _quota(group: Path) -> float:
    """Cores' worth of time in each period; infinite where there is no limit."""
    try:
        granted, period = (group / "cpu.max").read_text().split()  # version 2
    except (OSError, ValueError):
        try:
            granted = (group / "cpu" / "cpu.cfs_quota_us").read_text()
            period = (group / "cpu" / "cpu.cfs_period_us").read_text()
        except OSError:
            return math.inf
    try:
        share = int(granted) / int(period)
    except (ValueError, ZeroDivisionError):  # "max"
        return math.inf
    return share if share > 0 else math.inf  # -1 in version 1
