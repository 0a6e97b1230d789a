"""Sends calls to several servers, each to the one with the fewest under way; knows no plan."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from contextlib import AsyncExitStack

import msgspec
import numpy as np
from benchmarks.sim_vs_live.loaded.cores import spent

from escalade.simulator.load import Plan, Target
from escalade.simulator.load.caller import Caller, Said, connected
from escalade.simulator.load.driver import drive

#: To each server; calls take turns on them.
_CONNECTIONS = 4
#: A server refuses what is more than 128 calls, and those are answered by then.
DEADLINE_S = 120.0
#: Calls before are not measured: queues are as long then as they are to be.
WARM_UP_S = 5.0
_SHARE = 0.99


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What became of N calls.

    Attributes:
        took_s: of each that was answered, from when it was due.
        refused: those that were not.
        late_s: what the driver was late with one, at most.
        others: cores that other processes had meanwhile, on average.
        stolen_s: seconds of all cores that the machine's host gave to others.
    """

    took_s: list[float]
    refused: int
    late_s: float
    others: float
    stolen_s: float

    @property
    def p99_s(self) -> float:
        """Within which time 99 of 100 were answered, or infinity."""
        ordered = sorted(self.took_s)
        wanted = math.ceil(_SHARE * (len(ordered) + self.refused))
        return ordered[wanted - 1] if wanted <= len(ordered) else math.inf


class Fewest:
    """Servers of one model, as a fleet's cloud has them."""

    def __init__(self, callers: Sequence[Caller]) -> None:
        self._callers = callers
        self._under_way = [0] * len(callers)

    async def ask(self, number: int, prompt: int, client: int, timeout_s: float) -> Said:
        """See `Caller`; of those with as few, the first."""
        at = int(np.argmin(self._under_way))
        self._under_way[at] += 1
        try:
            return await self._callers[at].ask(number, prompt, client, timeout_s)
        finally:
            self._under_way[at] -= 1


async def callers_of(
    addresses: Sequence[str], prompts: Sequence[str], stack: AsyncExitStack
) -> list[Caller]:
    """Who asks each of several servers; every connection is open.

    Raises:
        CloudError: nobody answers at one of the addresses.
    """
    targets = [Target(address=one, prompts=prompts) for one in addresses]
    for target in targets:
        target.info(DEADLINE_S)
    callers = [await stack.enter_async_context(connected(one, _CONNECTIONS)) for one in targets]
    await asyncio.gather(
        *(one.ask(k, k, k, DEADLINE_S) for one in callers for k in range(_CONNECTIONS))
    )
    return callers


def pooled(turns: Sequence[Sent]) -> Sent:
    """What became of the calls of all turns."""
    return Sent(
        took_s=[each for one in turns for each in one.took_s],
        refused=sum(one.refused for one in turns),
        late_s=max(one.late_s for one in turns),
        others=sum(one.others for one in turns) / len(turns),
        stolen_s=sum(one.stolen_s for one in turns),
    )


def send(
    addresses: Sequence[str], prompts: Sequence[str], rate: float, many: int, *, seed: int
) -> Sent:
    """Send so many calls, as many a second on average, at moments of chance.

    Args:
        addresses: of servers.
        prompts: of which each call has one.
        rate: calls a second.
        many: that are measured.
        seed: of moments and prompts.

    Raises:
        CloudError: nobody answers at one of the addresses.
    """
    plan = Plan(rate=rate, requests=many, warm_up_s=WARM_UP_S, deadline_s=DEADLINE_S, seed=seed)

    async def main() -> Sent:
        async with AsyncExitStack() as stack:
            callers = await callers_of(addresses, prompts, stack)
            before = spent()
            driven = await drive(plan, len(prompts), Fewest(callers).ask)
            after = spent()
        measured = [one for one in driven.asked if one.due_s >= driven.from_s]
        answered = [one for one in measured if not one.said.reason]
        return Sent(
            took_s=[one.ended_s - one.due_s for one in answered],
            refused=len(measured) - len(answered),
            late_s=max(one.sent_s - one.due_s for one in measured),
            others=after.others_since(before),
            stolen_s=after.stolen_s - before.stolen_s,
        )

    return asyncio.run(main())
