"""What queries take of a device's battery, and of money on links; knows no threshold.

A device computes at its power and pays for its own calls: for waking the radio and its tail, and by
the byte. What it draws while it waits for an answer is left out, as is all that it draws anyway.
Of money, every link that a call crosses takes its price by the byte, those behind a gateway too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from escalade.edge.trace import Link
from escalade.simulator.network import GRPC_BYTES_DOWN, GRPC_BYTES_UP, Network, Profile
from escalade.simulator.recorded import Floats, RecordedTier
from escalade.simulator.replay.course.crossed import Crossed
from escalade.simulator.replay.course.recording import Counts, Recording
from escalade.simulator.replay.course.trips import Trips

_GIGA = 1e9


@dataclass(frozen=True)
class Spending:
    """Of T tiers and N queries on one network.

    Attributes:
        computed_j: of each tier `(V, N)` joules of the device's own models, see
            `RecordedTier.at_levels`; None where a tier is on the device and its power is not known.
        links_j: `(T, N)` joules of the device's calls to each tier; NaN where the profile of such a
            link says nothing of energy.
        called_j: the same; None where one of them is not known.
        money: `(T, N)` of the links that calls to each tier cross; None where none has a price.
        alone_j: `(N,)` joules, were the last tier asked alone; None as the two above.
        alone_money: `(N,)` money of links, were the last tier asked alone.
    """

    computed_j: list[Floats] | None
    links_j: Floats
    called_j: Floats | None
    money: Floats | None
    alone_j: Floats | None
    alone_money: Floats | None


class _Rates(NamedTuple):
    """What calls of N queries to one tier take; each `(N,)`."""

    byte_money: Floats
    #: NaN where a link says nothing of energy; so is `woken_j`.
    byte_j: Floats
    woken_j: Floats


def spending_of(
    tiers: Sequence[RecordedTier],
    recording: Recording,
    trips: Trips,
    network: Network,
    watts: float | None,
) -> Spending:
    """Work out what does not depend on thresholds.

    Args:
        tiers: all of a trace.
        recording: of it.
        trips: of it on the network.
        network: a profile for each link.
        watts: the device's power while a model computes; None where that is not known.
    """
    moved = (1 + trips.again) * recording.bytes_up + recording.bytes_down
    undrafted = recording.bytes_up[-1] - recording.draft_bytes[-1]
    last = (1 + trips.alone_again) * undrafted + recording.bytes_down[-1]
    computed_j = _computed(tiers, recording, trips.seconds, watts)
    rates = _rates(tiers, recording, network)
    joules, alone_called = _joules(rates, moved), _joules(rates[-1:], last[None])
    called_j = alone_j = None
    if not np.isnan(joules).any():
        called_j = joules
        if computed_j is not None:
            alone_j = computed_j[-1][-1] if rates[-1] is None else alone_called[0]
    money = alone_money = None
    if any(profile.price_per_gb is not None for profile in network.profiles):
        money, alone_money = _money(rates, moved), _money(rates[-1:], last[None])[0]
    return Spending(
        computed_j=computed_j,
        links_j=joules,
        called_j=called_j,
        money=money,
        alone_j=alone_j,
        alone_money=alone_money,
    )


def _computed(
    tiers: Sequence[RecordedTier],
    recording: Recording,
    seconds: Sequence[Floats],
    watts: float | None,
) -> list[Floats] | None:
    tables = []
    for tier, linked, table in zip(tiers, recording.linked, seconds, strict=True):
        if linked or tier.info.place != "device":
            tables.append(np.zeros_like(table))
        elif watts is None:
            return None
        else:
            tables.append(watts * table)
    return tables


def _joules(rates: Sequence[_Rates | None], moved: Counts) -> Floats:
    """Of calls of so many bytes, `(T, N)`; NaN where a link says nothing of energy."""
    found = np.zeros(moved.shape)
    for row, one, nbytes in zip(found, rates, moved, strict=True):
        if one is not None:
            row[:] = np.where(nbytes > 0, one.woken_j, 0.0) + nbytes * one.byte_j
    return found


def _money(rates: Sequence[_Rates | None], moved: Counts) -> Floats:
    found = np.zeros(moved.shape)
    for row, one, nbytes in zip(found, rates, moved, strict=True):
        if one is not None:
            row[:] = nbytes * one.byte_money
    return found


def _rates(
    tiers: Sequence[RecordedTier], recording: Recording, network: Network
) -> list[_Rates | None]:
    """Of each tier; None where no link leads to it."""
    return [
        None if not linked else _rates_of(tier, network, plain)
        for tier, linked, plain in zip(tiers, recording.linked, recording.plain, strict=True)
    ]


def _rates_of(tier: RecordedTier, network: Network, plain: bool) -> _Rates:
    if plain:
        each = _mean_rates([(1, [network.to(tier.info.name)])])
        return _Rates(*(np.full(len(tier.answers), one) for one in each))
    links = Crossed.on(network, tier.info)
    rows = [
        _mean_rates([(_moved(one), met) for one, met in links.calls(answer)])
        for answer in tier.answers
    ]
    return _Rates(*np.array(rows).reshape(-1, len(_Rates._fields)).T)


def _moved(link: Link) -> int:
    return link.bytes_up + GRPC_BYTES_UP + link.bytes_down + GRPC_BYTES_DOWN


def _mean_rates(calls: Sequence[tuple[int, list[Profile]]]) -> tuple[float, float, float]:
    """Of several calls the mean by bytes; at the same time they wake one radio."""
    weights = [nbytes for nbytes, _ in calls]
    if not sum(weights):
        return 0.0, 0.0, 0.0
    own = [crossed[0] for _, crossed in calls]
    prices = [sum(one.price_per_gb or 0.0 for one in crossed) for _, crossed in calls]
    radios = [one.radio for one in own]
    return (
        float(np.average(prices, weights=weights)) / _GIGA,
        float(np.average([one.byte_j for one in radios], weights=weights)),
        float(np.max([one.call_j for one in radios])),
    )
