"""What calls behind a stalled one on the same connection make of percentiles.

    .venv/bin/python -m benchmarks.fleet.holds [--calls N] [--json]

What stalls on a connection holds up what is behind it, each way. Fleets, and replays of a trace,
draw each call's stalls by itself. Here devices, each with one connection, call at moments of
chance, in virtual time over the live proxy's delay lines: once each call on lines of its own, once
all of a device's on one. More and more often, up to what a gateway's one link carries.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from escalade.cli.output import result_console
from escalade.simulator.formats import seconds
from escalade.simulator.network import DelayLine, get_profile, held_share

#: The one shipped network that loses anything (0.2 %); a call, and what the cloud takes for it.
PROFILE, BYTES, CLOUD_S = "wifi-good", 500, 0.05
#: A device's calls an hour.
PER_HOUR = (6, 60, 600, 3600, 36_000, 120_000)
QUANTILES = (0.5, 0.95, 0.99, 0.999)
SEED = 1

Floats = NDArray[np.float64]


@dataclass(kw_only=True)
class Row:
    """Calls of one rate: seconds, on lines of their own and on a shared one."""

    per_hour: int
    #: Share that another's stall holds up by a millisecond or more.
    held: float
    own_s: list[float]
    shared_s: list[float]
    mean_own_s: float
    mean_shared_s: float


def main() -> None:
    """Work them out."""
    parser = argparse.ArgumentParser(prog="fleet.holds", description=__doc__)
    parser.add_argument("--calls", type=int, default=400_000, help="of each rate")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows = [measure(per_hour, options.calls) for per_hour in PER_HOUR]
    if options.json:
        print(json.dumps([asdict(row) for row in rows]))
    else:
        result_console().print(table(rows))


def measure(per_hour: int, calls: int) -> Row:
    """One device's calls, one after the other, on both."""
    rng = np.random.default_rng(SEED)
    sent_s = np.cumsum(rng.exponential(3600 / per_hour, calls))
    own_s, shared_s = (_took_s(sent_s, shared=shared) for shared in (False, True))
    return Row(
        per_hour=per_hour,
        held=float(np.mean(shared_s > own_s + 1e-3)),
        own_s=np.quantile(own_s, QUANTILES).tolist(),
        shared_s=np.quantile(shared_s, QUANTILES).tolist(),
        mean_own_s=float(own_s.mean()),
        mean_shared_s=float(shared_s.mean()),
    )


def _took_s(sent_s: Floats, *, shared: bool) -> Floats:
    """The same losses in both: a line draws one number for each chunk, in their order."""
    came_s = _crossed("up", sent_s, shared=shared)
    return _crossed("down", came_s + CLOUD_S, shared=shared) - sent_s


def _crossed(way: str, sent_s: Floats, *, shared: bool) -> Floats:
    rng = np.random.default_rng([SEED, *way.encode()])
    profile = get_profile(PROFILE)
    up_or_down = "up" if way == "up" else "down"
    line = DelayLine(profile, up_or_down, rng)
    found = np.empty(len(sent_s))
    for k in np.argsort(sent_s, kind="stable").tolist():
        if not shared:
            line = DelayLine(profile, up_or_down, rng)
        found[k] = line.release_s(float(sent_s[k]), BYTES)
    return found


def table(rows: Sequence[Row]) -> Table:
    """For a terminal."""
    made = Table(
        title=f"{PROFILE}: calls on lines of their own, and on one connection", safe_box=True
    )
    for head in ("calls/h", "held up", "reckoned", "mean", *(f"p{100 * q:g}" for q in QUANTILES)):
        made.add_column(head, justify="right")
    for row in rows:
        pairs = [(row.mean_own_s, row.mean_shared_s), *zip(row.own_s, row.shared_s, strict=True)]
        cells = (f"{seconds(own)}, {100 * (one / own - 1):+.1f} %" for own, one in pairs)
        shares = (row.held, held_share(get_profile(PROFILE), row.per_hour / 3600))
        made.add_row(f"{row.per_hour:,}", *(f"{100 * one:.2g} %" for one in shares), *cells)
    return made


if __name__ == "__main__":
    main()
