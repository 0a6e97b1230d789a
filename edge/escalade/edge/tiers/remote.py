"""A tier behind a link: a large model, or a gateway with tiers of its own; knows no rule."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Literal

from escalade.edge.deferral import DeferralRule, Gate
from escalade.edge.errors import CloudError, PromptError
from escalade.edge.generation import Delta, StopReason
from escalade.edge.tiers.prompts import Member, Prompts
from escalade.edge.tiers.tier import Call, Draft, Said, Source
from escalade.edge.trace import (
    Hop,
    Link,
    MemberAnswer,
    MemberInfo,
    Place,
    TierAnswer,
    is_correct,
)
from escalade.edge.wire import CloudClient
from escalade.v1 import cascade_pb2 as pb

PromptForm = Literal["tokens", "text"]

# Of what is left of a query's deadline, the share that is kept for the way back: a gateway whose
# cloud is silent has to answer with what it has while the device still waits.
_KEPT = 0.1

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
    ) -> None:
        """Put a channel and a tokenizer together.

        Args:
            client: the channel.
            name: what the tier is called.
            place: where it is.
            reader: whose token ids are sent; None sends ids only where the query came as ids.
            prompt_form: send token ids (the server shares the reader's tokenizer) or text.
            prompt_price: money for a million tokens that the tier reads, >= 0.
            generated_price: money for a million tokens that it writes, >= 0.
        """
        self.name = name
        self.place = place
        self.client = client
        self._reader = reader
        self._prompt_form = prompt_form
        self._prompt_price, self._generated_price = prompt_price, generated_price
        self._members: list[tuple[str, MemberInfo]] = []

    def members(self) -> list[MemberInfo]:
        """See `Tier`; a gateway names the members of all its tiers."""
        return [info for _, info in self._known()]

    def check(self, prompts: Prompts) -> None:
        """See `Tier`."""
        if prompts.query.messages and (self._reader is None or self._prompt_form == "text"):
            raise PromptError(
                "a conversation travels as tokens of the device's chat template: it cannot be sent"
                " as text"
            )

    def ask(self, call: Call) -> Generator[Delta, None, Said | None]:
        """See `Tier`; nothing of it is streamed."""
        yield from ()
        self.check(call.prompts)
        began_s = call.elapsed_s()
        answered = self.client.generate(
            self._request(call), deadline_s=self._deadline_s(call), cancelled=call.cancelled
        )
        if answered is None:
            return None
        response, gate = answered.response, call.gate
        correct = is_correct(response.text, call.query.references)
        answer = TierAnswer(
            text=response.text,
            members=self._member_answers(response, correct),
            score=None if gate is None else _score(gate, response),
            correct=correct,
            seconds=call.elapsed_s() - began_s,
            link=Link(
                attempts=answered.attempts,
                round_trip_s=answered.round_trip_s,
                server_s=response.timing.queue_s + response.timing.compute_s,
                bytes_up=answered.bytes_up,
                draft_bytes=answered.draft_bytes,
                bytes_down=answered.bytes_down,
            ),
            hops=[_hop(report) for report in response.reports] if len(response.reports) > 1 else [],
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

    def _request(self, call: Call) -> pb.GenerateRequest:
        query = call.query
        request = pb.GenerateRequest(prompt=self._prompt(call.prompts), via=query.via)
        if query.max_new_tokens is not None:
            request.stopping.max_new_tokens = query.max_new_tokens
        if query.stop:
            request.stopping.stop_sequences.extend(query.stop)
        # What decides here needs the log-probabilities; else they need not travel.
        if call.gate is not None:
            request.output.logprobs = True
        if call.draft is not None and request.prompt.WhichOneof("content") == "tokens":
            request.draft.CopyFrom(_draft(call.draft))
        return request

    def _prompt(self, prompts: Prompts) -> pb.Prompt:
        query = prompts.query
        if self._prompt_form == "text" and query.text:
            return pb.Prompt(text=query.text)
        if self._reader is not None:
            return _tokens(prompts.of(self._reader).ids, self._reader.fingerprint)
        if query.ids:
            return _tokens(query.ids, query.tokenizer_fingerprint)
        return pb.Prompt(text=query.text)

    def _deadline_s(self, call: Call) -> float | None:
        """What the link may take, where the query has a deadline of its own.

        Raises:
            CloudError: no time is left.
        """
        if call.query.deadline_s is None:
            return None
        left_s = (call.query.deadline_s - call.elapsed_s()) * (1.0 - _KEPT)
        if left_s <= 0:
            raise CloudError(
                "DEADLINE_EXCEEDED",
                f"{self.name}: no time is left of the query's {call.query.deadline_s:g} s",
            )
        return min(left_s, self.client.deadline_s)

    def _known(self) -> list[tuple[str, MemberInfo]]:
        """Its members, each with the tier that it belongs to there; asked once."""
        if not self._members:
            info = self.client.model_info()
            described = [
                (tier.tier, one.model.name, one.parameter_count)
                for tier in info.tiers
                for one in tier.members
            ] or [(self.name, info.model.name, info.parameter_count)]
            self._members = [
                (
                    tier,
                    MemberInfo(
                        name=name,
                        parameters=parameters,
                        prompt_price=self._prompt_price,
                        generated_price=self._generated_price,
                    ),
                )
                for tier, name, parameters in described
            ]
        return self._members

    def _member_answers(
        self, response: pb.GenerateResponse, correct: bool | None
    ) -> list[MemberAnswer]:
        """Every model that ran, a gateway's tiers one after the other."""
        ran = [(report.tier, one) for report in response.reports for one in report.members]
        if len(ran) < 2:  # noqa: PLR2004 - a single model: what it said is the answer
            return [
                MemberAnswer(
                    member=0,
                    text=response.text,
                    logprobs=list(response.logprobs),
                    prompt_tokens=response.usage.prompt_tokens,
                    generated_tokens=response.usage.generated_tokens,
                    seconds=response.timing.compute_s,
                    correct=correct,
                )
            ]
        places = self._places([(tier, one.model.name) for tier, one in ran])
        return [
            MemberAnswer(
                member=place,
                text=None,
                logprobs=[],
                prompt_tokens=one.prompt_tokens,
                generated_tokens=one.generated_tokens,
                seconds=one.seconds,
            )
            for place, (_, one) in zip(places, ran, strict=True)
        ]

    def _places(self, ran: Sequence[tuple[str, str]]) -> list[int]:
        """Where members stand among all of the gateway's; in order, where it names them not."""
        try:
            known = [(tier, info.name) for tier, info in self._known()]
        except CloudError:
            known = []
        places: list[int] = []
        for one in ran:
            free = [k for k, other in enumerate(known) if other == one and k not in places]
            if not free:
                return list(range(len(ran)))
            places.append(free[0])
        return places


def _score(gate: Gate, response: pb.GenerateResponse) -> float:
    assert isinstance(gate.rule, DeferralRule)  # noqa: S101 - no vote is of one answer
    if not response.logprobs:
        return float("nan")  # which defers: nothing is known of the answer
    return gate.rule(list(response.logprobs))


def _draft(draft: Draft) -> pb.Draft:
    return pb.Draft(
        tokens=pb.TokenSequence(ids=draft.ids, tokenizer_fingerprint=draft.tokenizer_fingerprint),
        logprobs=draft.logprobs,
        score=draft.score,
        threshold=draft.threshold,
        rule=draft.rule,
    )


def _tokens(ids: Sequence[int], fingerprint: str) -> pb.Prompt:
    return pb.Prompt(tokens=pb.TokenSequence(ids=ids, tokenizer_fingerprint=fingerprint))


def _hop(report: pb.TierReport) -> Hop:
    return Hop(
        tier=report.tier,
        place=_PLACES.get(report.place, "cloud"),
        model=", ".join(one.model.name for one in report.members),
        score=report.score if report.HasField("score") else None,
        threshold=report.threshold if report.HasField("threshold") else None,
        seconds=report.seconds,
        reason=report.reason,
    )


def _reason(reports: Sequence[pb.TierReport]) -> str:
    """Why the tier that was due did not answer, in the gateway's words."""
    return next((report.reason for report in reports if report.reason), "no reason was given")
