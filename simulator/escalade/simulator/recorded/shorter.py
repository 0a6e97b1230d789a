"""A trace as that of the cascade that ends at one of its lower tiers; knows no replay."""

from __future__ import annotations

import msgspec

from escalade.edge.trace import TierInfo, Trace, TraceRecord
from escalade.simulator.errors import SimulatorError, unknown


def up_to_tier(trace: Trace, name: str | None) -> Trace:
    """The trace without the tiers above one, which then is the last.

    A query that was answered above counts as answered by the last that is left. Where that one has
    no answer, whichever below it has one stands, degraded; where none has, the record stays as one
    that lacks answers.

    Args:
        trace: its names are those of its tiers.
        name: of the tier, not the first; None is the last as recorded.

    Raises:
        SimulatorError: there is no such tier, or it is the first, with no gate before it.
    """
    if name is None:
        return trace
    header = trace.header
    names = [tier.name for tier in header.tiers]
    if name not in names[1:]:
        first = " (the first, whose gate would be gone)" if name == names[0] else ""
        raise SimulatorError(unknown("--up-to", name, names[1:]) + first)
    last = names.index(name)
    if last == len(names) - 1:
        return trace
    tiers = [*header.tiers[:last], _without_gate(header.tiers[last])]
    return Trace(
        msgspec.structs.replace(header, tiers=tiers),
        [_cut(record, last) for record in trace.records],
    )


def _without_gate(tier: TierInfo) -> TierInfo:
    # Several members agree by the rule, whatever gate there is; of one it is the gate's alone.
    rule = tier.rule if len(tier.members) > 1 else None
    return msgspec.structs.replace(tier, rule=rule, threshold=None)


def _cut(record: TraceRecord, last: int) -> TraceRecord:
    """The record without the tiers above the last, and without what was waited for there."""
    tiers = record.tiers[: last + 1]
    shorter = msgspec.structs.replace(record, tiers=tiers)
    above = record.tiers[last + 1 :]
    if record.answered_by > last:
        passed = above[: record.answered_by - last]
    elif record.answered_by == last and record.outcome == "degraded" and not any(above):
        passed = above
    else:
        return shorter
    if None in passed:  # it waited for one that did not answer, and nothing says how long
        total_s = sum(one.seconds for one in tiers if one is not None)
    else:
        total_s = record.total_s - sum(one.seconds for one in passed if one is not None)
    stands = max((k for k, one in enumerate(tiers) if one is not None), default=0)
    kept = stands == last
    return msgspec.structs.replace(
        shorter,
        answered_by=stands,
        outcome="deferred" if kept else "degraded",
        total_s=max(0.0, total_s),
        reason=None if kept else record.reason,
    )
