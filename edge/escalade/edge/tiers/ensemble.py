"""A tier of several members that vote on one answer; knows no network.

Members are artifacts, or one artifact that draws several answers. They answer one after the other,
and no more of them than the decision takes; or side by side in threads, and those that cannot
change it any more are stopped. The first of them streams: it leads until another answer has more
votes. No draft travels, for no member speaks for the others.

A member that fails, takes too long or gives NaN is a voice that agrees with nobody, and the vote
goes on. Where all of them fail, the tier does.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from threading import Event

from escalade.edge.deferral import Agreement, Gate, Voice, Vote
from escalade.edge.errors import ArtifactError
from escalade.edge.generation import Artifact, Delta
from escalade.edge.tiers.heard import Heard, Speaking, silently, speak
from escalade.edge.tiers.prompts import Member, Prompts
from escalade.edge.tiers.tier import Call, Said, Saying, source_of
from escalade.edge.trace import MemberInfo, Place, TierAnswer, is_correct, voice_of


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
        member_deadline_s: float | None = None,
    ) -> None:
        """Put members together.

        Args:
            members: at least 2, the cheapest first.
            name: what the tier is called.
            side_by_side: members run at the same time, a thread each.
            member_deadline_s: seconds that one may take, see `speak`; None sets no bound.

        Raises:
            ArtifactError: a member is there twice, or their answers cannot be compared.
        """
        check_members(members, side_by_side=side_by_side)
        self.name = name
        self.side_by_side = side_by_side
        self._members = list(members)
        self._weights = [member.info.weight for member in members]
        self._member_deadline_s = member_deadline_s

    @property
    def opened(self) -> list[Member]:
        """See `Tier`."""
        return list(self._members)

    def members(self, *, hold: bool = False) -> list[MemberInfo]:
        """See `Tier`; an artifact that is open stays what it is."""
        return [member.info for member in self._members]

    def check(self, prompts: Prompts) -> None:
        """See `Tier`: each member has to take the query."""
        for member in self._members:
            prompts.of(member)

    def ask(self, call: Call) -> Saying:
        """See `Tier`."""
        began_s = call.elapsed_s()
        self.check(call.prompts)
        if self.side_by_side:
            voices = yield from self._ask_side_by_side(call)
        else:
            voices = yield from self._ask_in_turn(call, [], call.can_defer)
        return None if voices is None else self._said(call, voices, call.elapsed_s() - began_s)

    def _resume(self, call: Call, heard: list[Heard], spent_s: float) -> Saying:
        """Ask the members that were spared, until the winner is certain."""
        began_s = call.elapsed_s()
        voices = yield from self._ask_in_turn(call, heard, False)
        spent_s += call.elapsed_s() - began_s
        return None if voices is None else self._said(call, voices, spent_s)

    def _ask_in_turn(
        self, call: Call, heard: list[Heard], can_defer: bool
    ) -> Generator[Delta, None, list[Heard] | None]:
        """Those that have said nothing yet, or were stopped; None where it was cancelled."""
        found = {one.member: one for one in heard}
        for index in range(len(self._members)):
            before = found.get(index)
            if before is not None and before.ended:
                continue
            if not call.whole and self._decided(call.gate, found.values(), can_defer):
                break
            speaking = self._speak(index, call.prompts, call.elapsed_s, call.cancelled)
            one = (yield from speaking) if index == 0 else silently(speaking)
            if not one.ended:
                return None
            found[index] = one.after(before)
        return sorted(found.values())

    def _ask_side_by_side(self, call: Call) -> Generator[Delta, None, list[Heard] | None]:
        """All at the same time; None where it was cancelled."""
        # Not for those whose members answer in turn.
        from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

        over = Event()
        # Threads know these and not the call, through which they would keep alive a run that its
        # caller has let go: it could not be collected, which is what ends them.
        now_s, prompts, given_up = call.now_s, call.prompts, call.cancelled

        def cancelled() -> bool:
            return over.is_set() or (given_up is not None and given_up())

        def run(index: int) -> Heard | None:
            if over.is_set():
                return None  # it costs nothing: it never began
            return silently(self._speak(index, prompts, now_s, cancelled))

        others = range(1, len(self._members))
        with ThreadPoolExecutor(len(others), thread_name_prefix="member") as pool:
            try:
                running = {pool.submit(run, index) for index in others}
                heard = [(yield from self._speak(0, prompts, call.elapsed_s, cancelled))]
                while True:
                    if not over.is_set():
                        if not all(one.ended for one in heard):
                            return None
                        if not call.whole and self._decided(call.gate, heard, call.can_defer):
                            over.set()
                    if not running:
                        break
                    done: set[Future[Heard | None]]
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    heard += [one for each in done if (one := each.result()) is not None]
            finally:
                over.set()
        return sorted(heard)

    def _speak(
        self,
        index: int,
        prompts: Prompts,
        now_s: Callable[[], float],
        cancelled: Callable[[], bool] | None,
    ) -> Speaking:
        return speak(
            index,
            self._members[index],
            prompts,
            now_s=now_s,
            deadline_s=self._member_deadline_s,
            cancelled=cancelled,
        )

    def _decided(self, gate: Gate | None, heard: Iterable[Heard], can_defer: bool) -> bool:
        voices, agreement = _voices(heard), _agreement(gate)
        if gate is None:
            return agreement.is_settled(voices, self._weights)
        if gate.threshold is None:
            return False  # the score is wanted, and only the whole vote has it
        return agreement.is_decided(voices, self._weights, gate.threshold, can_defer=can_defer)

    def _said(self, call: Call, heard: list[Heard], spent_s: float) -> Said:
        gate, agreement, voices = call.gate, _agreement(call.gate), _voices(heard)
        if all(voice.text is None for voice in voices):
            raise ArtifactError(f"tier {self.name!r}: no member answered: {self._reasons(heard)}")
        winner = agreement.outcome(voices, self._weights).winner
        won = next(one for one in heard if one.member == winner)
        least, most = agreement.bounds(voices, self._weights)
        defers = gate is not None and gate.defers(least)
        settled = agreement.is_settled(voices, self._weights)
        references, text = call.query.references, won.text or ""
        answer = TierAnswer(
            text=text,
            members=[one.answer(references) for one in heard],
            score=None if gate is None else least if defers else most,
            correct=is_correct(text, references) if settled else None,
            seconds=spent_s,
            stopped_early=len(voices) < len(self._members),
        )
        source = source_of(self._members[won.member], won.ids, won.logprobs)
        resume = None if settled else lambda: self._resume(call, heard, spent_s)
        return Said(answer, defers, won.stop, source, resume=resume)

    def _reasons(self, heard: Iterable[Heard]) -> str:
        return "; ".join(f"{self._members[one.member].info.name}: {one.failed}" for one in heard)

    def close(self) -> None:
        """See `Tier`; the programs go with the last references to them."""


def check_members(members: Sequence[Member], *, side_by_side: bool) -> None:
    """Check that votes can be counted.

    Raises:
        ArtifactError: fewer than 2 members, a weight that is none, one that is there twice and does
            not draw, one that draws and cannot, or members whose answers cannot be compared: cut at
            other lengths, of a chat and of a plain model, or classifiers of other labels.
    """
    if len(members) < 2:  # noqa: PLR2004
        raise ArtifactError(f"an ensemble needs at least 2 members, got {len(members)}")
    first = members[0].artifact
    for index, member in enumerate(members):
        artifact, weight = member.artifact, member.info.weight
        if not 0.0 < weight < math.inf:
            raise ArtifactError(
                f"{artifact.folder}: weight must be above 0 and finite, got {weight}"
            )
        if member.draw is not None:
            _check_draws(artifact, side_by_side=side_by_side)
        for other in members[:index]:
            if artifact.manifest == other.artifact.manifest and member.draw == other.draw:
                raise ArtifactError(
                    f"{artifact.folder} and {other.artifact.folder} are the same artifact, which"
                    " has one vote"
                )
        for what, here, there in (
            (
                "max_new_tokens",
                artifact.manifest.model.max_new_tokens,
                first.manifest.model.max_new_tokens,
            ),
            ("chat template", artifact.chat_template is not None, first.chat_template is not None),
            ("labels", _labels(artifact), _labels(first)),
        ):
            if here != there:
                raise ArtifactError(
                    f"{artifact.folder}: its answers cannot be compared with those of"
                    f" {first.folder}: {what} {here} and {there}"
                )


def _check_draws(artifact: Artifact, *, side_by_side: bool) -> None:
    if artifact.classifies:
        raise ArtifactError(f"{artifact.folder}: a classifier draws nothing: all samples are one")
    if side_by_side:
        raise ArtifactError(
            f"{artifact.folder}: one model answers one query at a time: samples are drawn one after"
            " the other"
        )


def _labels(artifact: Artifact) -> list[str] | None:
    entry = artifact.manifest.classifier
    return None if entry is None else sorted(entry.labels)


def votes_of(answer: TierAnswer) -> dict[str, int]:
    """What the members of a tier said, by how many, the first first."""
    return dict(Counter(one.text for one in answer.members if one.text is not None))


def _agreement(gate: Gate | None) -> Agreement:
    """The gate's; where no gate says otherwise, members vote."""
    if gate is None:
        return Vote()
    assert isinstance(gate.rule, Agreement)  # noqa: S101 - other rules are of one member
    return gate.rule


def _voices(heard: Iterable[Heard]) -> list[Voice]:
    """Of those that have ended."""
    return [voice_of(one.answer(())) for one in heard if one.ended]
