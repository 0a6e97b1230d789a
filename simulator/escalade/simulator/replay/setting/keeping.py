"""What a policy keeps on the device of a trace's queries; knows no threshold, no network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from escalade.edge.cascade_file import read_cascade_file
from escalade.edge.policy import ContentPolicy
from escalade.edge.trace import Trace, TraceRecord
from escalade.simulator.errors import SimulatorError
from escalade.simulator.formats import percent
from escalade.simulator.recorded import Bools

# Of the random numbers that say which queries stay, so that no other draw moves them.
_STREAM = 7


class Keeping(NamedTuple):
    """A policy, as far as a replay can know it."""

    #: What patterns and tasks keep; None: nothing.
    content: ContentPolicy | None = None
    #: Of all others that are due, the share that stays, in [0, 1]: link, battery, budget, consent.
    blocked: float = 0.0

    @property
    def words(self) -> list[str]:
        """What it keeps, a line each."""
        found = []
        if self.content is not None:
            found.append("a policy's patterns and tasks keep queries on the device")
        if self.blocked:
            found.append(f"{percent(self.blocked)} of the queries stay on the device, drawn evenly")
        return found


def keeping_of(path: Path | None, blocked: float) -> Keeping | None:
    """What a replay is to keep; None: nothing.

    Args:
        path: a cascade's file with a policy; None: patterns and tasks keep nothing.
        blocked: see `Keeping`; `send = "never"` makes it 1.

    Raises:
        CascadeError: the file cannot be read.
        SimulatorError: the file has no policy, or the share is out of range.
        ModuleNotFoundError: google-re2 is not there (the extra `policy`).
    """
    if not 0.0 <= blocked <= 1.0:
        raise SimulatorError(f"blocked must be in [0, 1]; got {blocked:g}")
    if path is None:
        return Keeping(None, blocked) if blocked else None
    table = read_cascade_file(path, calibrated=False).policy
    if table is None:
        raise SimulatorError(f"{path}: has no [policy]")
    return Keeping(ContentPolicy(table), 1.0 if table.send == "never" else blocked)


def kept_in(trace: Trace, keeping: Keeping, seed: int) -> Bools:
    """Which queries a policy keeps from which tiers: `(T, N)`, none from those on the device.

    Args:
        trace: whose first tier is on the device.
        keeping: what is kept.
        seed: of the share's draws, which no threshold and no network moves.

    Raises:
        SimulatorError: the first tier is elsewhere, and nobody would answer.
    """
    there = np.array([tier.place != "device" for tier in trace.header.tiers])
    if there[0]:
        name = trace.header.tiers[0].name
        raise SimulatorError(f"a policy needs a first tier on the device; {name!r} is elsewhere")
    stays = np.random.default_rng([seed, _STREAM]).random(len(trace.records)) < keeping.blocked
    if keeping.content is not None:
        first = int(there.argmax()) if there.any() else len(there)
        content = keeping.content
        stays |= [content.keeps(_sent(one, first), one.task) for one in trace.records]
    return np.asarray(there[:, None] & stays)


def _sent(record: TraceRecord, first: int) -> Sequence[str]:
    """The prompt, and the draft: what a tier of one model below says goes along."""
    below = record.tiers[first - 1]
    draft = [below.text] if below is not None and len(below.members) == 1 else []
    return [record.prompt, *draft]
