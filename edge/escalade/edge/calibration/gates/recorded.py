"""A trace of a cascade as calibration wants it: scores, who is right, costs; knows no goal."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from msgspec import UNSET

from escalade.edge.base import counted, subsample
from escalade.edge.calibration.data import check_same, fair_sample, unfinished, without_references
from escalade.edge.calibration.gates.climb import Sample
from escalade.edge.calibration.gates.columns import column_of
from escalade.edge.calibration.gates.kept import kept_of
from escalade.edge.cascade import Cascade
from escalade.edge.cascade_file import CascadeFile, TierTable, addressed_members, all_members
from escalade.edge.deferral import CostUnit, PolicyEntry
from escalade.edge.errors import CalibrationError
from escalade.edge.trace import (
    TierAnswer,
    TierInfo,
    TraceHeader,
    TraceRecord,
    at_price,
    is_ensemble,
    read_trace,
)


class RecordedQueries(NamedTuple):
    """Queries that every tier of a cascade has answered."""

    sample: Sample
    #: What their costs are counted in.
    unit: CostUnit
    #: What they were read from, and how many records of it were looked at.
    source: Path
    sha256: str
    asked: int
    #: Whether the trace names the program of every member on this device.
    identified: bool
    prompts: list[str]
    #: What a policy keeps of them; None: nothing.
    policy: PolicyEntry | None = None


def recorded_queries(
    cascade: Cascade,
    content: CascadeFile,
    trace: Path,
    *,
    unit: CostUnit | None = None,
    judged: bool,
    limit: int | None = None,
    blocked: float = 0.0,
) -> RecordedQueries:
    """Take what every tier said from a trace, after asking the members a few queries again.

    Rules and costs are those of the cascade as it stands now: the file's prices, and its word on
    what runs side by side. A vote asks no further than its decision takes; where members run side
    by side, all of them are paid for.

    Args:
        cascade: opened, of 2 tiers or more; whatever its thresholds.
        content: what its file says.
        trace: of `escalade record` through it.
        unit: of costs; None takes FLOPs, or calls where a model does not say how large it is.
        judged: whether it must say of all answers whether they are right.
        limit: use that many queries, evenly spread over the trace; all if None.
        blocked: of queries that are due and that the content of the file's policy lets go, the
            share that link, battery, budget or a person keep here, in [0, 1].

    Raises:
        DataError: the trace cannot be read.
        CalibrationError: it is another cascade's, or lacks what is asked for; or a policy keeps
            queries from a tier elsewhere below one on this device.
    """
    digest = hashlib.sha256()
    header, recorded = read_trace(trace, digest)
    _check_tiers(cascade, content, trace, header)
    names = [f"tier {tier.name!r}" for tier in cascade.tiers]
    asked = subsample(recorded, limit)
    records = fair_sample(trace, asked, names)
    for place, tier in enumerate(cascade.tiers):
        for record in records:
            if not _is_whole(_said(record, place), header.tiers[place], len(tier.opened)):
                raise unfinished(trace, record, f"the answer of {names[place]}")
    _check_members(cascade, trace, header, records)
    infos = [_priced(*both) for both in zip(header.tiers, content.tiers, strict=True)]
    unit = unit or _default_unit(infos)
    _check_unit(trace, infos, unit)
    columns = [
        column_of(
            info,
            gate,
            [_said(record, place) for record in records],
            [record.references for record in records],
            unit,
            last=place == len(infos) - 1,
        )
        for place, (info, gate) in enumerate(zip(infos, cascade.gates, strict=True))
    ]
    right = np.array([column.right for column in columns], dtype=object).T
    known = None not in right
    if judged and not known:
        raise without_references(trace)
    policy, stays, first = kept_of(cascade, content.policy, records, blocked)
    sample = Sample(
        scores=np.array([column.scores for column in columns[:-1]]).T,
        right=right.astype(np.bool_) if known else None,
        costs=[column.costs for column in columns],
        levels=[column.levels for column in columns[:-1]],
        stays=stays,
        first_elsewhere=first,
    )
    here = [one for info in header.tiers if info.place == "device" for one in info.members]
    identified = all(member.program_sha256 is not None for member in here)
    return RecordedQueries(
        sample=sample,
        unit=unit,
        source=trace,
        sha256=digest.hexdigest(),
        asked=len(asked),
        identified=identified,
        prompts=[record.prompt for record in records],
        policy=policy,
    )


def _check_tiers(cascade: Cascade, content: CascadeFile, trace: Path, header: TraceHeader) -> None:
    there = [
        _described(
            len(info.members) if info.place == "device" or is_ensemble(info) else 0,
            here=info.place == "device",
        )
        for info in header.tiers
    ]
    ours = [
        _described(len(tier.opened) or len(table.members), here=tier.place == "device")
        for tier, table in zip(cascade.tiers, content.tiers, strict=True)
    ]
    if len(there) != len(ours):
        raise CalibrationError(
            f"{trace}: recorded with another cascade: of {len(there)} tiers, not {len(ours)}"
        )
    for tier, now, was in zip(cascade.tiers, ours, there, strict=True):
        if now != was:
            raise CalibrationError(
                f"{trace}: recorded with another cascade: tier {tier.name!r} was {was}, not {now}"
            )


def _described(members: int, *, here: bool) -> str:
    where = "here" if here else "elsewhere"
    return f"of {counted(members, 'member')} {where}" if members else where


def _check_members(
    cascade: Cascade, trace: Path, header: TraceHeader, records: Sequence[TraceRecord]
) -> None:
    """Hold every member on this device against what the trace says of it."""
    for place, (tier, info) in enumerate(zip(cascade.tiers, header.tiers, strict=True)):
        for index, member in enumerate(tier.opened):
            said = [(record.prompt, _said(record, place).members[index]) for record in records]
            spoke = [one for one in said if one[1].text is not None]
            if spoke:
                check_same(member.artifact, trace, info.members[index], spoke, member.draw)


def _said(record: TraceRecord, place: int) -> TierAnswer:
    answer = record.tiers[place]
    assert answer is not None  # noqa: S101 - a fair sample has them all
    return answer


def _is_whole(answer: TierAnswer, info: TierInfo, here: int) -> bool:
    """Whether nobody was stopped, and all members spoke or failed, in their places.

    A gateway may be of several models, not all of which a query came to; and models elsewhere need
    not say log-probabilities.
    """
    several = is_ensemble(info)
    spoke = [
        one.member
        for one in answer.members
        if (one.text is not None and (one.logprobs or not here))
        or (several and one.failed is not UNSET)
    ]
    wanted = len(info.members) if several else here
    return not answer.stopped_early and (not wanted or spoke == list(range(wanted)))


def _priced(info: TierInfo, table: TierTable) -> TierInfo:
    """A tier of a trace, at the prices and weights of the file as it is now."""
    if table.address is not None:
        now = [(table.prompt_price, table.generated_price, 1.0)] * len(info.members)
    else:
        entries = all_members(table) * (table.samples or 1)
        now = [(one.prompt_price, one.generated_price, one.weight) for one in entries]
    members = [
        msgspec.structs.replace(at_price(member, read, written), weight=weight)
        for member, (read, written, weight) in zip(info.members, now, strict=True)
    ]
    together = table.side_by_side or bool(addressed_members(table))
    return msgspec.structs.replace(info, members=members, side_by_side=together)


def _default_unit(infos: Sequence[TierInfo]) -> CostUnit:
    known = all(member.parameters for info in infos for member in info.members)
    return "flops" if known else "calls"


def _check_unit(trace: Path, infos: Sequence[TierInfo], unit: CostUnit) -> None:
    members = [member for info in infos for member in info.members]
    unknown = [member.name for member in members if not member.parameters]
    if unit == "flops" and unknown:
        raise CalibrationError(
            f"{trace}: model {unknown[0]!r} does not say how many parameters it has, so that a cost"
            " in FLOPs is not known; count calls, or money"
        )
    if unit == "money" and not any(one.prompt_price or one.generated_price for one in members):
        raise CalibrationError(
            "a cost in money needs prices: give prompt_price and generated_price of at least 1"
            " member in the cascade's file"
        )
