"""Light load: one query after the other, each of two cascades, of which one has no delays.

What a call costs beside its network is recorded where nothing delays (the trace), and replayed in
virtual time on the network that the other cascade's proxies make. Caches cool while a machine
waits, and are warm where it has just worked, by a fifth of a device's millisecond: both are asked
after the same pause, and chance says who is second. Both end with a call to the cloud that comes
back after as long: a trace has the calls of a shadow, so that the other cascade asks the cloud when
it has answered; and the one without a network waits as long as the other's network takes, and asks
it then. Without that the one waited in one piece, the other in two.

Both cascades have one device. Two that were opened, each with copies of the models of its own, had
times that differed by up to a tenth in a whole round: each finds out for itself whether its members
answer sooner in threads. Between the two it forgets what it has read, which would be all of the
next prompt.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence

import numpy as np
from benchmarks.sim_vs_live.pieces import Piece, draws_of
from benchmarks.sim_vs_live.system import System

from escalade.cli.output import progress_bar
from escalade.edge import EdgeClient, Query
from escalade.edge.base import Record
from escalade.edge.trace import Trace
from escalade.simulator.network import Network, get_profile
from escalade.simulator.recorded import recorded_thresholds
from escalade.simulator.replay import replay

# A pause is a round trip of the network, but no longer: a second cools no more than this does.
_LONGEST_PAUSE_S = 0.1


def measure(
    profile: str, tiers: int, records: Sequence[Record], near: System, far: System, *, seed: int
) -> tuple[Piece, Trace]:
    """Ask both cascades every query; gives the piece, and the trace of the one that is near."""
    live, recorded = [], []
    # Who is first is drawn: in turns, the one answer of 32 that an ensemble asks the other way
    # would always be the same's.
    rng = np.random.default_rng(seed)
    device = near.client.cascade.tiers[0]
    cascade = far.client.cascade
    client = EdgeClient(dataclasses.replace(cascade, tiers=[device, *cascade.tiers[1:]]))
    round_trip_s = get_profile(profile).rtt_ms / 1e3
    pause_s, network_s = min(round_trip_s, _LONGEST_PAUSE_S), round_trip_s * (tiers - 1)
    with progress_bar(f"light, {tiers} tiers, {profile}") as tick:
        for done, record in enumerate(records, 1):
            query = Query(text=record.prompt)
            for is_recorded in rng.permutation([True, False]):
                time.sleep(pause_s)
                for member in device.opened:
                    member.artifact.forget()
                if is_recorded:
                    recorded.append(near.client.trace_record(record, shadow=True))
                    time.sleep(network_s)
                    near.client.ask_last(query)
                else:
                    answer = client.ask(query)
                    live.append((answer.total_s, answer.given_at != "device"))
                    if answer.given_at == "device":
                        client.ask_last(query)
            tick(done, len(records))
    trace = Trace(near.client.trace_header(), recorded)
    thresholds = recorded_thresholds(trace.header.tiers)
    network = Network(get_profile(profile))
    replayed = [replay(trace, network, thresholds, seed=one) for one in draws_of(seed)]
    seconds, sent = zip(*live, strict=True)
    piece = Piece(
        profile=profile,
        tiers=tiers,
        load="light",
        live_s=list(seconds),
        virtual_s=[one.cascade_s.tolist() for one in replayed],
        live_sent=list(sent),
        virtual_sent=np.asarray(replayed[0].answered_by > 0).tolist(),
    )
    return piece, trace
