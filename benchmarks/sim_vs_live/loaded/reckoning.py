"""Works calls out in virtual time, as a control says that they are to be; compares nothing."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from benchmarks.sim_vs_live.loaded.calls import Call
from benchmarks.sim_vs_live.loaded.sending import (
    CONNECTIONS,
    Floats,
    Sent,
    rate_at,
    send,
)
from benchmarks.sim_vs_live.pieces import LOADED_DRAWS, Piece, draws_of

from escalade.cli.output import note_console
from escalade.simulator.fleet.given import Given, latencies_of
from escalade.simulator.load.fitting import best_slowdown
from escalade.simulator.network import Connections, Profile, get_profile

#: What `escalade serve` computes together at most (docs/serving.md).
_SLOTS = 64
_FREE = get_profile("free")
#: Of a golden section search: to a thousandth.
_STEPS = 14
#: What is farther from the median is a machine's stop, and of no call: so many times the median
#: distance from it.
_STOPPED = 8.0


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """What calls take that no network delays.

    Attributes:
        slowdown: each one beside it makes a call take so many times longer in the cloud.
        beside_s: what each of them took more than virtual time has; draws of what any call does.
        rate: calls a second.
        stolen_s: see `Sent`.
        others: see `Sent`: of each part, in its turn.
    """

    slowdown: float
    beside_s: list[float]
    rate: float
    stolen_s: float
    others: list[float] = msgspec.field(default_factory=list)


def in_virtual_time(
    sent: Sent,
    calls: Sequence[Call],
    profile: Profile,
    slowdown: float,
    *,
    seed: int | Sequence[int],
) -> Floats:
    """How long the same calls take through the fleet's queue: `(N,)`.

    A gateway's models take one query at a time; to the cloud it comes when they are done, over a
    link of the same kind. What stalls on a connection holds up what is behind it there.
    """
    rng = np.random.default_rng(seed)
    asked = [calls[k] for k in sent.which]
    many = len(asked)
    none, every = np.zeros(many), np.ones(many, np.bool_)
    bytes_up = [one.bytes_up for one in asked]
    bytes_down = [one.bytes_down for one in asked]
    own_s = np.array([one.gateway_s for one in asked])
    cloud_s = np.array([one.cloud_s for one in asked])
    # As `Caller.ask` takes them in turn.
    over = [number % CONNECTIONS for number in range(many)]
    near = Connections(profile, CONNECTIONS, rng)
    up_s = near.up_s(sent.came_s, over, bytes_up) - sent.came_s
    if not own_s.any():
        to_cloud = Given(sent.came_s, none, every, cloud_s, up_s, none)
        leaves_s = sent.came_s + latencies_of(to_cloud, slots=_SLOTS, slowdown=slowdown)
    else:
        at_gateway = Given(sent.came_s, none, every, own_s, up_s, none)
        goes_s = sent.came_s + latencies_of(at_gateway, slots=1, slowdown=0.0)
        # All that a gateway sends on has one connection.
        beyond, one = Connections(profile, 1, rng), [0] * many
        up_s = beyond.up_s(goes_s, one, bytes_up) - goes_s
        to_cloud = Given(goes_s, none, every, cloud_s, up_s, none)
        back_s = goes_s + latencies_of(to_cloud, slots=_SLOTS, slowdown=slowdown)
        leaves_s = beyond.down_s(back_s, one, bytes_down)
    took_s = near.down_s(leaves_s, over, bytes_down) - sent.came_s
    return np.asarray(took_s + [one.beside_s for one in asked])


def control_of(sent: Sequence[Sent], calls: Sequence[Call], rate: float) -> Control:
    """Fit to what calls took where nothing delays.

    Args:
        sent: runs of them.
        calls: whose queries they are, none of those that are compared.
        rate: calls a second.
    """

    def beside(slowdown: float) -> Floats:
        left_s = [one.took_s - in_virtual_time(one, calls, _FREE, slowdown, seed=0) for one in sent]
        return _without_stops(np.concatenate(left_s))

    def error(slowdown: float) -> float:
        left_s = beside(slowdown)
        return float(np.abs(left_s - np.median(left_s)).mean())

    slowdown = best_slowdown(error, steps=_STEPS)
    return Control(
        slowdown=slowdown,
        beside_s=beside(slowdown).tolist(),
        rate=rate,
        stolen_s=sum(one.stolen_s for one in sent),
    )


def _own_s(call: Call) -> float:
    """What it takes by itself where nothing delays."""
    return call.gateway_s + call.cloud_s + call.beside_s


def _without_stops(left_s: Floats) -> Floats:
    middle = np.median(left_s)
    most = _STOPPED * np.median(np.abs(left_s - middle))
    return np.clip(left_s, middle - most, middle + most)


def measure(
    profile: str,
    tiers: int,
    addresses: tuple[str, str],
    calls: Sequence[Call],
    others: Sequence[Call],
    many: int,
    *,
    share: float,
    parts: int,
    seed: int,
) -> tuple[Control, Piece]:
    """Send calls, some behind the network and some of the control in turns, and work them out.

    Args:
        profile: the network,
        tiers: and their number, of which each link but the first has it too.
        addresses: of a server behind links without delay, and of one behind the network.
        calls: as recorded where nothing delays,
        others: and those of the control.
        many: how many to send, of either.
        share: of its time that they would keep the cloud at work, one after the other.
        parts: that control and network are sent in, in turns.
        seed: of their moments and order, and of the network's draws.
    """
    rate = rate_at(share, calls)
    note_console().print(f"loaded, {tiers} tiers, {profile}: {many} calls, {rate:.1f} a second ...")
    near, far = addresses
    sizes = [len(part) for part in np.array_split(range(many), parts) if len(part)]
    free, delayed, others_had = list[Sent](), list[Sent](), list[float]()
    for number, size in enumerate(sizes):
        # Of other moments each.
        moments = 2 * (seed * parts + number)
        turns = [(near, others, free, moments), (far, calls, delayed, moments + 1)]
        for address, whose, into, its_seed in turns if number % 2 == 0 else reversed(turns):
            into.append(send(address, whose, rate, size, seed=its_seed))
            others_had.append(into[-1].others)
    found = msgspec.structs.replace(control_of(free, others, rate), others=others_had)
    network = get_profile(profile)
    added_s, virtual_s = list[Floats](), list[list[float]]()
    own_s = np.array([_own_s(calls[k]) for sent in delayed for k in sent.which])
    for one in draws_of(seed, LOADED_DRAWS):
        each = [
            in_virtual_time(sent, calls, network, found.slowdown, seed=[one, number])
            for number, sent in enumerate(delayed)
        ]
        took_s = np.concatenate(each)
        added_s.append(took_s - own_s)
        beside_s = np.random.default_rng([one, len(each)]).choice(found.beside_s, many)
        virtual_s.append((took_s + beside_s).tolist())
    piece = Piece(
        profile=profile,
        tiers=tiers,
        load="loaded",
        live_s=[took_s for sent in delayed for took_s in sent.took_s.tolist()],
        virtual_s=virtual_s,
        live_sent=[True] * many,
        virtual_sent=[True] * many,
        rate=rate,
        utilisation=share,
        overhead_s=float(np.mean(found.beside_s)),
        slowdown=found.slowdown,
        stolen_s=sum(sent.stolen_s for sent in delayed),
        own_s=own_s.tolist(),
        added_s=np.mean(added_s, axis=0).tolist(),
    )
    return found, piece
