"""How often a call meets chance: of a real server behind the real proxy, and in virtual time."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

import numpy as np
import pytest
from grpc_health.v1 import health_pb2
from proxied import health_through

from escalade.simulator.network import Connections, get_profile
from escalade.simulator.network.delay_lines import DelayLine
from escalade.simulator.network.proxy.connection import Lane

CALLS, PAUSE_S = 16, 0.06
#: Of HTTP/2's frames: what they are, and that a ping is an answer (RFC 9113, section 6).
DATA, PING, ACK = 0x0, 0x6, 0x1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Chunk(NamedTuple):
    """What came to the proxy in one read: its frames, each with type and flags."""

    at_s: float
    frames: list[tuple[int, int]]

    def has(self, kind: int, flags: int | None = None) -> int:
        return sum(one == kind and flags in (None, has) for one, has in self.frames)


def frames_of(chunk: bytes) -> list[tuple[int, int]]:
    found = []
    while chunk:
        found.append((chunk[3], chunk[4]))
        chunk = chunk[9 + int.from_bytes(chunk[:3], "big") :]
    return found


def asked(monkeypatch: pytest.MonkeyPatch) -> tuple[list[Chunk], list[Chunk]]:
    """The chunks, up and down, of calls over one connection, one after the other."""
    lanes: dict[Lane, list[Chunk]] = {}
    push = Lane.push

    def noted(lane: Lane, item: object) -> None:
        if isinstance(item, bytes):
            at_s = asyncio.get_running_loop().time()
            chunks = lanes.setdefault(lane, [])
            chunks.append(Chunk(at_s, frames_of(item.removeprefix(PREFACE))))
        push(lane, item)  # type: ignore[arg-type] # whatever it is

    async def main() -> None:
        async with health_through(get_profile("coe-10ms")) as (_, stub):
            for _ in range(CALLS):
                await stub.Check(health_pb2.HealthCheckRequest(service=""))
                await asyncio.sleep(PAUSE_S)

    monkeypatch.setattr(Lane, "push", noted)
    asyncio.run(main())
    up, down = sorted(lanes, key=lambda lane: lanes[lane][0].at_s)
    return lanes[up], lanes[down]


def test_a_call_meets_chance_as_often_as_in_virtual_time(monkeypatch: pytest.MonkeyPatch) -> None:
    up, down = asked(monkeypatch)
    requests, answers = ([one for one in way if one.has(DATA)] for way in (up, down))
    # A request is one chunk, an answer with its trailers is one, though HTTP/2 has many frames.
    assert [one.has(DATA) for one in (*requests, *answers)] == [1] * (2 * CALLS)
    pings = sum(one.has(PING, 0) for one in down)

    counts: dict[DelayLine, int] = {}
    release_s = DelayLine.release_s

    def counted(line: DelayLine, at_s: float, nbytes: int) -> float:
        counts[line] = counts.get(line, 0) + 1
        return release_s(line, at_s, nbytes)

    monkeypatch.setattr(DelayLine, "release_s", counted)
    lines = Connections(get_profile("coe-10ms"), 1, np.random.default_rng(0))
    begin_s = up[0].at_s
    over, nbytes = [0] * CALLS, [100] * CALLS
    lines.up_s(np.array([one.at_s - begin_s for one in requests]), over, nbytes)
    lines.down_s(np.array([one.at_s - begin_s for one in answers]), over, nbytes)
    drawn_up, drawn_down = counts.values()
    assert drawn_up == len(requests)
    # One or two more or less: when gRPC may ping again is a matter of milliseconds.
    assert drawn_down - len(answers) == pytest.approx(pings, abs=2)
    assert 2 <= pings < CALLS
