"""What a gateway says of its tiers, and of those that a query went through; asks no query."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from escalade.edge.cascade import Cascade, members_if_known
from escalade.edge.deferral import Gate
from escalade.edge.run import Run
from escalade.edge.tiers import Said, Tier
from escalade.edge.trace import MemberAnswer, MemberInfo
from escalade.v1 import cascade_pb2 as pb
from escalade.v1.quoting import one_line

_PLACES = {
    # What is on this machine is the gateway's, seen from a device.
    "device": pb.PLACE_GATEWAY,
    "gateway": pb.PLACE_GATEWAY,
    "cloud": pb.PLACE_CLOUD,
}


def describe(cascade: Cascade) -> tuple[pb.TierDescription, ...]:
    """Every tier with its models; one elsewhere that is silent just now has none."""
    return tuple(
        pb.TierDescription(
            tier=tier.name,
            place=_PLACES[tier.place],
            members=[_member(model) for info in members_if_known(tier) for model in _models(info)],
        )
        for tier in cascade.tiers
    )


def reports_of(cascade: Cascade, run: Run) -> tuple[pb.TierReport, ...]:
    """The tiers that a query went through, those that did not answer too, in order."""
    return tuple(
        report
        for index, (tier, gate) in enumerate(zip(cascade.tiers, cascade.gates, strict=True))
        for report in _reports(tier, gate, run.said[index], run.failed.get(index))
    )


def _reports(
    tier: Tier, gate: Gate | None, said: Said | None, failed: Exception | None
) -> Iterator[pb.TierReport]:
    if said is None:
        if failed is not None:
            reason = " ".join(str(failed).split())
            yield pb.TierReport(tier=tier.name, place=_PLACES[tier.place], reason=reason)
        return
    answer = said.answer
    own = pb.TierReport(
        tier=tier.name,
        place=_PLACES[tier.place],
        rule="" if gate is None else gate.rule.name,
        score=answer.score,
        threshold=None if gate is None else gate.threshold,
        seconds=answer.seconds,
    )
    if len(said.reports) > 1:  # another gateway, which hides nothing either
        yield from said.reports
        return
    if said.reports:
        own.members.extend(said.reports[0].members)
    if not own.members:
        infos = members_if_known(tier)
        for one in answer.members:
            info = infos[one.member] if one.member < len(infos) else None
            own.members.append(_member(info, one, said.source.name))
    yield own


def _models(info: MemberInfo) -> Sequence[MemberInfo]:
    return [info] if info.models is msgspec.UNSET else info.models


def _member(
    info: MemberInfo | None, ran: MemberAnswer | None = None, name: str = ""
) -> pb.MemberReport:
    report = pb.MemberReport(
        model=pb.ModelIdentity(name=name if info is None else info.name),
        parameter_count=0 if info is None else info.parameters,
    )
    if ran is not None:
        report.prompt_tokens = ran.prompt_tokens
        report.generated_tokens = ran.generated_tokens
        report.seconds = ran.seconds
        if ran.failed is not msgspec.UNSET:
            report.reason = one_line(ran.failed)
    return report
