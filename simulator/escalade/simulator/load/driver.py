"""Asks as a plan says, in a closed or an open loop; knows no server and no histogram.

Time is the event loop's own, so that a loop whose time jumps runs an hour's plan in no time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from escalade.simulator.load.caller import Said
from escalade.simulator.load.plan import Plan, moments, prompt_order

#: Asks one request: its number, its prompt, whose connection, and the seconds that it may take.
Ask = Callable[[int, int, int, float], Awaitable[Said]]
#: Told (done, total), in requests or in whole seconds.
Tick = Callable[[int, int], None]


class Asked(NamedTuple):
    """One request, and when; seconds on the loop's clock."""

    #: When the plan wanted it sent. A closed loop's are due when they are sent: when they would
    #: have come had the server been faster, nobody knows.
    due_s: float
    sent_s: float
    ended_s: float
    said: Said


class Driven(NamedTuple):
    """All requests of a run, and which of its time is measured."""

    asked: list[Asked]
    from_s: float
    to_s: float


async def drive(
    plan: Plan, prompts: int, ask: Ask, tick: Tick = lambda done, total: None
) -> Driven:
    """Ask until the plan is done and everything has ended.

    Args:
        plan: how.
        prompts: how many there are, at least 1.
        ask: must not raise for what a server does.
        tick: told how far it is.
    """
    return await _Driver(plan, prompts, ask, tick).run()


class _Driver:
    """One run."""

    def __init__(self, plan: Plan, prompts: int, ask: Ask, tick: Tick) -> None:
        self._plan, self._ask, self._tick = plan, ask, tick
        #: Number and prompt of each request.
        self._queries = enumerate(prompt_order(prompts, plan.seed))
        self._asked: list[Asked] = []
        #: Requests that are measured: sent, and ended.
        self._begun = self._ended = 0
        self._loop = asyncio.get_running_loop()
        self._start_s = self._loop.time()
        self._from_s = self._start_s + plan.warm_up_s

    async def run(self) -> Driven:
        clients, seconds = self._plan.clients, self._plan.seconds
        async with asyncio.TaskGroup() as group:
            if clients is None:
                await self._open(group)
            for client in range(clients or 0):
                group.create_task(self._client(client))
        ends = (one.ended_s for one in self._asked)
        return Driven(
            self._asked, self._from_s, max(ends) if seconds is None else self._from_s + seconds
        )

    async def _open(self, group: asyncio.TaskGroup) -> None:
        for client, moment in enumerate(moments(self._plan)):
            due_s = self._start_s + moment
            if not self._takes(due_s):
                return
            # Who is late sends at once, and all that was due meanwhile. What was begun has its turn
            # between: else nothing is sent as long as more is due.
            await asyncio.sleep(max(0.0, due_s - self._loop.time()))
            group.create_task(self._one(due_s, client, *next(self._queries)))

    async def _client(self, client: int) -> None:
        while self._takes(now_s := self._loop.time()):
            await self._one(now_s, client, *next(self._queries))

    def _takes(self, due_s: float) -> bool:
        """Whether a request that is due then is one of the plan's; it is counted if so."""
        if due_s < self._from_s:
            return True
        if self._plan.seconds is not None:
            wanted = due_s < self._from_s + self._plan.seconds
        else:
            wanted = self._begun < (self._plan.requests or 0)
        self._begun += wanted
        return wanted

    async def _one(self, due_s: float, client: int, number: int, prompt: int) -> None:
        sent_s = self._loop.time()
        said = await self._ask(number, prompt, client, due_s + self._plan.deadline_s - sent_s)
        ended_s = self._loop.time()
        self._asked.append(Asked(due_s, sent_s, ended_s, said))
        self._ended += due_s >= self._from_s
        if self._plan.seconds is None:
            self._tick(self._ended, self._plan.requests or 0)
        else:
            whole_s = self._plan.warm_up_s + self._plan.seconds
            self._tick(int(min(ended_s - self._start_s, whole_s)), int(whole_s))
