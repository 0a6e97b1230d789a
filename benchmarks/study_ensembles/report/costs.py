"""The page's tables of money and of delays, tier by tier; knows no file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from benchmarks.study_ensembles.cascades import Measured
from benchmarks.study_ensembles.report.seeds import Row
from benchmarks.study_online.report.tables import NONE, markdown
from numpy.typing import NDArray

from escalade.simulator.formats import count

#: Dollars for an hour, from the first tier to the last: the paper's table 1.
PRICES = {"V100": 0.5, "A6000": 0.8, "A100": 1.29, "H100": 2.49}
#: Seconds on exits, from the first tier to the last: section 4.2 of the paper.
DELAYS_S = (1e-6, 1e-2, 1e-1, 1.0)
_THREE, _FOUR = 3, 4

#: Dollars for an hour by what they are paid for, from the first tier to the last.
Prices = Mapping[str, float]


def read_prices(path: Path) -> Prices:
    """A user's own: TOML, `NAME = dollars an hour`, from the first tier to the last.

    Raises:
        ValueError: it cannot be read, has a hole, or fewer prices than a study has tiers.
    """
    try:
        prices = msgspec.toml.decode(path.read_bytes(), type=dict[str, float])
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read: {error}") from error
    for name, price in prices.items():
        if not 0.0 < price < math.inf:
            raise ValueError(f"{path}: {name} must be above 0 and finite, got {price}")
    if len(prices) < _FOUR:
        raise ValueError(f"{path}: must have a price for each of {_FOUR} tiers, got {len(prices)}")
    return prices


class Dollars(NamedTuple):
    """For an hour, by tier where not said otherwise."""

    by_exit: NDArray[np.float64]
    by_member: NDArray[np.float64]
    #: The last tier's alone.
    alone: float

    @property
    def published(self) -> float:
        """As the paper adds up: what each tier's exits cost in it."""
        return float(self.by_exit.sum())

    @property
    def counted(self) -> float:
        """With every member of every tier that was asked."""
        return float(self.by_member.sum())


def dollars(row: Row, given: Prices) -> Dollars:
    """Of a cascade of all sizes, three members each and one in the last."""
    tiers = len(row.measured[0].exits)
    prices = np.array(list(given.values())[-tiers:])
    exits = _mean([one.exits for one in row.measured])
    members = np.array([_THREE] * (tiers - 1) + [1])
    return Dollars(exits * prices, _reached(exits) * prices * members, float(prices[-1]))


def _reached(exits: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.cumsum(exits[::-1])[::-1], dtype=np.float64)


def tiers_table(row: Row, best: Row, prices: Prices) -> str:
    """Table 2 of the paper: exits, dollars, latency and FLOPs by tier, published and counted."""
    tiers = len(row.measured[0].exits)
    exits, spent = _mean([one.exits for one in row.measured]), dollars(row, prices)
    reached, seconds = _reached(exits), _mean([one.seconds for one in row.measured])
    computed = _mean([one.tier_flops for one in row.measured])
    rows = [
        ["answers", *(f"{share:.2f}" for share in exits), "1.00", "1.00"],
        ["is asked", *(f"{share:.2f}" for share in reached), "", "1.00"],
        ["$ an hour, as published", *_dollars(spent.by_exit), f"{spent.alone:.2f}"],
        ["$ an hour, all that ran", *_dollars(spent.by_member), f"{spent.alone:.2f}"],
        [
            "FLOPs, all members",
            *(count(float(one)) for one in computed),
            *(count(one.mean(lambda m: m.compute)) for one in (row, best)),
        ],
        [
            "ms, slowest member",
            *(f"{1000 * one:.2f}" if one else NONE for one in seconds),
            *(_latency(seconds, reached), _milliseconds(best.measured)),
        ],
    ]
    head = ["", *(f"tier {k + 1}" for k in range(tiers)), "cascade", "best single"]
    return markdown(head, rows)


def _dollars(by_tier: NDArray[np.float64]) -> list[str]:
    return [*(f"{one:.2f}" for one in by_tier), f"{by_tier.sum():.2f}"]


def _latency(seconds: NDArray[np.float64], reached: NDArray[np.float64]) -> str:
    return f"{1000 * (seconds * reached).sum():.2f}" if seconds.all() else NONE


def _milliseconds(measured: Sequence[Measured]) -> str:
    found = float(np.mean([one.seconds[-1] for one in measured]))
    return f"{1000 * found:.2f}" if found else NONE


def delays_table(row: Row) -> str:
    """Figure 5 of the paper: delays on exits, and what an answer waits for them."""
    exits = _mean([one.exits for one in row.measured])
    delays = np.array([DELAYS_S[0], *DELAYS_S[len(DELAYS_S) - len(exits) + 1 :]])
    reached = _reached(exits)
    alone, published, crossed = delays[-1], (exits * delays).sum(), (reached * delays).sum()
    rows = [
        ["delay of a tier, s", ", ".join(f"{one:g}" for one in delays), ""],
        ["mean wait, s: the answering tier's delay", f"{published:.3f}", _times(alone, published)],
        ["mean wait, s: every link that was crossed", f"{crossed:.3f}", _times(alone, crossed)],
        ["calls over the last link", f"{exits[-1]:.3f}", _times(1.0, exits[-1])],
    ]
    return markdown(["", "cascade", "all to the last tier"], rows)


def _times(alone: float, cascade: float) -> str:
    return f"{alone / cascade:.1f} times" if cascade else NONE


def _mean(values: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.asarray(np.mean(values, axis=0), dtype=np.float64)
