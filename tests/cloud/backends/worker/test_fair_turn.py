"""A lock for the loop: clients in turns, whoever is cancelled meanwhile."""

from __future__ import annotations

import asyncio

from escalade.cloud.backends.fair_order import Claim
from escalade.cloud.backends.worker.fair_turn import FairTurn


def test_clients_have_turns_and_the_cancelled_pass_theirs_on() -> None:
    async def main() -> list[str]:
        turn, order = FairTurn(), list[str]()
        go = asyncio.Event()

        async def take(name: str, host: str) -> None:
            async with turn.hold(Claim(host)):
                order.append(name)
                await go.wait()

        names = ["a1", "a2", "a3", "b1", "a4", "c1"]
        tasks = {name: asyncio.create_task(take(name, name[0])) for name in names}
        await asyncio.sleep(0)
        tasks["a3"].cancel()
        # It is b's turn next but one: given to it and cancelled in one step of the loop.
        go.set()
        await asyncio.sleep(0)
        tasks["b1"].cancel()
        await asyncio.wait(tasks.values())
        async with asyncio.timeout(5), turn.hold(Claim("z")):
            order.append("z")
        return order

    order = asyncio.run(main())
    assert order[0] == "a1"
    assert "a3" not in order
    assert [name for name in order if name[0] == "a"] == ["a1", "a2", "a4"]
    assert order.index("c1") < order.index("a4")
    assert order[-1] == "z"
