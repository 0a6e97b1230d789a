"""A tier behind a link: a large model, or a gateway with tiers of its own; knows no rule."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

from escalade.edge.deferral import DeferralRule, Gate
from escalade.edge.errors import PolicyError
from escalade.edge.generation import Delta
from escalade.edge.tiers.prompts import Member, Prompts
from escalade.edge.tiers.remote.budget import link_deadline_s
from escalade.edge.tiers.remote.known import Known
from escalade.edge.tiers.remote.likeliest import likeliest_of
from escalade.edge.tiers.remote.outgoing import Outgoing, leaving_of, redacted
from escalade.edge.tiers.remote.reply import draft_use_of, hops_of, members_of, reason_of, stop_of
from escalade.edge.tiers.remote.request import (
    AS_TOKENS,
    Drafts,
    PromptForm,
    check_text,
    prompt_of,
    request_of,
)
from escalade.edge.tiers.tier import Call, Said, Source
from escalade.edge.trace import Link, MemberInfo, Place, TierAnswer, is_correct
from escalade.v1 import cascade_pb2 as pb

if TYPE_CHECKING:
    from escalade.edge.wire import CloudClient, Sending


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
        self._known = Known(
            name, client.address, prompt_price=prompt_price, generated_price=generated_price
        )

    @property
    def content(self) -> tuple[str, str] | None:
        """See `Known`."""
        return self._known.content

    @property
    def deadline_s(self) -> float:
        """See `Tier`."""
        return self.client.deadline_s

    def members(self, *, hold: bool = False) -> list[MemberInfo]:
        """See `Tier`; a gateway names the members of all its tiers."""
        if not self._known.members:
            self._known.learn(self.client.model_info())
        self._known.hold = self._known.hold or hold
        return self._known.members

    def as_member(self, weight: float, *, hold: bool = False) -> MemberInfo:
        """Who it is as a member of a tier of several; of a gateway, with all its models.

        Raises:
            CloudError: it does not say who it is.
        """
        self.members(hold=hold)
        return self._known.as_member(weight)

    def most_top(self) -> int:
        """See `Tier`; a gateway gives none."""
        self.members()
        return self._known.most_top

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

    def request(self, call: Call) -> Outgoing:
        """What is sent.

        Raises:
            PromptError: the query cannot be sent.
            PolicyError: what is to be hidden in it cannot be.
        """
        sent, hidden = redacted(call, self._reader, self.client.guard, self.name)
        request = request_of(sent, self._reader, self._prompt_form, self._drafts)
        # What it has not said it gives it would refuse.
        if 0 < call.query.top_logprobs <= self._known.most_top:
            request.output.top_logprobs = call.query.top_logprobs
        if self._known.hold and self._known.identity is not None:
            request.expected_model.CopyFrom(self._known.identity)
        leaving = leaving_of(
            sent,
            request,
            self._reader,
            tier=self.name,
            address=self.client.address,
            prices=self._known.prices,
            asked=call.prompts,
        )
        return Outgoing(request, leaving, hidden)

    def say(self, call: Call, outgoing: Outgoing, sending: Sending | None = None) -> Said | None:
        """Send a request, if the policy lets it out, and wait for the answer.

        Args:
            call: whose gate may be of several members, of which this is one: the score is theirs.
            outgoing: of it.
            sending: counts what is sent, whatever comes of it.

        Returns:
            None where it was cancelled.

        Raises:
            CloudError: it refused or did not answer.
            PolicyError: the policy keeps the query here.
        """
        request, leaving, hidden = outgoing
        try:
            permit = self.client.admit(request, leaving)
        except PolicyError:
            if call.cancelled is not None and call.cancelled():
                return None
            raise
        with permit:
            began_s = call.elapsed_s()  # a person who was asked has taken time of their own
            answered = self.client.generate(
                request,
                deadline_s=link_deadline_s(call, self.deadline_s, self.name),
                cancelled=call.cancelled,
                sending=sending,
                permit=permit,
            )
        if answered is None:
            return None
        seconds = call.elapsed_s() - began_s
        response, gate = answered.response, call.gate
        written = response.text
        if hidden is not None:
            response.text = hidden.restore(written)
        self._known.check(response)
        likeliest = likeliest_of(request, response, self.client.address)
        correct = is_correct(response.text, call.query.references)
        answer = TierAnswer(
            text=response.text,
            members=members_of(response, self._known, correct),
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
                draft=draft_use_of(response),
            ),
            hops=hops_of(response.reports),
        )
        defers = gate is not None and answer.score is not None and gate.defers(answer.score)
        return Said(
            answer,
            defers,
            stop_of(response),
            _source(response, likeliest, spelled=response.text == written),
            reports=list(response.reports),
            degraded=reason_of(response.reports) if response.degraded else None,
        )

    def close(self) -> None:
        """Close the channel."""
        self.client.close()


def _source(
    response: pb.GenerateResponse,
    likeliest: Sequence[Sequence[tuple[int, float]]],
    *,
    spelled: bool,
) -> Source:
    """Who answered; its tokens only where they spell the text, and no placeholder in it."""
    model = response.model
    return Source(
        model.name,
        model.revision,
        model.tokenizer_fingerprint,
        list(response.token_ids) if spelled else [],
        list(response.logprobs) if spelled else [],
        likeliest if spelled else (),
    )


def _score(gate: Gate, response: pb.GenerateResponse) -> float | None:
    if not isinstance(gate.rule, DeferralRule):
        return None  # what several agree on is no score of one
    if not response.logprobs:
        return float("nan")  # which defers: nothing is known of the answer
    return gate.rule(list(response.logprobs))
