"""What a response of a remote says, as a trace keeps it; knows no channel, no gate."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from escalade.edge.generation import StopReason
from escalade.edge.tiers.remote.known import Known
from escalade.edge.tiers.remote.request import rule_name
from escalade.edge.trace import DraftUse, Hop, MemberAnswer, Place
from escalade.v1 import cascade_pb2 as pb
from escalade.v1.quoting import one_line

_STOPS: dict[int, StopReason] = {
    pb.STOP_REASON_END_OF_SEQUENCE: "end",
    pb.STOP_REASON_STOP_SEQUENCE: "stop",
}
_PLACES: dict[int, Place] = {pb.PLACE_DEVICE: "device", pb.PLACE_GATEWAY: "gateway"}


def stop_of(response: pb.GenerateResponse) -> StopReason:
    """Why it ended."""
    return _STOPS.get(response.stop_reason, "length")


def members_of(
    response: pb.GenerateResponse, known: Known, correct: bool | None
) -> list[MemberAnswer]:
    """Every model that ran, a gateway's tiers one after the other.

    Args:
        response: of the remote.
        known: its models.
        correct: whether the answer is right, which is a single model's own.
    """
    ran = [
        (report.tier, one)
        for report in response.reports
        for one in report.members
        # One that gave no answer may not have got as far as a token.
        if not one.reason or one.prompt_tokens
    ]
    places = known.places([(tier, one.model.name) for tier, one in ran])
    if len(ran) < 2:  # noqa: PLR2004 - a single model: what it said is the answer
        return [
            MemberAnswer(
                member=places[0] if places else 0,
                text=response.text,
                logprobs=list(response.logprobs),
                prompt_tokens=response.usage.prompt_tokens,
                generated_tokens=response.usage.generated_tokens,
                seconds=response.timing.compute_s,
                correct=correct,
            )
        ]
    return [
        MemberAnswer(
            member=place,
            text=None,
            logprobs=[],
            prompt_tokens=one.prompt_tokens,
            generated_tokens=one.generated_tokens,
            seconds=one.seconds,
            failed=one_line(one.reason) if one.reason else msgspec.UNSET,
        )
        for place, (_, one) in zip(places, ran, strict=True)
    ]


def draft_use_of(response: pb.GenerateResponse) -> DraftUse | None:
    """What became of the draft, where there was one."""
    if not response.HasField("draft_outcome"):
        return None
    outcome = response.draft_outcome
    applied = outcome.acceptance if outcome.HasField("acceptance") else None
    return DraftUse(
        accepted=outcome.accepted_count,
        lenient=outcome.lenient_count,
        rule=None if applied is None else rule_name(applied.rule),
        alpha=None if applied is None else applied.alpha,
    )


def hops_of(reports: Sequence[pb.TierReport]) -> list[Hop]:
    """What a gateway reports; a server of one model reports itself, which its answer says too."""
    if len(reports) == 1 and reports[0].place == pb.PLACE_CLOUD:
        return []
    return [_hop(report) for report in reports]


def _hop(report: pb.TierReport) -> Hop:
    return Hop(
        tier=report.tier,
        place=_PLACES.get(report.place, "cloud"),
        model=", ".join(one.model.name for one in report.members),
        score=report.score if report.HasField("score") else None,
        threshold=report.threshold if report.HasField("threshold") else None,
        seconds=report.seconds,
        reason=report.reason,
        silent=[f"{one.model.name}: {one_line(one.reason)}" for one in report.members if one.reason]
        or msgspec.UNSET,
    )


def reason_of(reports: Sequence[pb.TierReport]) -> str:
    """Why the tier that was due did not answer, in the gateway's words, of one line."""
    said = (one_line(report.reason) for report in reports)
    return next(filter(None, said), "no reason was given")
