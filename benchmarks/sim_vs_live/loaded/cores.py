"""What a machine's cores do for whom, as Linux counts it; knows no call.

Where a system does not say, it is 0.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import NamedTuple

_PROC = Path("/proc")
#: Of its first line in `stat` (man 5 proc_stat): all that is no idling, and what the host took.
_BUSY, _STOLEN = (1, 2, 3, 6, 7), 8
#: Of a process's `stat`, behind its name: its parent, and its time of its own and in the kernel.
_PARENT, _TIMES = 1, (11, 12)


class Spent(NamedTuple):
    """Seconds of all cores, since any fixed moment."""

    at_s: float
    #: Of the machine's host for others.
    stolen_s: float
    #: Of processes that are neither this one nor of its making.
    others_s: float

    def others_since(self, before: Spent) -> float:
        """How many cores others had, on average; none of ours ended meanwhile."""
        return max(0.0, (self.others_s - before.others_s) / (self.at_s - before.at_s))


def spent() -> Spent:
    """What was until now."""
    at_s = time.monotonic()
    try:
        first, *_ = (_PROC / "stat").read_text().splitlines()
        of = [0, *map(int, first.split()[1:])]
        tick_s = 1 / os.sysconf("SC_CLK_TCK")
        busy_s = sum(of[k] for k in _BUSY) * tick_s
        return Spent(at_s, of[_STOLEN] * tick_s, busy_s - _ours(os.getpid()) * tick_s)
    except (OSError, ValueError, IndexError):
        return Spent(at_s, 0.0, 0.0)


def _ours(root: int) -> int:
    """Ticks of a process and of all that it began."""
    rows = {}
    for path in _PROC.glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        ticks = sum(int(fields[k]) for k in _TIMES)
        rows[int(path.parent.name)] = int(fields[_PARENT]), ticks
    total = 0
    for number, (_, ticks) in rows.items():
        above = number
        while above in rows and above != root:
            above = rows[above][0]
        total += ticks if above == root else 0
    return total
