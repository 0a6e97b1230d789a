"""A tier of several addresses that are asked at the same time and vote; knows no rule by name.

Each member is a remote tier with a link of its own. Nothing is streamed, and no draft goes on. A
member that refuses, is out of reach or does not answer in time is a voice that agrees with nobody,
and the vote goes on. Calls that cannot change the decision any more are cancelled, at the server
too; nobody waits for them, and what they have sent counts. Where all members fail, the tier does,
as one address would.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextvars import copy_context
from queue import SimpleQueue
from threading import Event, Thread
from typing import NamedTuple

from escalade.edge.errors import CascadeError, CloudError
from escalade.edge.generation import Delta
from escalade.edge.tiers.ensemble.calling import Called, Calling
from escalade.edge.tiers.ensemble.verdict import is_decided, verdict_on
from escalade.edge.tiers.prompts import Member, Prompts
from escalade.edge.tiers.remote import RemoteTier
from escalade.edge.tiers.tier import Call, Said, Saying
from escalade.edge.trace import MemberInfo, Place, TierAnswer, is_correct, voice_of
from escalade.v1 import cascade_pb2 as pb


class RemoteMember(NamedTuple):
    """A member elsewhere, and the weight of its voice: above 0 and finite."""

    tier: RemoteTier
    weight: float = 1.0


class RemoteEnsembleTier:
    """Several models of other machines that vote."""

    side_by_side = True
    opened: tuple[Member, ...] = ()

    def __init__(
        self, members: Sequence[RemoteMember], *, name: str = "ensemble", place: Place = "cloud"
    ) -> None:
        """Put members together.

        Args:
            members: at least 2; each call is bounded by its own tier's deadline.
            name: what the tier is called.
            place: where they are.

        Raises:
            CascadeError: fewer than 2 members.
        """
        if len(members) < 2:  # noqa: PLR2004
            raise CascadeError(f"an ensemble needs at least 2 members, got {len(members)}")
        self.name = name
        self.place = place
        self._tiers = [one.tier for one in members]
        #: Of their voices, in order.
        self.weights = [one.weight for one in members]

    @property
    def deadline_s(self) -> float:
        """See `Tier`: they are asked at the same time."""
        return max(tier.deadline_s for tier in self._tiers)

    def members(self, *, hold: bool = False) -> list[MemberInfo]:
        """See `Tier`; all of them have to say who they are.

        Raises:
            CloudError: one does not.
            CascadeError: two are the same model by content.
        """
        from concurrent.futures import ThreadPoolExecutor

        def who(tier: RemoteTier, weight: float) -> MemberInfo:
            return tier.as_member(weight, hold=hold)

        with ThreadPoolExecutor(len(self._tiers)) as pool:
            found = list(pool.map(who, self._tiers, self.weights))
        self._check_different()
        return found

    def most_top(self) -> int:
        """See `Tier`: what several machines say is not asked of each token."""
        return 0

    def check(self, prompts: Prompts) -> None:
        """See `Tier`: all are sent the same."""
        self._tiers[0].check(prompts)

    def ask(self, call: Call) -> Generator[Delta, None, Said | None]:
        """See `Tier`; nothing of it is streamed."""
        yield from ()
        return self._ask(call, {}, 0.0, can_defer=call.can_defer)

    def _resume(self, call: Call, before: Mapping[int, Called], spent_s: float) -> Saying:
        """Ask those again whose calls were cancelled, until the winner is certain."""
        yield from ()
        return self._ask(call, before, spent_s, can_defer=False)

    def _ask(
        self, call: Call, before: Mapping[int, Called], spent_s: float, *, can_defer: bool
    ) -> Said | None:
        """Ask those that have not ended yet; None where it was cancelled."""
        began_s = call.elapsed_s()
        over, given_up = Event(), call.cancelled
        asked = call._replace(
            cancelled=lambda: over.is_set() or (given_up is not None and given_up())
        )
        heard = {place: one for place, one in before.items() if one.ended}
        running = {
            # Its request before a thread begins: a text is tokenized once.
            place: Calling(place, tier, asked, tier.request(call))
            for place, tier in enumerate(self._tiers)
            if place not in heard
        }
        ended: SimpleQueue[Called | BaseException] = SimpleQueue()

        def run(calling: Calling) -> None:
            try:
                ended.put(calling.wait())
            except BaseException as error:  # raised where the answer is waited for
                ended.put(error)

        try:
            for calling in running.values():
                # A daemon: who is late may be waiting for its next attempt, and nobody waits for
                # it. The span of the application is a context's, which a thread does not inherit.
                work = copy_context().run
                Thread(target=work, args=(run, calling), name="member", daemon=True).start()
            while running and (call.whole or not self._decided(call, heard, can_defer)):
                one = ended.get()
                if isinstance(one, BaseException):
                    raise one
                if not one.ended:
                    return None
                del running[one.member]
                heard[one.member] = one.after(before.get(one.member))
        finally:
            over.set()
        for place, calling in running.items():
            heard[place] = calling.cut().after(before.get(place))
        spent_s += call.elapsed_s() - began_s
        return self._said(call, [heard[place] for place in sorted(heard)], spent_s)

    def _decided(self, call: Call, heard: Mapping[int, Called], can_defer: bool) -> bool:
        voices = [voice_of(one.answer(())) for one in heard.values()]
        return is_decided(call.gate, voices, self.weights, can_defer=can_defer)

    def _said(self, call: Call, heard: Sequence[Called], spent_s: float) -> Said:
        references = call.query.references
        answers = [one.answer(references) for one in heard]
        voices = [voice_of(answers[one.member]) for one in heard if one.ended]
        if all(one.said is None for one in heard):
            raise self._failure([one.error for one in heard if one.error is not None])
        verdict = verdict_on(call.gate, voices, self.weights)
        won = heard[verdict.winner].said
        assert won is not None  # noqa: S101 - it said something, or it could not win
        answer = TierAnswer(
            text=won.answer.text,
            members=answers,
            score=verdict.score,
            correct=is_correct(won.answer.text, references) if verdict.settled else None,
            seconds=spent_s,
            stopped_early=len(voices) < len(heard),
        )
        before = {one.member: one for one in heard}
        return Said(
            answer,
            verdict.defers,
            won.stop,
            won.source,
            resume=None if verdict.settled else lambda: self._resume(call, before, spent_s),
            degraded=won.degraded,
            reports=[
                pb.TierReport(
                    tier=self.name,
                    members=[
                        report
                        for one, tier in zip(heard, self._tiers, strict=True)
                        for report in one.reports(tier.client.address)
                    ],
                )
            ],
        )

    def _check_different(self) -> None:
        seen: dict[tuple[str, str], str] = {}
        for tier in self._tiers:
            if tier.content is None:
                continue
            if tier.content in seen:
                raise CascadeError(
                    f"tier {self.name!r}: {tier.client.address} and {seen[tier.content]} are the"
                    " same model by content, which has one vote"
                )
            seen[tier.content] = tier.client.address

    def _failure(self, errors: Sequence[CloudError]) -> CloudError:
        """Of all members, with the cause that leaves most hope: who is out of reach may come."""
        first = next((one for one in errors if one.cause != "query"), errors[0])
        why = "; ".join(dict.fromkeys(str(one) for one in errors))  # a policy says it to all
        return CloudError(
            first.reason, f"tier {self.name!r}: no member answered: {why}", cause=first.cause
        )

    def close(self) -> None:
        """Close every channel."""
        for tier in self._tiers:
            tier.close()
