"""One run against a live server, from its plan to its report."""

from __future__ import annotations

import asyncio

from escalade.simulator.load.caller import Target, connected
from escalade.simulator.load.driver import Driven, Tick, drive
from escalade.simulator.load.plan import Plan
from escalade.simulator.load.report import LoadReport, report_of

# Of an open loop, whose requests take turns on them; a server takes 260 at once on each as it comes
# (`--queue 64`).
_CONNECTIONS = 16


def run_load(
    target: Target, plan: Plan, *, progress: Tick = lambda done, total: None
) -> LoadReport:
    """Ask a server as a plan says.

    Args:
        target: whom, and what.
        plan: how often, and for how long.
        progress: told (done, total), in requests or in whole seconds.

    Raises:
        CloudError: nobody answers there, or an argument is malformed.
    """
    info = target.info(plan.deadline_s)

    async def run() -> Driven:
        async with connected(target, plan.clients or _CONNECTIONS) as caller:
            return await drive(plan, len(target.prompts), caller.ask, progress)

    driven = asyncio.run(run())
    return report_of(plan, driven, info, address=target.address, prompts=len(set(target.prompts)))
