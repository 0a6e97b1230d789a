"""What a policy keeps on the device of a trace's queries; knows no goal and no threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from escalade.edge.calibration.gates.climb import Floats
from escalade.edge.cascade import Cascade
from escalade.edge.deferral import PolicyEntry
from escalade.edge.errors import CalibrationError
from escalade.edge.policy import ContentPolicy, PolicyTable, content_sha256
from escalade.edge.trace import TraceRecord


class Kept(NamedTuple):
    """What is kept of n queries."""

    #: None where nothing is.
    entry: PolicyEntry | None
    #: `(n,)` how likely each stays where it is due; None where nothing is kept.
    stays: Floats | None
    #: The lowest tier elsewhere; as many as there are tiers where none is.
    first_elsewhere: int


def kept_of(
    cascade: Cascade, table: PolicyTable | None, records: Sequence[TraceRecord], blocked: float
) -> Kept:
    """Hold every query of a trace against the content of a policy, and count in a share.

    Args:
        cascade: whose tiers they are.
        table: the file's policy; None: it has none.
        records: n, whole.
        blocked: of those that the content lets go, the share that stays all the same, in [0, 1]:
            independently of what is asked.

    Raises:
        CalibrationError: the share is out of range, or a tier on this device is above one
            elsewhere.
    """
    if not 0.0 <= blocked <= 1.0:
        raise CalibrationError(f"the share of blocked queries must be in [0, 1], got {blocked}")
    if table is not None and table.send == "never":
        blocked = 1.0
    there = [tier.place != "device" for tier in cascade.tiers]
    first = there.index(True) if True in there else len(there)
    digest = content_sha256(table)
    if first == len(there) or not (digest or blocked):
        return Kept(None, None, first)
    if not first or not all(there[first:]):
        raise CalibrationError(
            "a policy is calibrated where the tiers on this device are all below those elsewhere,"
            " and there is one; the first elsewhere is"
            f" {cascade.tiers[first].name!r}"
        )
    kept = np.zeros(len(records))
    if table is not None:
        content = ContentPolicy(table)
        kept += [content.keeps(_sent(one, first), one.task) for one in records]
    return Kept(
        PolicyEntry(content_sha256=digest, kept=float(kept.mean()), blocked=blocked),
        np.maximum(kept, blocked),
        first,
    )


def _sent(record: TraceRecord, first: int) -> list[str]:
    """The prompt, and the draft: what a tier of one model below says goes along."""
    below = record.tiers[first - 1]
    draft = [below.text] if below is not None and len(below.members) == 1 else []
    return [record.prompt, *draft]
