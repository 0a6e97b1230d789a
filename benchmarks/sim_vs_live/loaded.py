"""Load: calls in an open loop, live and through the fleet's queue in virtual time.

They would keep the cloud at work for 70 % of the time if it took one at a time. It takes more, and
could be asked more; but the live proxy spins for up to 2 ms before each moment that it waits for,
some eight of a call, and at the 140 calls a second that are 70 % of what batches make of the cloud
two cores are the proxy's.

The calls are those of queries that climb to the cloud; what devices take themselves is of the light
load, for two cores are no fleet of devices. The moments and the order of the queries are the same,
live and virtual. What each takes alone was recorded under light load; what one in a batch does to
another is fitted to the server (`escalade load --fit`) on other queries; and what a call takes
beside, with this way to send it, is found by a control at zero delay and little load, on other
queries too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from benchmarks.sim_vs_live.pieces import LOADED_DRAWS, Piece, draws_of
from numpy.typing import NDArray

from escalade.cli.output import note_console
from escalade.edge.trace import Trace, TraceRecord
from escalade.simulator.fleet.given import Given, latencies_of
from escalade.simulator.load import Plan, Target
from escalade.simulator.load.caller import Said, connected
from escalade.simulator.load.driver import drive
from escalade.simulator.load.fitting import Fit
from escalade.simulator.network import Connections, Profile, get_profile
from escalade.simulator.recorded import climb, recorded_thresholds, tiers_of
from escalade.simulator.replay import GRPC_BYTES_DOWN, GRPC_BYTES_UP

#: Of the cloud's time; and of the control, which hardly has a queue.
LOADED, CONTROL = 0.7, 0.15
#: What `escalade serve` computes together at most (docs/serving.md).
_SLOTS = 64
_CONNECTIONS = 16
_DEADLINE_S = 60.0

Floats = NDArray[np.float64]


class Call(NamedTuple):
    """A query that climbs to the cloud, as recorded where nothing delays; seconds."""

    prompt: str
    bytes_up: int
    bytes_down: int
    #: At a gateway, its own tier; 0 where the call is the cloud's.
    gateway_s: float
    cloud_s: float
    #: Whatever else the call takes.
    beside_s: float


class Sent(NamedTuple):
    """What became of N calls: when each was due, whose query it was, and how long it took."""

    came_s: Floats
    which: list[int]
    took_s: Floats


def calls_of(trace: Trace) -> list[Call]:
    """Those of a trace's queries that its gates send to the cloud."""
    tiers = tiers_of(trace)
    sent = climb(tiers, recorded_thresholds(trace.header.tiers)).reached[-1]
    calls = [_call_of(record) for record, goes in zip(trace.records, sent, strict=True) if goes]
    return [one for one in calls if one is not None]


def _call_of(record: TraceRecord) -> Call | None:
    """Its call; None where a gateway answers it."""
    answer = record.tiers[-1]
    link = None if answer is None else answer.link
    if answer is None or link is None:
        raise ValueError(f"{record.id}: no call of it was recorded")
    gateway_s, cloud_s = 0.0, link.server_s
    if answer.hops:
        own, *beyond = answer.hops
        if not beyond:
            return None
        gateway_s, cloud_s = own.seconds, beyond[0].seconds
    beside_s = max(0.0, link.round_trip_s - gateway_s - cloud_s)
    up, down = link.bytes_up + GRPC_BYTES_UP, link.bytes_down + GRPC_BYTES_DOWN
    return Call(record.prompt, up, down, gateway_s, cloud_s, beside_s)


def rate_at(share: float, calls: Sequence[Call]) -> float:
    """Calls a second that keep the cloud at work for a share of its time, one after the other."""
    return share / float(np.mean([one.cloud_s for one in calls]))


def send(address: str, calls: Sequence[Call], rate: float, many: int, *, seed: int) -> Sent:
    """Send so many calls to a server, as many a second on average, at moments of chance.

    Raises:
        RuntimeError: one got no answer.
    """
    target = Target(address=address, prompts=[one.prompt for one in calls])
    plan = Plan(rate=rate, requests=many, warm_up_s=0.0, deadline_s=_DEADLINE_S, seed=seed)
    rows: list[tuple[float, int, float]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with connected(target, _CONNECTIONS) as caller:
            opened = [caller.ask(k, 0, k, _DEADLINE_S) for k in range(_CONNECTIONS)]
            await asyncio.gather(*opened)  # later calls find every connection open

            async def ask(number: int, prompt: int, client: int, timeout_s: float) -> Said:
                due_s = loop.time() + timeout_s - _DEADLINE_S
                said = await caller.ask(number, prompt, client, timeout_s)
                if said.reason:
                    raise RuntimeError(f"{said.reason}: {said.detail}")
                rows.append((due_s, prompt, loop.time() - due_s))
                return said

            await drive(plan, len(calls), ask)

    target.info(_DEADLINE_S)
    asyncio.run(main())
    came, which, took = zip(*sorted(rows), strict=True)
    return Sent(np.array(came) - came[0], list(which), np.array(took))


def in_virtual_time(
    sent: Sent, calls: Sequence[Call], profile: Profile, fit: Fit, overhead_s: float, *, seed: int
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
    over = [number % _CONNECTIONS for number in range(many)]
    near = Connections(profile, _CONNECTIONS, rng)
    up_s = near.up_s(sent.came_s, over, bytes_up) - sent.came_s
    if not own_s.any():
        to_cloud = Given(sent.came_s, none, every, cloud_s, up_s, none)
        leaves_s = sent.came_s + latencies_of(to_cloud, slots=_SLOTS, slowdown=fit.slowdown)
    else:
        at_gateway = Given(sent.came_s, none, every, own_s, up_s, none)
        goes_s = sent.came_s + latencies_of(at_gateway, slots=1, slowdown=0.0)
        # All that a gateway sends on has one connection.
        beyond, one = Connections(profile, 1, rng), [0] * many
        up_s = beyond.up_s(goes_s, one, bytes_up) - goes_s
        to_cloud = Given(goes_s, none, every, cloud_s, up_s, none)
        back_s = goes_s + latencies_of(to_cloud, slots=_SLOTS, slowdown=fit.slowdown)
        leaves_s = beyond.down_s(back_s, one, bytes_down)
    took_s = near.down_s(leaves_s, over, bytes_down) - sent.came_s
    return np.asarray(took_s + overhead_s + [one.beside_s for one in asked])


def overhead(address: str, trace: Trace, fit: Fit, many: int, *, seed: int) -> float:
    """What a call takes beside, at zero delay and little load: the median, seconds."""
    calls = calls_of(trace)
    sent = send(address, calls, rate_at(CONTROL, calls), many, seed=seed)
    virtual_s = in_virtual_time(sent, calls, get_profile("free"), fit, 0.0, seed=seed)
    return float(np.median(sent.took_s - virtual_s))


def measure(
    profile: str,
    tiers: int,
    address: str,
    trace: Trace,
    fit: Fit,
    overhead_s: float,
    many: int,
    *,
    seed: int,
) -> Piece:
    """Send calls, and work them out."""
    calls = calls_of(trace)
    rate = rate_at(LOADED, calls)
    note_console().print(f"loaded, {tiers} tiers, {profile}: {many} calls, {rate:.1f} a second ...")
    sent = send(address, calls, rate, many, seed=seed)
    network = get_profile(profile)
    virtual_s = [
        in_virtual_time(sent, calls, network, fit, overhead_s, seed=one).tolist()
        for one in draws_of(seed, LOADED_DRAWS)
    ]
    return Piece(
        profile=profile,
        tiers=tiers,
        load="loaded",
        live_s=sent.took_s.tolist(),
        virtual_s=virtual_s,
        live_sent=[True] * many,
        virtual_sent=[True] * many,
        rate=rate,
        utilisation=LOADED,
        overhead_s=overhead_s,
    )
