"""Sends calls to a server at moments of chance; knows no virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from benchmarks.sim_vs_live.loaded.calls import Call
from benchmarks.sim_vs_live.loaded.cores import spent
from numpy.typing import NDArray

from escalade.simulator.load import Plan, Target
from escalade.simulator.load.caller import Said, connected
from escalade.simulator.load.driver import drive

#: Calls take turns on them, as `escalade load` has them.
CONNECTIONS = 16
_DEADLINE_S = 60.0

Floats = NDArray[np.float64]


class Sent(NamedTuple):
    """What became of N calls: when each was due, whose query it was, and how long it took."""

    came_s: Floats
    which: list[int]
    took_s: Floats
    #: Seconds of all cores meanwhile that the machine's host gave to others.
    stolen_s: float
    #: How many cores other processes had meanwhile, on average.
    others: float


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
        async with connected(target, CONNECTIONS) as caller:
            opened = [caller.ask(k, 0, k, _DEADLINE_S) for k in range(CONNECTIONS)]
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
    before = spent()
    asyncio.run(main())
    after = spent()
    came, which, took = zip(*sorted(rows), strict=True)
    return Sent(
        np.array(came) - came[0],
        list(which),
        np.array(took),
        after.stolen_s - before.stolen_s,
        after.others_since(before),
    )
