"""What one query beside another costs at a load, fitted to an open loop; knows no server, no queue.

`fitting` takes so many queries to be computed at once as clients ask. Here they come at moments of
chance, as a fleet's do, and the queue itself says how many are: it is fitted to take as long as the
server did. Seconds of a start and a token are those of answers that had no other beside them.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from escalade.simulator.errors import LoadError
from escalade.simulator.load.fitting import Answers, best_slowdown, seconds_alone
from escalade.simulator.timing import ClockReport

#: Of the search, whose every step is a run of the queue: to a thousandth.
_STEPS = 14
_QUANTILES = {"p50": 0.5, "p95": 0.95}

Floats = NDArray[np.float64]
#: From when N queries come, and what each takes alone, to what each takes at a slowdown.
Queue = Callable[[Floats, Floats, float], Floats]


class LoadedRow(msgspec.Struct, frozen=True, kw_only=True):
    """One number of the answers.

    Attributes:
        name: mean, p50 or p95.
        measured_s: seconds of an answer,
        fitted_s: and what the model has in their place.
    """

    name: str
    measured_s: float
    fitted_s: float


class LoadedFit(msgspec.Struct, frozen=True, kw_only=True):
    """What a server's answers take at a load.

    Attributes:
        rate: requests a second.
        answers: that they got.
        start_s: seconds of an answer before its tokens, the call's own among them.
        token_s: of each token.
        slowdown: each query beside it makes one take so many times longer.
        beside_s: what each takes more at this load, whatever is beside it.
        slots: the most that were under way at once.
        error: what fitted answers are off, each, on average, beside the mean of the measured.
        rows: measured and fitted.
        clock: what this machine makes of delays; None where that was not timed.
    """

    rate: float
    answers: int
    start_s: float
    token_s: float
    slowdown: float
    beside_s: float
    slots: int
    error: float
    rows: list[LoadedRow]
    clock: ClockReport | None = None


def fit_loaded(
    alone: Answers, sent_s: Floats, answers: Answers, *, rate: float, queue: Queue
) -> LoadedFit:
    """Fit the model of a fleet's replica to an open loop.

    Args:
        alone: answers of one client.
        sent_s: `(N,)` when each request of the open loop was sent, rising.
        answers: `(N, 2)` what came of them.
        rate: requests a second.
        queue: of a replica with room for all.

    Raises:
        LoadError: one of the loops has no answer.
    """
    for name, loop in (("one client", alone), (f"{rate:g} requests/s", answers)):
        if not len(loop):
            raise LoadError(f"a fit needs answers of both loops; that of {name} has none")
    start_s, token_s = seconds_alone(alone)
    tokens, took_s = answers.T
    came_s, alone_s = sent_s - sent_s[0], start_s + token_s * tokens

    def left_s(slowdown: float) -> Floats:
        found: Floats = took_s - queue(came_s, alone_s, slowdown)
        return found

    def error(slowdown: float) -> float:
        left = left_s(slowdown)
        return float(np.abs(left - np.median(left)).mean())

    slowdown = best_slowdown(error, steps=_STEPS)
    left = left_s(slowdown)
    # An answer takes no less for others; that one client's took longer is its machine's chance.
    beside_s = max(0.0, float(left.mean()))
    fitted_s = took_s - left + beside_s
    rows = [
        LoadedRow(
            name=name,
            measured_s=float(np.quantile(took_s, at)),
            fitted_s=float(np.quantile(fitted_s, at)),
        )
        for name, at in _QUANTILES.items()
    ]
    means = float(took_s.mean()), float(fitted_s.mean())
    ends_s = np.sort(came_s + took_s)
    under_way = np.arange(1, len(came_s) + 1) - np.searchsorted(ends_s, came_s, side="right")
    return LoadedFit(
        rate=rate,
        answers=len(took_s),
        start_s=start_s,
        token_s=token_s,
        slowdown=slowdown,
        beside_s=beside_s,
        slots=int(under_way.max()),
        error=float(np.abs(fitted_s - took_s).mean()) / means[0],
        rows=[LoadedRow(name="mean", measured_s=means[0], fitted_s=means[1]), *rows],
    )
