"""How queries that are computed at once share a server; knows no queue.

Each of `n` takes `1 + slowdown (n - 1)` times as long as one alone. Progress is counted in seconds
of a query alone (the virtual time of processor sharing), so that only the first to end has to be
known.
"""

from __future__ import annotations

import numpy as np

from escalade.simulator.fleet.engine.compiling import inner


@inner
def progress_at(now_s: float, done_s: float, moved_s: float, active: int, slowdown: float) -> float:
    """How far a server's queries are, before one is put beside them.

    Args:
        now_s: when.
        done_s: how far they were,
        moved_s: and when that was.
        active: how many there are.
        slowdown: see above.
    """
    if slowdown == 0:
        return now_s  # the clock, so that a query ends when its time is over
    if active > 0:
        return done_s + (now_s - moved_s) / (1.0 + slowdown * (active - 1))
    return 0.0


@inner
def due_at(now_s: float, end_s: float, done_s: float, active: int, slowdown: float) -> float:
    """When the first of a server's queries ends.

    Args:
        now_s: when they are as far as `done_s`.
        end_s: how far they are when it ends; of no query whatever it is.
        done_s: see above.
        active: how many there are.
        slowdown: see above.
    """
    if active == 0:
        return float(np.inf)
    if slowdown == 0:
        return end_s
    return now_s + max(0.0, end_s - done_s) * (1.0 + slowdown * (active - 1))
