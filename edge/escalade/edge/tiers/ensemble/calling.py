"""A call to one member elsewhere: what it said or why not, and what that took; knows no vote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from escalade.edge.errors import CloudError
from escalade.edge.tiers.remote import Outgoing, RemoteTier
from escalade.edge.tiers.tier import Call, Said
from escalade.edge.trace import Link, MemberAnswer, MemberCall, is_correct
from escalade.v1 import cascade_pb2 as pb
from escalade.v1.quoting import one_line


class Called(NamedTuple):
    """What came of a call to one member."""

    member: int
    #: None where it failed, or was cancelled.
    said: Said | None
    #: Why it failed; None where it did not.
    error: CloudError | None
    #: As the caller saw it, a call that was cancelled before this one included.
    seconds: float
    #: None where nothing was sent.
    link: Link | None

    @property
    def ended(self) -> bool:
        """Whether nothing more is to come of it."""
        return self.said is not None or self.error is not None

    def after(self, cancelled: Called | None) -> Called:
        """The same of one whose call was cancelled at first: both have cost."""
        if cancelled is None:
            return self
        both = [one for one in (cancelled.link, self.link) if one is not None]
        return self._replace(seconds=cancelled.seconds + self.seconds, link=_together(both))

    def answer(self, references: Sequence[str]) -> MemberAnswer:
        """For a trace."""
        said = self.said
        ran = [] if said is None else said.answer.members
        hops = [] if said is None else said.answer.hops
        call: MemberCall | msgspec.UnsetType = msgspec.UNSET
        if self.link is not None:
            # What a model of a gateway said is the gateway's text.
            models = [msgspec.structs.replace(one, text=None, logprobs=[]) for one in ran]
            call = MemberCall(link=self.link, hops=hops, models=models if hops else [])
        return MemberAnswer(
            member=self.member,
            text=None if said is None else said.answer.text,
            logprobs=[] if said is None else list(said.source.logprobs),
            prompt_tokens=sum(one.prompt_tokens for one in ran),
            generated_tokens=sum(one.generated_tokens for one in ran),
            seconds=self.seconds,
            correct=None if said is None else is_correct(said.answer.text, references),
            failed=msgspec.UNSET if self.error is None else str(self.error),
            call=call,
        )

    def reports(self, address: str) -> Iterator[pb.MemberReport]:
        """For who asked a gateway: the models that ran, or why there is no answer.

        Args:
            address: the member's, which it is called by where it did not say its name.
        """
        if self.said is None:
            why = "not waited for: the vote was decided" if self.error is None else str(self.error)
            yield pb.MemberReport(
                model=pb.ModelIdentity(name=address), seconds=self.seconds, reason=one_line(why)
            )
            return
        told = [one for report in self.said.reports for one in report.members]
        yield from told
        if not told:
            ran = self.answer(())
            yield pb.MemberReport(
                model=pb.ModelIdentity(name=self.said.source.name or address),
                prompt_tokens=ran.prompt_tokens,
                generated_tokens=ran.generated_tokens,
                seconds=self.seconds,
            )


class Calling:
    """A call that is under way, for a thread of its own."""

    def __init__(self, member: int, tier: RemoteTier, call: Call, outgoing: Outgoing) -> None:
        """Begin the time that it takes.

        Args:
            member: its place.
            tier: who is asked.
            call: whose gate is the members' together.
            outgoing: of it.
        """
        from escalade.edge.wire import Sending  # gRPC is opened only for a tier elsewhere

        self.member = member
        self._tier, self._call, self._outgoing = tier, call, outgoing
        self._sending = Sending()
        self._began_s = call.elapsed_s()

    def wait(self) -> Called:
        """Send it, and wait for what comes of it."""
        try:
            said = self._tier.say(self._call, self._outgoing, self._sending)
        except CloudError as error:
            return self.cut()._replace(error=error)
        if said is None:
            return self.cut()
        return Called(self.member, said, None, self._seconds(), said.answer.link)

    def cut(self) -> Called:
        """What it has cost so far, where nothing comes of it or nobody waits any more."""
        seconds, sent = self._seconds(), self._sending
        link = None
        if sent.attempts:
            link = Link(
                attempts=sent.attempts,
                round_trip_s=seconds,
                server_s=0.0,
                bytes_up=sent.bytes_up,
                draft_bytes=sent.draft_bytes,
                bytes_down=0,
            )
        return Called(self.member, None, None, seconds, link)

    def _seconds(self) -> float:
        return self._call.elapsed_s() - self._began_s


def _together(links: Sequence[Link]) -> Link | None:
    """Two calls to one member, one after the other."""
    if len(links) < 2:  # noqa: PLR2004
        return links[0] if links else None
    first, then = links
    return msgspec.structs.replace(
        then,
        attempts=first.attempts + then.attempts,
        round_trip_s=first.round_trip_s + then.round_trip_s,
        server_s=first.server_s + then.server_s,
        bytes_up=first.bytes_up + then.bytes_up,
        draft_bytes=first.draft_bytes + then.draft_bytes,
        bytes_down=first.bytes_down + then.bytes_down,
    )
