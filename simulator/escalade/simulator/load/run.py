"""One run against a live server, from its plan to its report."""

from __future__ import annotations

import asyncio

import msgspec
import numpy as np

from escalade.simulator.errors import LoadError
from escalade.simulator.load.caller import Target, connected
from escalade.simulator.load.driver import Asked, Driven, Tick, drive
from escalade.simulator.load.fitting import CLIENTS, Answers, Fit, fit
from escalade.simulator.load.loaded_fit import LoadedFit, Queue, fit_loaded
from escalade.simulator.load.plan import Plan
from escalade.simulator.load.report import LoadReport, report_of
from escalade.simulator.network import FineLoop

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


def fit_load_at(
    target: Target, plan: Plan, queue: Queue, *, progress: Tick = lambda done, total: None
) -> LoadedFit:
    """Ask a server as one client, then in an open loop, and fit what a query beside another costs.

    Args:
        target: whom, and what.
        plan: of the open loop; the client asks as long.
        queue: of a fleet's replica.
        progress: told (done, total), in loops.

    Raises:
        CloudError: nobody answers there, or an argument is malformed.
        LoadError: a loop got no answer.
    """
    if plan.rate is None:
        raise LoadError("rate: must be above 0 and finite, got none: a load has one")
    target.info(plan.deadline_s)
    loops = []
    for done, loop in enumerate((msgspec.structs.replace(plan, clients=1, rate=None), plan), 1):
        loops.append(_driven(target, loop, lambda done, total: None))
        progress(done, 2)
    alone, loaded = loops
    # As they were sent: answers come in another order.
    loaded = loaded._replace(asked=sorted(loaded.asked, key=lambda one: one.sent_s))
    sent_s = np.array([one.sent_s for one in _measured(loaded)])
    return fit_loaded(_answers(alone), sent_s, _answers(loaded), rate=plan.rate, queue=queue)


def _driven(target: Target, plan: Plan, progress: Tick) -> Driven:
    async def run() -> Driven:
        async with connected(target, plan.clients or _CONNECTIONS) as caller:
            return await drive(plan, len(target.prompts), caller.ask, progress)

    # asyncio's own sleeps up to a millisecond too long, which would count as the server's.
    with asyncio.Runner(loop_factory=FineLoop) as runner:
        return runner.run(run())


def _answers(driven: Driven) -> Answers:
    """Tokens and seconds of what was measured and answered."""
    measured = [(one.said.tokens, one.ended_s - one.sent_s) for one in _measured(driven)]
    return np.array(measured, dtype=np.float64).reshape(-1, 2)


def _measured(driven: Driven) -> list[Asked]:
    return [one for one in driven.asked if one.due_s >= driven.from_s and not one.said.reason]
