"""When queries come to the devices of a group, as a rate in steps or as times; knows no device."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from escalade.edge.base import read_text
from escalade.edge.errors import DataError
from escalade.simulator.errors import FleetError
from escalade.simulator.fleet.description import Bursts, Daily, Poisson, Recorded
from escalade.simulator.fleet.engine import Floats

_HOUR_S, _HOURS = 3600.0, 24.0
#: Switches between bursts: as many as a run of a million queries could tell apart.
_MOST_PIECES = 1_000_000
#: Of a file of recorded times: of microseconds, a million and a half.
_MOST_BYTES = 16 << 20


class Rate(NamedTuple):
    """Queries a second of one device, in P pieces.

    Attributes:
        from_s: `(P,)` where each begins, the first at 0.
        per_s: `(P,)`; the last goes on for ever.
        expected: `(P,)` how many queries are expected before it.
    """

    from_s: Floats
    per_s: Floats
    expected: Floats

    @staticmethod
    def of(from_s: Floats, per_s: Floats) -> Rate:
        """Of pieces."""
        return Rate(from_s, per_s, np.append(0.0, np.cumsum(np.diff(from_s) * per_s[:-1])))

    def until(self, at_s: float) -> float:
        """How many queries are expected until a time in the last piece."""
        return float(self.expected[-1] + (at_s - self.from_s[-1]) * self.per_s[-1])


def rate_of(arrivals: Poisson | Daily | Bursts, seconds: float, rng: np.random.Generator) -> Rate:
    """The rate in steps until the end of a run.

    Args:
        arrivals: how they are told.
        seconds: of the run.
        rng: of bursts.

    Raises:
        FleetError: there are too many steps.
    """
    per_s = arrivals.per_hour / _HOUR_S
    if isinstance(arrivals, Poisson):
        return Rate.of(np.zeros(1), np.array([per_s]))
    if isinstance(arrivals, Daily):
        hours = _steps(seconds / _HOUR_S)
        weights = _HOURS * np.array(arrivals.hours) / sum(arrivals.hours)
        return Rate.of(
            _HOUR_S * np.arange(hours, dtype=np.float64), per_s * np.resize(weights, hours)
        )
    return _bursts(arrivals, per_s, seconds, rng)


def _bursts(arrivals: Bursts, per_s: float, seconds: float, rng: np.random.Generator) -> Rate:
    whole_s = arrivals.quiet_s + arrivals.burst_s
    quiet = per_s * whole_s / (arrivals.quiet_s + arrivals.times * arrivals.burst_s)
    both = _steps(seconds / whole_s)
    spans: list[Floats] = []
    total_s = 0.0
    while total_s < seconds:
        some = rng.exponential((arrivals.quiet_s, arrivals.burst_s), (both, 2)).ravel()
        spans.append(some)
        total_s += float(some.sum())
    from_s = np.append(0.0, np.cumsum(np.concatenate(spans)))
    from_s = from_s[from_s < seconds]
    rates = np.array([quiet, quiet * arrivals.times])
    return Rate.of(from_s, np.resize(rates, len(from_s)))


def _steps(many: float) -> int:
    if many > _MOST_PIECES:
        raise FleetError(
            f"the rate of arrivals must change at most {_MOST_PIECES:,} times in a run;"
            f" got {many:.3g}"
        )
    return max(1, math.ceil(many))


def recorded_times(arrivals: Recorded, folder: Path) -> Floats:
    """The times of a file.

    Raises:
        FleetError: it cannot be read, holds what is no time, or its times are not as they must be.
    """
    path = folder / arrivals.file
    try:
        with path.open("rb") as stream:
            lines = read_text(stream, path, _MOST_BYTES).splitlines()
        times = np.array([float(line) for line in lines if line.strip()])
    except DataError as error:
        raise FleetError(str(error)) from error
    except OSError as error:
        raise FleetError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise FleetError(f"{path}: must hold a number of seconds on each line; {error}") from error
    if not len(times):
        raise FleetError(f"{path}: must hold at least 1 time; got 0")
    wrong = np.flatnonzero(~(np.diff(times, prepend=0.0) >= 0) | ~(times < arrivals.period_s))
    if len(wrong):
        raise FleetError(
            f"{path}: times must rise from 0 and stay below period_s, {arrivals.period_s:g};"
            f" time {wrong[0] + 1} is {times[wrong[0]]:g}"
        )
    return times
