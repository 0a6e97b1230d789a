"""One run against a live server, from its plan to its report."""

from __future__ import annotations

import asyncio

import msgspec
import numpy as np

from escalade.simulator.load.caller import Target, connected
from escalade.simulator.load.driver import Driven, Tick, drive
from escalade.simulator.load.fitting import CLIENTS, Answers, Fit, fit
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
    driven = _driven(target, plan, progress)
    return report_of(plan, driven, info, address=target.address, prompts=len(set(target.prompts)))


def fit_load(target: Target, plan: Plan, *, progress: Tick = lambda done, total: None) -> Fit:
    """Ask a server in closed loops of more and more clients, and fit what batching costs.

    Args:
        target: whom, and what.
        plan: of each loop, but for its clients.
        progress: told (done, total), in loops.

    Raises:
        CloudError: nobody answers there, or an argument is malformed.
        LoadError: a loop got no answer.
    """
    target.info(plan.deadline_s)
    loops = {}
    for done, clients in enumerate(CLIENTS):
        loop = msgspec.structs.replace(plan, clients=clients, rate=None)
        loops[clients] = _answers(_driven(target, loop, lambda done, total: None))
        progress(done + 1, len(CLIENTS))
    return fit(loops)


def _driven(target: Target, plan: Plan, progress: Tick) -> Driven:
    async def run() -> Driven:
        async with connected(target, plan.clients or _CONNECTIONS) as caller:
            return await drive(plan, len(target.prompts), caller.ask, progress)

    return asyncio.run(run())


def _answers(driven: Driven) -> Answers:
    """Tokens and seconds of what was measured and answered."""
    measured = [
        (one.said.tokens, one.ended_s - one.sent_s)
        for one in driven.asked
        if one.due_s >= driven.from_s and not one.said.reason
    ]
    return np.array(measured, dtype=np.float64).reshape(-1, 2)
