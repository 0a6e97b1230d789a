"""The record of a query through a cascade, schema 2; knows no file, no model, no network.

A trace has a `TraceHeader` (the tiers, with their members and gates) and one `TraceRecord` for
each query, with all that is needed to replay it under other rules, thresholds, networks, prices
or ensembles. Times are seconds, log-probabilities natural logarithms.

Costs count every member that ran: a `TierAnswer` lists them, and nothing else in a record says
what a tier cost. The latency of members that run side by side is the slowest's, of those that
run one after the other their sum.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Literal, NamedTuple

import msgspec

TRACE_SCHEMA = 2

#: How an answered query ended. The fourth way, refused, is an error and leaves no record.
Outcome = Literal["answered", "deferred", "degraded"]
#: Where a tier runs.
Place = Literal["device", "gateway", "cloud"]

#: Sums and products of those that a float still tells apart.
Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 53)]
#: Money for a million tokens, in the header's currency.
Price = Annotated[float, msgspec.Meta(ge=0.0)]
Weight = Annotated[float, msgspec.Meta(gt=0.0, le=sys.float_info.max)]


class Line(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A part of a line of a trace."""


class MemberInfo(Line, frozen=True, kw_only=True):
    """One model of a tier, and what it costs: FLOPs a token are 2 x `parameters`."""

    name: str
    #: Of a linear classifier those that one n-gram meets: one for each class.
    parameters: Count
    #: One digest over what decides an artifact's answers (`program_digest`); None of a model
    #: that answers elsewhere, and in traces of earlier versions.
    program_sha256: str | None = None
    #: sha256 over the weights of a model that answers elsewhere, as its server says; None where it
    #: does not say, of an artifact, and in traces of earlier versions.
    revision: str | None = None
    prompt_price: Price = 0.0
    generated_price: Price = 0.0
    #: Money for an hour in which it computes, beside that for tokens; unset as it is recorded.
    hour_price: Price | msgspec.UnsetType = msgspec.UNSET
    #: Of its voice among those of its tier; above 0, and only proportions count.
    weight: Weight = 1.0
    #: Of a member that is a gateway of several models: all of them, as it says.
    models: list[MemberInfo] | msgspec.UnsetType = msgspec.UNSET


class TierInfo(Line, frozen=True, kw_only=True):
    """Who a tier is, and the gate after it."""

    name: str
    place: Place
    #: In the order they are asked.
    members: list[MemberInfo]
    #: Whether members run at the same time; else one after the other.
    side_by_side: bool = False
    #: The deferral rule; None where the last tier has none.
    rule: str | None = None
    #: tau; None after the last tier, or where it is not calibrated.
    threshold: float | None = None


class TraceHeader(Line, frozen=True, kw_only=True):
    """The first line: what holds for every record."""

    schema: int
    #: From the one that is asked first to the last.
    tiers: list[TierInfo]
    currency: str = "USD"
    created: str


class DraftUse(Line, frozen=True, kw_only=True):
    """What became of a draft, as the tier that was sent it says."""

    #: Tokens that stand.
    accepted: Count
    #: Of those, how many are not the large model's own choice.
    lenient: Count = 0
    #: The acceptance rule that was applied, and its alpha; None where it was equality.
    rule: str | None = None
    alpha: float | None = None


class Link(Line, frozen=True, kw_only=True):
    """What a call over a link cost."""

    #: How often the query was sent.
    attempts: int = 1
    #: From the first attempt to the answer, as the caller saw it.
    round_trip_s: float
    #: Queue and compute, as the server says; the rest of the round trip is network.
    server_s: float
    #: Serialized messages, without gRPC, TCP and IP framing; both where it was asked twice at once.
    bytes_up: Count
    #: How many of `bytes_up` are the draft of the tier below.
    draft_bytes: Count = 0
    bytes_down: Count
    #: None where no draft went along, and in traces of earlier versions.
    draft: DraftUse | None = None


class Hop(Line, frozen=True, kw_only=True):
    """What a gateway says of a tier that a query went through behind it (`TierReport`)."""

    tier: str
    place: Place
    model: str
    score: float | None = None
    threshold: float | None = None
    seconds: float = 0.0
    #: Why it did not answer; empty where it did.
    reason: str = ""
    #: Of its members, those that gave no answer, each with why.
    silent: list[str] | msgspec.UnsetType = msgspec.UNSET


class MemberCall(Line, frozen=True, kw_only=True):
    """What the call to a member elsewhere came to."""

    link: Link
    #: Of a gateway: the tiers behind it, in the order the query went through them.
    hops: list[Hop] = []
    #: And where it has several models, those that ran, by their places in `MemberInfo.models`.
    models: list[MemberAnswer] = []


class MemberAnswer(Line, frozen=True, kw_only=True):
    """What one member said, and what that took."""

    #: Its place in the header's members of the tier.
    member: Count
    #: None where it failed or was stopped, or where a gateway says only that it ran.
    text: str | None
    #: Log-probability of each generated token, the end-of-sequence token included; empty where
    #: they did not travel.
    logprobs: list[float]
    prompt_tokens: Count
    generated_tokens: Count
    seconds: float
    #: Whether the text is among the references; None where there are none, or where the text
    #: was not finished.
    correct: bool | None = None
    #: Of a classifier on this device, the log-probability of each label.
    classes: dict[str, float] | msgspec.UnsetType = msgspec.UNSET
    #: Why it failed: it has no answer, and the others go on.
    failed: str | msgspec.UnsetType = msgspec.UNSET
    #: `seconds` as they are when the query is not recorded: with the draft that the member reads
    #: then, or behind others that read one. Unset where no draft is read, and in traces of earlier
    #: versions.
    drafted_s: float | msgspec.UnsetType = msgspec.UNSET
    #: Of a member elsewhere that was sent the query.
    call: MemberCall | msgspec.UnsetType = msgspec.UNSET


class TierAnswer(Line, frozen=True, kw_only=True):
    """What a tier said, whoever of its members was asked."""

    text: str
    #: Those that were asked, in order; at least 1.
    members: list[MemberAnswer]
    #: r(x) under the header's rule of this tier; of a response that was stopped early, or a vote
    #: that was decided early, the bound that decided (without a threshold the most that it may be).
    #: None where the tier has no rule.
    score: float | None
    correct: bool | None
    #: From the query's coming to the tier to its answer, as the caller saw it.
    seconds: float
    #: It ended because the query would be deferred: text and log-probabilities are those of the
    #: beginning, and no rule or threshold but the header's can be told from them.
    stopped_early: bool = False
    #: Where a link was crossed to the tier; those to members elsewhere are theirs (`links_of`).
    link: Link | None = None
    #: The tiers behind a gateway, in the order the query went through them.
    hops: list[Hop] = []


class TraceRecord(Line, frozen=True, kw_only=True):
    """One query, whole."""

    id: str
    task: str
    prompt: str
    references: list[str]
    #: One for each tier of the header; None of a tier that was not asked or did not answer. In
    #: shadow mode all are asked.
    tiers: list[TierAnswer | None]
    #: Which tier's answer stands.
    answered_by: Count
    outcome: Outcome
    #: Seconds from the prompt to the answer, as the caller saw it.
    total_s: float
    #: Why a tier that was due did not answer.
    reason: str | None = None


class Trace(NamedTuple):
    """A whole trace in memory."""

    header: TraceHeader
    records: list[TraceRecord]


def is_correct(text: str, references: Sequence[str]) -> bool | None:
    """Whether the text is among the references; None where there are none."""
    return text in references if references else None


def latency_s(
    members: Sequence[MemberAnswer], *, side_by_side: bool, drafted: bool = False
) -> float:
    """How long members that were asked take together, on devices of their own speed each.

    Args:
        members: that were asked.
        side_by_side: at the same time.
        drafted: with the drafts that they read live, where the trace says it.
    """
    each = [
        member.drafted_s if drafted and member.drafted_s is not msgspec.UNSET else member.seconds
        for member in members
    ]
    return max(each) if side_by_side else sum(each)


def links_of(answer: TierAnswer) -> list[Link]:
    """The links that were crossed to a tier: its own, or those to its members; none on a device."""
    if answer.link is not None:
        return [answer.link]
    return [one.call.link for one in answer.members if one.call is not msgspec.UNSET]


def models_of(answer: MemberAnswer, member: MemberInfo) -> list[tuple[MemberAnswer, MemberInfo]]:
    """The models that ran for a member's answer: itself, or those of a gateway of several."""
    if answer.call is msgspec.UNSET or member.models is msgspec.UNSET:
        return [(answer, member)]
    return [(one, member.models[one.member]) for one in answer.call.models]


def at_price(member: MemberInfo, read: float, written: float) -> MemberInfo:
    """The same at other prices for a million tokens, and so all models of a gateway."""
    models = member.models
    if models is not msgspec.UNSET:
        models = [at_price(one, read, written) for one in models]
    return msgspec.structs.replace(
        member, prompt_price=read, generated_price=written, models=models
    )


def flops_of(answer: MemberAnswer, member: MemberInfo) -> float:
    """What a member's answer took: 2 x parameters for each token, read or written."""
    return sum(
        2.0 * model.parameters * (ran.prompt_tokens + ran.generated_tokens)
        for ran, model in models_of(answer, member)
    )


def money_of(answer: MemberAnswer, member: MemberInfo) -> float:
    """What a member's answer cost, in the header's currency: its tokens, and its seconds."""
    models = models_of(answer, member)
    parts = (
        ran.prompt_tokens * model.prompt_price + ran.generated_tokens * model.generated_price
        for ran, model in models
    )
    hours = (
        _computed_s(ran) * model.hour_price
        for ran, model in models
        if model.hour_price is not msgspec.UNSET
    )
    return sum(parts) / 1e6 + sum(hours) / 3600


def _computed_s(answer: MemberAnswer) -> float:
    """How long a model computed; of one elsewhere what its server says, without the call."""
    return answer.seconds if answer.call is msgspec.UNSET else answer.call.link.server_s
