"""What queries take of a device's battery, and of money on links; knows no threshold.

A device computes at its power and pays for its own calls: for waking the radio and its tail, and by
the byte. What it draws while it waits for an answer is left out, as is all that it draws anyway.
Of money, every link that a call crosses takes its price by the byte, those behind a gateway too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from escalade.edge.trace import Hop, TierAnswer
from escalade.simulator.network import Network, Profile
from escalade.simulator.recorded import Floats, RecordedTier
from escalade.simulator.replay.recording import Counts, Recording, links_behind
from escalade.simulator.replay.trips import Trips

_GIGA, _MEGA = 1e9, 1e6


@dataclass(frozen=True)
class Spending:
    """Of T tiers and N queries on one network.

    Attributes:
        computed_j: of each tier `(V, N)` joules of the device's own models, see
            `RecordedTier.at_levels`; None where a tier is on the device and its power is not known.
        called_j: `(T, N)` joules of the device's calls to each tier; None where the profile of such
            a link says nothing of energy.
        money: `(T, N)` of the links that calls to each tier cross; None where none has a price.
        alone_j: `(N,)` joules, were the last tier asked alone; None as the two above.
        alone_money: `(N,)` money of links, were the last tier asked alone.
    """

    computed_j: list[Floats] | None
    called_j: Floats | None
    money: Floats | None
    alone_j: Floats | None
    alone_money: Floats | None


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
    moved = trips.bytes_up + recording.bytes_down
    last = trips.alone_up + recording.bytes_down[-1]
    computed_j = _computed(tiers, recording, trips.seconds, watts)
    called_j = _each(tiers, recording, moved, network)
    alone_j = None
    if called_j is not None and computed_j is not None:
        alone_j = computed_j[-1][-1]
        if recording.linked[-1]:
            alone_j = _called_j(network.to(tiers[-1].info.name), last)
    money = alone_money = None
    if any(profile.price_per_gb is not None for profile in network.profiles):
        prices = [_prices(tier, recording.linked[k], network) for k, tier in enumerate(tiers)]
        money = np.array([bytes_ * each for bytes_, each in zip(moved, prices, strict=True)])
        alone_money = last * prices[-1]
    return Spending(
        computed_j=computed_j,
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


def _each(
    tiers: Sequence[RecordedTier], recording: Recording, moved: Counts, network: Network
) -> Floats | None:
    found = np.zeros(moved.shape)
    for k, (tier, linked) in enumerate(zip(tiers, recording.linked, strict=True)):
        if linked:
            profile = network.to(tier.info.name)
            if profile.joules_per_call is None and profile.joules_per_mb is None:
                return None
            found[k] = _called_j(profile, moved[k])
    return found


def _called_j(profile: Profile, moved: Counts) -> Floats:
    """Of so many bytes for each query; calls to several members at a time wake one radio."""
    woken = np.where(moved > 0, profile.joules_per_call or 0.0, 0.0)
    return np.asarray(woken + moved * ((profile.joules_per_mb or 0.0) / _MEGA))


def _prices(tier: RecordedTier, linked: bool, network: Network) -> Floats:
    """Money for each byte of a query's calls to a tier: `(N,)`."""
    if not linked:
        return np.zeros(len(tier.answers))
    own = network.to(tier.info.name).price_per_gb or 0.0
    return np.array([own + _behind(answer, network) for answer in tier.answers]) / _GIGA


def _behind(answer: TierAnswer, network: Network) -> float:
    """Prices for 1e9 bytes of links behind gateways; of several members the mean by bytes."""
    if answer.link is not None:
        return _price_behind(answer.hops, network)
    calls = [one.call for one in answer.members if one.call is not msgspec.UNSET]
    sizes = [call.link.bytes_up + call.link.bytes_down for call in calls]
    if not sum(sizes):
        return 0.0
    costs = (
        size * _price_behind(call.hops, network) for size, call in zip(sizes, calls, strict=True)
    )
    return sum(costs) / sum(sizes)


def _price_behind(hops: Sequence[Hop], network: Network) -> float:
    return sum((network.to(hop.tier).price_per_gb or 0.0) for hop in links_behind(hops))
