"""A tier of several artifacts that vote on one answer; knows no network.

Members answer one after the other, and no more of them than the decision takes; or side by side
in threads, no more at once than the device has cores for: those that cannot change it any more are
stopped, or never begin. The first of them streams: it leads until another answer has more votes. No
draft travels, for no member speaks for the others.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Sequence
from threading import Event
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from escalade.edge.deferral import Gate, is_decided, is_settled, vote_bounds, vote_share
from escalade.edge.generation import Delta, Generation, StopReason
from escalade.edge.tiers.comparable import check_comparable
from escalade.edge.tiers.prompts import Member, Prompts
from escalade.edge.tiers.tier import Call, Said, Saying, classes_of, source_of
from escalade.edge.trace import MemberAnswer, MemberInfo, Place, TierAnswer, is_correct

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


class _Voice(NamedTuple):
    """What one member said; without a text where it was stopped."""

    member: int
    text: str | None
    stop: StopReason
    ids: list[int]
    logprobs: list[float]
    #: What it cost, a run that was stopped before this one included.
    prompt_tokens: int
    generated_tokens: int
    seconds: float
    #: See `MemberAnswer`.
    classes: dict[str, float] | msgspec.UnsetType


class EnsembleTier:
    """Several models on this device that vote."""

    place: Place = "device"
    deadline_s = 0.0

    def __init__(
        self,
        members: Sequence[Member],
        *,
        name: str = "ensemble",
        side_by_side: bool = False,
        at_once: int | None = None,
    ) -> None:
        """Put artifacts together.

        Args:
            members: at least 2, the cheapest first.
            name: what the tier is called.
            side_by_side: members run at the same time, a thread each.
            at_once: so many of them, >= 2; the others begin as these end. None: all.

        Raises:
            ArtifactError: a member is there twice, or their answers cannot be compared.
        """
        check_comparable([(one.artifact.folder, one.artifact.manifest) for one in members])
        self.name = name
        self.side_by_side = side_by_side
        self._members = list(members)
        self._at_once = at_once or len(members)
        self._pool: ThreadPoolExecutor | None = None

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

    def _resume(self, call: Call, heard: list[_Voice], spent_s: float) -> Saying:
        """Ask the members that were spared, until the winner is certain."""
        began_s = call.elapsed_s()
        voices = yield from self._ask_in_turn(call, heard, False)
        spent_s += call.elapsed_s() - began_s
        return None if voices is None else self._said(call, voices, spent_s)

    def _ask_in_turn(
        self, call: Call, heard: list[_Voice], can_defer: bool
    ) -> Generator[Delta, None, list[_Voice] | None]:
        """Those that have said nothing yet, or were stopped; None where it was cancelled."""
        voices = {voice.member: voice for voice in heard}
        for index in range(len(self._members)):
            before = voices.get(index)
            if before is not None and before.text is not None:
                continue
            if not call.whole and self._decided(call.gate, voices.values(), can_defer):
                break
            began_s = call.elapsed_s()
            generation, prompt_tokens = self._generation(call.prompts, index, call.cancelled)
            if index == 0:
                yield from generation
            else:
                for _ in generation:
                    pass
            spent_s = call.elapsed_s() - began_s
            voice = self._voice(index, generation, prompt_tokens, spent_s)
            if voice.text is None:
                return None
            voices[index] = voice if before is None else _after(before, voice)
        return sorted(voices.values())

    def _ask_side_by_side(self, call: Call) -> Generator[Delta, None, list[_Voice] | None]:
        """As many at the same time as may be; None where it was cancelled."""
        # Not for those whose members answer in turn.
        from concurrent.futures import FIRST_COMPLETED, Future, wait

        over = Event()
        # Threads know these and not the call, through which they would keep alive a run that its
        # caller has let go: it could not be collected, which is what ends them.
        now_s, prompts, given_up = call.now_s, call.prompts, call.cancelled
        all_began_s = now_s()

        def cancelled() -> bool:
            return over.is_set() or (given_up is not None and given_up())

        def run(index: int) -> _Voice | None:
            if over.is_set():
                return None  # it costs nothing: it never began
            generation, prompt_tokens = self._generation(prompts, index, cancelled)
            for _ in generation:
                pass
            # The wait for a turn counts: the last to end is as late as the whole tier.
            return self._voice(index, generation, prompt_tokens, now_s() - all_began_s)

        pool, voices = self._threads(), list[_Voice]()
        waiting, running = deque(range(1, len(self._members))), set[Future[_Voice | None]]()

        def go_on(leading: int) -> bool:
            """Hear who has ended, and begin others in their place; False where it was cancelled."""
            done = {one for one in running if one.done()}
            running.difference_update(done)
            voices.extend(voice for one in done if (voice := one.result()) is not None)
            if over.is_set():
                return True
            ends = not call.whole and self._decided(call.gate, voices, call.can_defer)
            if not leading:
                if any(voice.text is None for voice in voices):
                    return False
                if ends:
                    over.set()
            while waiting and not ends and leading + len(running) < self._at_once:
                running.add(pool.submit(run, waiting.popleft()))
            return True

        try:
            go_on(1)
            began_s = call.elapsed_s()
            lead, prompt_tokens = self._generation(prompts, 0, cancelled)
            for delta in lead:
                yield delta
                if waiting and any(one.done() for one in running):
                    go_on(1)
            voices.append(self._voice(0, lead, prompt_tokens, call.elapsed_s() - began_s))
            while go_on(0):
                if not running:
                    return sorted(voices)
                wait(running, return_when=FIRST_COMPLETED)
            return None
        finally:
            over.set()
            wait(running)  # no member answers on when the next query comes

    def _threads(self) -> ThreadPoolExecutor:
        """Beside the one that asks; they are kept, for to start one takes longer than a token."""
        if self._pool is None:
            from concurrent.futures import ThreadPoolExecutor

            most = min(self._at_once, len(self._members) - 1)
            self._pool = ThreadPoolExecutor(most, thread_name_prefix="member")
        return self._pool

    def _generation(
        self, prompts: Prompts, index: int, cancelled: Callable[[], bool] | None
    ) -> tuple[Generation, int]:
        """A member's response, not begun, and how many tokens it reads."""
        member, query = self._members[index], prompts.query
        ids = prompts.of(member).ids
        generation = member.artifact.stream(
            ids,
            query.max_new_tokens,
            sampling=query.sampling,
            stop=query.stop,
            cancelled=cancelled,
        )
        return generation, len(ids)

    def _voice(
        self, index: int, generation: Generation, prompt_tokens: int, seconds: float
    ) -> _Voice:
        stop = generation.stop
        assert stop is not None  # noqa: S101 - it has ended
        text = None if stop == "cancelled" else generation.text
        ids = [step.token_id for step in generation.steps if not step.ended]
        logprobs = list(generation.logprobs)
        classes = classes_of(self._members[index], generation)
        return _Voice(
            index, text, stop, ids, logprobs, prompt_tokens, len(logprobs), seconds, classes
        )

    def _decided(self, gate: Gate | None, voices: Iterable[_Voice], can_defer: bool) -> bool:
        answers = [voice.text for voice in sorted(voices) if voice.text is not None]
        if not answers:
            return False
        # Side by side any of them may have been stopped: those that were heard are not the first.
        count, in_order = len(self._members), not self.side_by_side
        if gate is None:
            return is_settled(answers, count, in_order=in_order)
        if gate.threshold is None:
            return False  # the score is wanted, and only the whole vote has it
        return is_decided(answers, count, gate.threshold, can_defer=can_defer, in_order=in_order)

    def _said(self, call: Call, voices: list[_Voice], spent_s: float) -> Said:
        answers = [voice.text for voice in voices if voice.text is not None]
        text, gate, count = vote_share(answers).text, call.gate, len(self._members)
        least, most = vote_bounds(answers, count)
        defers = gate is not None and gate.defers(least)
        decided_early = len(answers) < count
        settled = is_settled(answers, count, in_order=not self.side_by_side)
        answer = TierAnswer(
            text=text,
            members=[_member_answer(voice, call.query.references) for voice in voices],
            score=None if gate is None else least if defers else most,
            correct=is_correct(text, call.query.references) if settled else None,
            seconds=spent_s,
            stopped_early=decided_early,
        )
        won = next(voice for voice in voices if voice.text == text)
        source = source_of(self._members[won.member], won.ids, won.logprobs)
        if settled:
            return Said(answer, defers, won.stop, source)
        return Said(
            answer, defers, won.stop, source, None, lambda: self._resume(call, voices, spent_s)
        )

    def close(self) -> None:
        """See `Tier`; programs and threads go with the last references to them."""
        self._pool = None


def votes_of(answer: TierAnswer) -> dict[str, int]:
    """What the members of a tier said, by how many, the first first."""
    return dict(Counter(one.text for one in answer.members if one.text is not None))


def _after(stopped: _Voice, voice: _Voice) -> _Voice:
    """What a member said that was stopped at first: both runs have cost."""
    return voice._replace(
        prompt_tokens=stopped.prompt_tokens + voice.prompt_tokens,
        generated_tokens=stopped.generated_tokens + voice.generated_tokens,
        seconds=stopped.seconds + voice.seconds,
    )


def _member_answer(voice: _Voice, references: Sequence[str]) -> MemberAnswer:
    return MemberAnswer(
        member=voice.member,
        text=voice.text,
        logprobs=voice.logprobs,
        prompt_tokens=voice.prompt_tokens,
        generated_tokens=voice.generated_tokens,
        seconds=voice.seconds,
        correct=None if voice.text is None else is_correct(voice.text, references),
        classes=voice.classes,
    )
