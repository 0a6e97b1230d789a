"""Queries that climb to the cloud, and what each takes where nothing delays; knows no load."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from escalade.edge import EdgeClient
from escalade.edge.base import Record
from escalade.edge.trace import Trace, TraceRecord
from escalade.simulator.recorded import climb, recorded_thresholds, tiers_of
from escalade.simulator.replay import GRPC_BYTES_DOWN, GRPC_BYTES_UP

#: That each call is recorded: one time is off by a tenth, which would be taken for the query's.
_TIMES = 4


class Call(msgspec.Struct, frozen=True):
    """A query that climbs to the cloud, as recorded where nothing delays; seconds."""

    prompt: str
    bytes_up: int
    bytes_down: int
    #: At a gateway, its own tier; 0 where the call is the cloud's.
    gateway_s: float
    cloud_s: float
    #: Whatever else the call takes.
    beside_s: float


def recorded_calls(client: EdgeClient, pools: Sequence[Sequence[Record]]) -> list[list[Call]]:
    """Ask a cascade queries, one right after the other; gives those that its gates send up.

    Args:
        client: of a cascade whose links do not delay.
        pools: of queries, as many in each. They are asked in turns: a machine is faster now, slower
            then, and what was found of one pool is to hold of another.
    """
    records = [one for turn in zip(*pools, strict=True) for one in turn]
    once = Trace(client.trace_header(), [client.trace_record(one, shadow=True) for one in records])
    sent = climb(tiers_of(once), recorded_thresholds(once.header.tiers)).reached[-1]
    rows = [
        (number % len(pools), record, [_call_of(first)])
        for number, (record, first, goes) in enumerate(
            zip(records, once.records, sent, strict=True)
        )
        if goes
    ]
    for _ in range(1, _TIMES):
        for _, record, recorded in rows:
            recorded.append(_call_of(client.trace_record(record, shadow=True)))
    found = [list[Call]() for _ in pools]
    for pool, _, of in rows:
        whole = [one for one in of if one is not None]
        if len(whole) == _TIMES:
            found[pool].append(_mean(whole))
    return found


def _mean(calls: Sequence[Call]) -> Call:
    many = len(calls)
    return msgspec.structs.replace(
        calls[0],
        gateway_s=sum(one.gateway_s for one in calls) / many,
        cloud_s=sum(one.cloud_s for one in calls) / many,
        beside_s=sum(one.beside_s for one in calls) / many,
    )


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
