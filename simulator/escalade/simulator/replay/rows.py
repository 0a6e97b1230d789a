"""Turns replays into the rows of a summary; replays nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import msgspec
import numpy as np

from escalade.edge.trace import Trace
from escalade.simulator.recorded import Floats, flops, money
from escalade.simulator.replay.course import Course, Crossed
from escalade.simulator.replay.latency import latency_of
from escalade.simulator.replay.replay import Replay
from escalade.simulator.replay.setting import Setting
from escalade.simulator.replay.summary import (
    DegradedRow,
    LinkRow,
    NetworkRow,
    PointRow,
    Spent,
    TierRow,
    TierShare,
    TraceRow,
)


def trace_row(name: str, trace: Trace, course: Course) -> TraceRow:
    """A trace, as it was recorded."""
    tiers = [
        TierRow(
            name=tier.name,
            place=tier.place,
            members=[member.name for member in tier.members],
            parameters=sum(member.parameters for member in tier.members),
            rule=tier.rule,
            threshold=tier.threshold,
            accuracy=None if course.correct is None else float(course.correct[k].mean()),
        )
        for k, tier in enumerate(trace.header.tiers)
    ]
    return TraceRow(
        name=name,
        queries=len(trace.records),
        tiers=tiers,
        created=trace.header.created,
        currency=trace.header.currency,
    )


def point_row(name: str, replay: Replay, costs: Mapping[str, list[Floats]]) -> PointRow:
    """One choice of thresholds, with what each tier's answers cost, by cost model."""
    spent = {
        model: Spent(
            cascade=float(replay.climb.spent(tables).mean()),
            last_only=float(tables[-1][-1].mean()),
        )
        for model, tables in costs.items()
    }
    if replay.spared is not None and flops.name in spent:
        whole = spent[flops.name]
        spent[flops.name] = msgspec.structs.replace(
            whole, cascade=whole.cascade - float(spared_flops(replay).mean())
        )
    return PointRow(
        trace=name,
        thresholds=list(replay.thresholds),
        tiers=_tier_shares(replay),
        kept=None if replay.course.kept is None else float(replay.climb.stays.mean()),
        accuracy=replay.accuracy,
        calls=replay.calls,
        calls_saved=replay.calls_saved,
        bytes_saved=replay.bytes_saved,
        tokens_saved=replay.tokens_saved,
        last_only_bytes_up=replay.last_only_bytes_up,
        last_only_bytes_down=replay.last_only_bytes_down,
        flops=spent.get(flops.name),
        money=spent.get(money.name),
    )


def spared_flops(replay: Replay) -> Floats:
    """FLOPs of the tokens that answers which end early are shorter by: `(N,)`."""
    assert replay.spared is not None  # noqa: S101 - who asks has looked
    parameters = [sum(one.parameters for one in tier.info.members) for tier in replay.course.tiers]
    return np.asarray((2.0 * np.array(parameters)[:, None] * replay.spared).sum(axis=0))


def _tier_shares(replay: Replay) -> list[TierShare]:
    reached, members = replay.climb.reached, replay.members
    return [
        TierShare(
            name=tier.info.name,
            asked=float(reached[k].mean()),
            answered=float((replay.answered_by == k).mean()),
            members=float(members[k][reached[k]].mean()) if reached[k].any() else None,
            bytes_up=int(replay.bytes_up[k]),
            bytes_down=int(replay.bytes_down[k]),
        )
        for k, tier in enumerate(replay.course.tiers)
    ]


def network_row(name: str, replay: Replay, setting: Setting) -> NetworkRow:
    """One choice of thresholds on its network."""
    return NetworkRow(
        trace=name,
        thresholds=list(replay.thresholds),
        network=replay.course.network.name,
        cascade=latency_of(replay.cascade_s),
        last_only=latency_of(replay.course.last_only_s),
        joules=_spent(replay.joules, replay.course.spending.alone_j),
        link_money=_spent(replay.link_money, replay.course.spending.alone_money),
        links=list(_link_rows(replay)),
        degraded=None if setting.deadline_s == math.inf else _degraded(replay, setting.deadline_s),
        asked_again=None if setting.hedge_after_s == math.inf else _asked_again(replay),
    )


def _asked_again(replay: Replay) -> float:
    calls = replay.climb.reached & (replay.course.bytes_up > 0)
    return float((calls & replay.course.again).sum() / max(1, calls.sum()))


def _degraded(replay: Replay, deadline_s: float) -> DegradedRow:
    degraded = replay.climb.degraded
    return DegradedRow(
        deadline_s=deadline_s,
        share=float(degraded.mean()),
        accuracy=replay.accuracy,
        late_accuracy=replay.late_accuracy,
        late=latency_of(replay.late_s[degraded]) if degraded.any() else None,
        last_only_lost=float(replay.course.last_only_lost.mean()),
    )


def _spent(cascade: Floats | None, alone: Floats | None) -> Spent | None:
    if cascade is None or alone is None:
        return None
    return Spent(cascade=float(cascade.mean()), last_only=float(alone.mean()))


def _link_rows(replay: Replay) -> Iterator[LinkRow]:
    course, reached = replay.course, replay.climb.reached

    def mean(of_calls: Floats | None, k: int) -> float | None:
        if of_calls is None or np.isnan(of_calls[k]).any():
            return None
        return float(np.where(reached[k], of_calls[k], 0.0).mean())

    for k, tier in enumerate(course.tiers):
        if course.bytes_up[k].any():
            links = Crossed.on(course.network, tier.info)
            own = (met[0].name for answer in tier.answers for _, met in links.calls(answer))
            yield LinkRow(
                tier=tier.info.name,
                profile=", ".join(dict.fromkeys(own)),
                joules=mean(course.spending.links_j, k),
                money=mean(course.spending.money, k),
            )
