"""A tier behind a link: a large model, or a gateway with tiers of its own; knows no rule."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

import msgspec

from escalade.edge.deferral import DeferralRule, Gate
from escalade.edge.errors import CloudError
from escalade.edge.generation import Delta, StopReason
from escalade.edge.tiers.budget import link_deadline_s
from escalade.edge.tiers.prompts import Member, Prompts
from escalade.edge.tiers.request import (
    AS_TOKENS,
    Drafts,
    PromptForm,
    check_text,
    prompt_of,
    request_of,
    rule_name,
)
from escalade.edge.tiers.tier import Call, Said, Source
from escalade.edge.trace import (
    DraftUse,
    Hop,
    Link,
    MemberAnswer,
    MemberInfo,
    Place,
    TierAnswer,
    is_correct,
)
from escalade.v1 import cascade_pb2 as pb
from escalade.v1.quoting import one_line
from escalade.v1.reasons import name_of_reason

if TYPE_CHECKING:
    from escalade.edge.wire import CloudClient, Sending

_STOPS: dict[int, StopReason] = {
    pb.STOP_REASON_END_OF_SEQUENCE: "end",
    pb.STOP_REASON_STOP_SEQUENCE: "stop",
}
_PLACES: dict[int, Place] = {pb.PLACE_DEVICE: "device", pb.PLACE_GATEWAY: "gateway"}


class RemoteTier:
    """Models of another machine, spoken to in a device's tokens or in text."""

    side_by_side = False
    opened: tuple[Member, ...] = ()

    def __init__(
        self,
        client: CloudClient,
        *,
        name: str = "cloud",
        place: Place = "cloud",
        reader: Member | None = None,
        prompt_form: PromptForm = "tokens",
        prompt_price: float = 0.0,
        generated_price: float = 0.0,
        drafts: Drafts = AS_TOKENS,
    ) -> None:
        """Put a channel and a tokenizer together.

        Args:
            client: the channel.
            name: what the tier is called.
            place: where it is.
            reader: whose token ids are sent; None, or a classifier, sends ids only where the
                query came as ids.
            prompt_form: send token ids (the server shares the reader's tokenizer) or text.
            prompt_price: money for a million tokens that the tier reads, >= 0.
            generated_price: money for a million tokens that it writes, >= 0.
            drafts: how the answer of the tier below goes along.
        """
        self.name = name
        self.place = place
        self.client = client
        self._reader = None
        if reader is not None and reader.fingerprint:
            self._reader = reader
            client.knows(reader.fingerprint, reader.artifact.manifest.model.vocabulary_size)
        self._prompt_form, self._drafts = prompt_form, drafts
        self._prompt_price, self._generated_price = prompt_price, generated_price
        self._members: list[tuple[str, MemberInfo]] = []
        # Names and revisions of the models that may answer, once it was asked who they are.
        self._expected: set[tuple[str, str]] = set()
        # Who it is itself, which for a gateway is none of its models.
        self._identity: pb.ModelIdentity | None = None
        #: Its weights and what computes with them; None of several models, and until it is asked.
        self.content: tuple[str, str] | None = None
        # Of models whose revision a gateway does not say: which answered first for a tier of it.
        self._pinned: dict[tuple[str, str], str] = {}
        self._hold = False

    @property
    def deadline_s(self) -> float:
        """See `Tier`."""
        return self.client.deadline_s

    def members(self, *, hold: bool = False) -> list[MemberInfo]:
        """See `Tier`; a gateway names the members of all its tiers."""
        if not self._members:
            self._learn(self.client.model_info())
        self._hold = self._hold or hold
        return [info for _, info in self._members]

    def as_member(self, weight: float, *, hold: bool = False) -> MemberInfo:
        """Who it is as a member of a tier of several; of a gateway, with all its models.

        Raises:
            CloudError: it does not say who it is.
        """
        models = self.members(hold=hold)
        if len(models) == 1:
            return msgspec.structs.replace(models[0], weight=weight)
        assert self._identity is not None  # noqa: S101 - it has said who it is
        return MemberInfo(
            name=self._identity.name,
            parameters=sum(one.parameters for one in models),
            revision=self._identity.revision or None,
            prompt_price=self._prompt_price,
            generated_price=self._generated_price,
            weight=weight,
            models=models,
        )

    def check(self, prompts: Prompts) -> None:
        """See `Tier`."""
        query = prompts.query
        if query.ids or query.messages:
            prompt_of(prompts, self._reader, self._prompt_form)
        else:
            check_text(query.text)

    def ask(self, call: Call) -> Generator[Delta, None, Said | None]:
        """See `Tier`; nothing of it is streamed."""
        yield from ()
        return self.say(call, self.request(call))

    def request(self, call: Call) -> pb.GenerateRequest:
        """What is sent.

        Raises:
            PromptError: the query cannot be sent.
        """
        request = request_of(call, self._reader, self._prompt_form, self._drafts)
        if self._hold and self._identity is not None:
            request.expected_model.CopyFrom(self._identity)
        return request

    def say(
        self, call: Call, request: pb.GenerateRequest, sending: Sending | None = None
    ) -> Said | None:
        """Send a request, and wait for the answer.

        Args:
            call: whose gate may be of several members, of which this is one: the score is theirs.
            request: of it.
            sending: counts what is sent, whatever comes of it.

        Returns:
            None where it was cancelled.

        Raises:
            CloudError: it refused or did not answer.
        """
        began_s = call.elapsed_s()
        answered = self.client.generate(
            request,
            deadline_s=link_deadline_s(call, self.deadline_s, self.name),
            cancelled=call.cancelled,
            sending=sending,
        )
        if answered is None:
            return None
        seconds = call.elapsed_s() - began_s
        response, gate = answered.response, call.gate
        self._check_model(response)
        correct = is_correct(response.text, call.query.references)
        answer = TierAnswer(
            text=response.text,
            members=self._member_answers(response, correct),
            score=None if gate is None else _score(gate, response),
            correct=correct,
            seconds=seconds,
            link=Link(
                attempts=answered.attempts,
                round_trip_s=answered.round_trip_s,
                server_s=response.timing.queue_s + response.timing.compute_s,
                bytes_up=answered.bytes_up,
                draft_bytes=answered.draft_bytes,
                bytes_down=answered.bytes_down,
                draft=_draft_use(response),
            ),
            hops=_hops(response.reports),
        )
        defers = gate is not None and answer.score is not None and gate.defers(answer.score)
        return Said(
            answer,
            defers,
            _STOPS.get(response.stop_reason, "length"),
            Source(
                response.model.name,
                response.model.revision,
                response.model.tokenizer_fingerprint,
                list(response.token_ids),
                list(response.logprobs),
            ),
            reports=list(response.reports),
            degraded=_reason(response.reports) if response.degraded else None,
        )

    def close(self) -> None:
        """Close the channel."""
        self.client.close()

    def _learn(self, info: pb.GetModelInfoResponse) -> None:
        """Keep its members, each with the tier that it belongs to there."""
        self._identity = info.model
        described = [
            (tier.tier, one.model, one.parameter_count)
            for tier in info.tiers
            for one in tier.members
        ] or [(self.name, info.model, info.parameter_count)]
        self.content = None
        if info.model.revision and len(described) == 1:
            self.content = info.model.revision, info.engine
        # Tiers of a gateway that are silent just now have no members, and may answer later.
        if all(tier.members for tier in info.tiers):
            self._expected = {(model.name, model.revision) for _, model, _ in described}
        self._members = [
            (
                tier,
                MemberInfo(
                    name=model.name,
                    parameters=parameters,
                    revision=model.revision or None,
                    prompt_price=self._prompt_price,
                    generated_price=self._generated_price,
                ),
            )
            for tier, model, parameters in described
        ]

    def _check_model(self, response: pb.GenerateResponse) -> None:
        """Hold an answer to what `members` learned; where nobody relies on it, learn anew.

        Raises:
            CloudError: another model answered than a trace's header names, or than the one that
                first answered since for the tier that did.
        """
        model = response.model
        if not model.name:
            return
        known = not self._expected or any(
            model.name == name and (not revision or model.revision == revision)
            for name, revision in self._expected
        )
        if not self._hold:
            if not known:
                self._members, self._expected = [], set()
            return
        named = ", ".join(sorted({name for name, _ in self._expected}))
        if known:
            answered = [report.tier for report in response.reports if not report.reason]
            which = (answered[-1] if answered else "", model.name)
            first = self._pinned.setdefault(which, model.revision)
            if first == model.revision:
                return
            named = f"{model.name} of revision {first[:12]!r}"
        raise CloudError(
            name_of_reason(pb.ERROR_REASON_MODEL_MISMATCH),
            f"{self.client.address}: answered by {model.name!r} of revision"
            f" {model.revision[:12]!r}, which is not what it said it has: {named}",
        )

    def _member_answers(
        self, response: pb.GenerateResponse, correct: bool | None
    ) -> list[MemberAnswer]:
        """Every model that ran, a gateway's tiers one after the other."""
        ran = [
            (report.tier, one)
            for report in response.reports
            for one in report.members
            # One that gave no answer may not have got as far as a token.
            if not one.reason or one.prompt_tokens
        ]
        places = self._places([(tier, one.model.name) for tier, one in ran])
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

    def _places(self, ran: Sequence[tuple[str, str]]) -> list[int]:
        """Where members stand among all of the gateway's; in order, where that is not known."""
        known = [(tier, info.name) for tier, info in self._members]
        places: list[int] = []
        for one in ran:
            free = [k for k, other in enumerate(known) if other == one and k not in places]
            if not free:
                return list(range(len(ran)))
            places.append(free[0])
        return places


def _score(gate: Gate, response: pb.GenerateResponse) -> float | None:
    if not isinstance(gate.rule, DeferralRule):
        return None  # what several agree on is no score of one
    if not response.logprobs:
        return float("nan")  # which defers: nothing is known of the answer
    return gate.rule(list(response.logprobs))


def _draft_use(response: pb.GenerateResponse) -> DraftUse | None:
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


def _hops(reports: Sequence[pb.TierReport]) -> list[Hop]:
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


def _reason(reports: Sequence[pb.TierReport]) -> str:
    """Why the tier that was due did not answer, in the gateway's words, of one line."""
    said = (one_line(report.reason) for report in reports)
    return next(filter(None, said), "no reason was given")
