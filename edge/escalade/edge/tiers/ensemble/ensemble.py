"""A tier of several members that vote on one answer; knows no network.

Members are artifacts, or one artifact that draws several answers. They answer one after the other,
and no more of them than the decision takes; or side by side, no more at once than the device has
cores for: those that cannot change it any more are stopped, or never begin. That is in threads, or
in one where these take longer than they save (`Pace`). The first of them streams: it leads until
another answer has more votes. No draft travels, for no member speaks for the others.

A member that fails, takes too long or gives NaN is a voice that agrees with nobody, and the vote
goes on. Where all of them fail, the tier does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

from escalade.edge.deferral import Gate, Voice
from escalade.edge.errors import ArtifactError
from escalade.edge.generation import Delta
from escalade.edge.tiers.device import (
    Heard,
    Speaking,
    Timed,
    drafted,
    is_rehearsed,
    rehearse,
    silently,
    speak,
    voices_among,
)
from escalade.edge.tiers.ensemble.beside import Threads
from escalade.edge.tiers.ensemble.members import check_members
from escalade.edge.tiers.ensemble.pace import Pace
from escalade.edge.tiers.ensemble.together import Together
from escalade.edge.tiers.ensemble.verdict import is_decided, verdict_on
from escalade.edge.tiers.prompts import Member, Prompts
from escalade.edge.tiers.tier import Call, Said, Saying, ids_for, source_of
from escalade.edge.trace import MemberInfo, Place, TierAnswer, is_correct

#: What a member may say as, of a query and those that were heard.
_Drafting = Callable[[Call, int, Iterable[Heard]], Sequence[int]]


class EnsembleTier:
    """Several members on this device that vote."""

    place: Place = "device"
    deadline_s = 0.0

    def __init__(
        self,
        members: Sequence[Member],
        *,
        name: str = "ensemble",
        side_by_side: bool = False,
        at_once: int | None = None,
        member_deadline_s: float | None = None,
    ) -> None:
        """Put members together.

        Args:
            members: at least 2, the cheapest first.
            name: what the tier is called.
            side_by_side: members run at the same time, a thread each.
            at_once: so many of them, >= 2; the others begin as these end. None: all.
            member_deadline_s: seconds that one may take, see `speak`; None sets no bound.

        Raises:
            ArtifactError: a member is there twice, or their answers cannot be compared.
        """
        check_members(members, side_by_side=side_by_side)
        self.name = name
        self.side_by_side = side_by_side
        self._members = list(members)
        self._weights = tuple(member.info.weight for member in members)
        # What one takes, all do that read it alike into a window of one length.
        readers: dict[tuple[object, ...], Member] = {}
        for one in members:
            window = one.artifact.manifest.model.window
            readers.setdefault((one.reads_text, one.reads_chat, window), one)
        self._readers = list(readers.values())
        self._member_deadline_s = member_deadline_s
        self._at_once = at_once or len(members)
        # Beside the one that asks, who answers for a member too.
        self._threads = Threads(self._at_once - 1)
        self._pace = Pace()

    @property
    def opened(self) -> list[Member]:
        """See `Tier`."""
        return list(self._members)

    def members(self, *, hold: bool = False) -> list[MemberInfo]:
        """See `Tier`; an artifact that is open stays what it is."""
        return [member.info for member in self._members]

    def most_top(self) -> int:
        """See `Tier`: those of the member that wins."""
        return min(one.artifact.manifest.model.vocabulary_size for one in self._members)

    def check(self, prompts: Prompts) -> None:
        """See `Tier`: each member has to take the query."""
        for member in self._readers:
            prompts.of(member)

    def ask(self, call: Call) -> Saying:
        """See `Tier`."""
        began_s = call.elapsed_s()
        self.check(call.prompts)
        # In threads, or in one where that is quicker.
        in_threads = self.side_by_side and self._pace.in_threads()
        if in_threads:
            heard = yield from self._ask_in_threads(call)
        else:
            since_s = began_s if self.side_by_side else None
            heard = yield from self._ask_in_turn(call, [], call.can_defer, since_s=since_s)
        if heard is None:
            return None
        spent_s = call.elapsed_s() - began_s
        if self.side_by_side and (tokens := heard[0].answer.generated_tokens):
            # Of a query that is recorded, what it takes live.
            live_s = max((one.answer.drafted_s or 0.0 for one in heard), default=0.0)
            self._pace.note(live_s or spent_s, tokens, in_threads=in_threads)
        return self._said(call, heard, spent_s)

    def _resume(self, call: Call, heard: list[Heard], spent_s: float) -> Saying:
        """Ask the members that were spared, until the winner is certain."""
        began_s = call.elapsed_s()
        whole = yield from self._ask_in_turn(call, heard, False)
        spent_s += call.elapsed_s() - began_s
        return None if whole is None else self._said(call, whole, spent_s)

    def _ask_in_turn(
        self, call: Call, heard: list[Heard], can_defer: bool, *, since_s: float | None = None
    ) -> Generator[Delta, None, list[Heard] | None]:
        """Those that have said nothing yet, or were stopped; None where it was cancelled.

        Their seconds count from `since_s`, or each one's from where it begins.
        """
        found, voices = {one.member: one for one in heard}, voices_among(heard)
        timed = Timed(ends=since_s is not None)
        live_s: dict[int, float] | None = None if call.rehearsed is not None else {}
        for index in range(len(self._members)):
            before = found.get(index)
            if before is not None and before.voice is not None:
                continue
            # Also where all are wanted: a trace has the time that it takes to decide.
            if voices and self._decided(call.gate, voices, can_defer) and not call.whole:
                break
            # Live it begins here: what follows is for the trace alone, or quick.
            begins_s = 0.0 if since_s is None else call.elapsed_s() - since_s
            if live_s is None and self._live_draft(call, index, found.values()):
                live_s = self._rehearse_in_turn(call, found)
            speaking = self._speak(
                index,
                call.prompts,
                call.elapsed_s,
                call.cancelled,
                since_s=since_s,
                draft=self._draft(call, index, found.values()),
            )
            one = (yield from speaking) if index == 0 else silently(speaking)
            if one.voice is None:
                return None
            live = (live_s or {}).get(index)
            found[index] = timed(one.after(before), live, begins_s=begins_s)
            voices.append(one.voice)
        return [found[index] for index in sorted(found)]

    def _ask_in_threads(self, call: Call) -> Generator[Delta, None, list[Heard] | None]:
        live = self._rehearse_together(call)
        heard = yield from self._together(call, self._draft).ask()
        return heard if heard is None else [drafted(one, live.get(one.member)) for one in heard]

    def _together(self, call: Call, draft: _Drafting) -> Together:
        return Together(
            call,
            self._speak,
            lambda voices: not call.whole and self._decided(call.gate, voices, call.can_defer),
            self._threads,
            lambda index, heard: draft(call, index, heard),
            count=len(self._members),
            at_once=self._at_once,
        )

    def _rehearse_in_turn(self, call: Call, heard: Mapping[int, Heard]) -> dict[int, float]:
        """What those that read drafts take live, one right after the other.

        All do so before any answers by itself: live nobody does, and a machine that has just done
        the same is quicker.
        """
        found, live_s = dict(heard), dict[int, float]()
        for index, member in enumerate(self._members):
            draft = () if index in found else self._live_draft(call, index, found.values())
            if not is_rehearsed(call, member, draft):
                continue
            speaking = self._speak(index, call.prompts, call.now_s, call.cancelled, draft=draft)
            live = rehearse(call, [member], speaking)
            if live.answer.text is not None:
                found[index], live_s[index] = live, live.answer.seconds
        return live_s

    def _rehearse_together(self, call: Call) -> dict[int, float]:
        """When members have ended live, in threads; none where they read no drafts there."""
        theirs = {one.fingerprint for one in self._members}
        alike = call.reads_drafts and len(theirs) == 1
        if not (alike and all(is_rehearsed(call, one, [0]) for one in self._members)):
            return {}
        live = rehearse(call, self._members, self._together(call, self._live_draft).ask()) or []
        return {one.member: one.answer.seconds for one in live if one.answer.text is not None}

    def _speak(
        self,
        index: int,
        prompts: Prompts,
        now_s: Callable[[], float],
        cancelled: Callable[[], bool] | None,
        *,
        since_s: float | None = None,
        draft: Sequence[int] = (),
    ) -> Speaking:
        return speak(
            index,
            self._members[index],
            prompts,
            now_s=now_s,
            deadline_s=self._member_deadline_s,
            cancelled=cancelled,
            streams=index == 0,
            since_s=since_s,
            draft=draft,
        )

    def _draft(self, call: Call, index: int, heard: Iterable[Heard]) -> Sequence[int]:
        """`_live_draft`; none where all are wanted: a trace has each by itself."""
        return () if call.whole else self._live_draft(call, index, heard)

    def _live_draft(self, call: Call, index: int, heard: Iterable[Heard]) -> Sequence[int]:
        """What a member may say: as the first whose tokens it knows, or the tier below."""
        if not call.reads_drafts:
            return ()
        member = self._members[index]
        for one in heard:
            other = self._members[one.member].fingerprint
            if one.answer.text is not None and member.fingerprint and other == member.fingerprint:
                return one.ids
        return ids_for(member, call.draft)

    def _decided(self, gate: Gate | None, voices: Sequence[Voice], can_defer: bool) -> bool:
        return is_decided(gate, voices, self._weights, can_defer=can_defer)

    def _said(self, call: Call, heard: list[Heard], spent_s: float) -> Said:
        voices = voices_among(heard)
        if all(voice.text is None for voice in voices):
            raise ArtifactError(f"tier {self.name!r}: no member answered: {self._reasons(heard)}")
        verdict = verdict_on(call.gate, voices, self._weights)
        won = next(one for one in heard if one.member == verdict.winner)
        references, text = call.query.references, won.answer.text or ""
        answer = TierAnswer(
            text=text,
            members=[one.answer for one in heard],
            score=verdict.score,
            correct=is_correct(text, references) if verdict.settled else None,
            seconds=spent_s,
            stopped_early=len(voices) < len(self._members),
        )
        source = source_of(self._members[won.member], won.ids, won.answer.logprobs, won.top)
        resume = None if verdict.settled else lambda: self._resume(call, heard, spent_s)
        return Said(answer, verdict.defers, won.stop, source, resume=resume)

    def _reasons(self, heard: Iterable[Heard]) -> str:
        return "; ".join(
            f"{self._members[one.member].info.name}: {one.answer.failed}" for one in heard
        )

    def close(self) -> None:
        """See `Tier`; programs go with the last references to them."""
        self._threads = Threads(self._at_once - 1)


def votes_of(answer: TierAnswer) -> dict[str, int]:
    """What the members of a tier said, by how many, the first first."""
    return dict(Counter(one.text for one in answer.members if one.text is not None))
