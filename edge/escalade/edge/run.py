"""A query on its way up a cascade; knows no trace, no file.

It climbs until a gate lets an answer stand or the tiers end. A tier that is due and does not
answer is passed over: where none above answers, the best answer so far stands, which is that of
the highest tier that gave one. No query is lost for want of a network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec.structs import replace

from escalade.edge.answer import Answer
from escalade.edge.cascade import Cascade, not_calibrated
from escalade.edge.deferral import Gate
from escalade.edge.errors import (
    ArtifactError,
    CloudError,
    DataError,
    EdgeError,
    OutboxError,
    PromptError,
)
from escalade.edge.generation import Delta
from escalade.edge.outbox import Kept
from escalade.edge.policy import is_of_policy
from escalade.edge.tiers import Call, Draft, Prompts, Query, Said
from escalade.edge.trace import Outcome


class Run:
    """An iterator over what the device says to one query; then `answer` is there.

    What the device says need not be the answer: the last of it may be followed by calls of
    tiers elsewhere, which the iterator makes before it ends.
    """

    def __init__(
        self,
        cascade: Cascade,
        query: Query,
        *,
        shadow: bool = False,
        cancelled: Callable[[], bool] | None = None,
        remember: Callable[[Answer], None] | None = None,
        keep: Callable[[Kept], None] | None = None,
        told: Callable[[int, Said], None] | None = None,
        draft: Draft | None = None,
        rehearse: bool = False,
    ) -> None:
        """Begin; nothing is generated before the first delta is asked for.

        Args:
            cascade: the tiers and their gates.
            query: what is asked.
            shadow: ask every tier, whatever the scores say; the decision stays, and members run
                to their end.
            cancelled: asked between tokens, between chunks of a prompt and while a link is waited
                for.
            remember: called with the answer; a `DataError` of it becomes `Answer.trace_error`.
            keep: called where a tier that was due is out of reach; an `OutboxError` of it becomes
                `Answer.outbox_error`.
            told: called with what each tier said, by its place, before the next is asked.
            draft: what tiers said that are not of this cascade, below its first.
            rehearse: with `shadow`, find what members take with the drafts that they read live; no
                time of the query's.

        Raises:
            PromptError: the first tier cannot take the query, or a later one could never.
            ArtifactError: a chat template is missing or at fault.
            CalibrationError: the cascade is there to be calibrated, and `shadow` is off.
        """
        if not (shadow or cascade.calibrated):
            raise not_calibrated("this cascade was opened to be calibrated")
        self._clock = cascade.clock
        self._started_s = self._clock.now_s()
        self._idle_s = 0.0
        self._cascade, self._query, self._shadow = cascade, query, shadow
        self._cancelled, self._remember, self._keep = cancelled, remember, keep
        self._told = told
        self._rehearsed = self._leave_out if rehearse else None
        # What goes along to the next tier.
        self._draft = draft
        self._prompts = Prompts(query)
        for index, tier in enumerate(cascade.tiers):
            if index == 0 or tier.place != "device":
                tier.check(self._prompts)
        #: What each tier said; None of one that was not asked or did not answer.
        self.said: list[Said | None] = [None] * len(cascade.tiers)
        #: Whose deltas come: its place in the cascade.
        self.speaking = 0
        #: Why tiers that were due did not answer, by their place in the cascade.
        self.failed: dict[int, EdgeError] = {}
        #: None until the iterator has ended, and for ever where it was cancelled.
        self.answer: Answer | None = None
        self._deltas = self._climb()
        self._paused_s = self._clock.now_s()

    def __iter__(self) -> Iterator[Delta]:
        return self

    def __next__(self) -> Delta:
        # What the caller does between two deltas is no time of ours.
        self._idle_s += self._clock.now_s() - self._paused_s
        try:
            return next(self._deltas)
        finally:
            self._paused_s = self._clock.now_s()

    def finish(self) -> Answer | None:
        """Run to the end; None where it was cancelled."""
        self._idle_s += self._clock.now_s() - self._paused_s
        try:
            for _ in self._deltas:  # not of `self`: nobody takes time between two
                pass
        finally:
            self._paused_s = self._clock.now_s()
        return self.answer

    def _climb(self) -> Iterator[Delta]:
        tiers, gates = self._cascade.tiers, self._cascade.gates
        last = len(tiers) - 1
        best: Said | None = None
        highest = 0
        stands: int | None = None
        decided_s = 0.0
        degraded = False
        for index, (tier, gate) in enumerate(zip(tiers, gates, strict=True)):
            self.speaking = index
            call = Call(
                query=self._query,
                prompts=self._prompts,
                gate=gate,
                can_defer=index < last,
                above_s=sum(above.deadline_s for above in tiers[index + 1 :]),
                whole=self._shadow,
                rehearsed=self._rehearsed,
                draft=self._draft,
                elapsed_s=self._elapsed_s,
                now_s=self._clock.now_s,
                cancelled=self._cancelled,
            )
            try:
                said = yield from tier.ask(call)
            except (CloudError, PromptError, ArtifactError) as error:
                self.failed[index] = error
                continue
            if said is None:
                return
            self.said[index] = best = said
            highest, self._draft = index, said.draft
            if self._told is not None:
                self._told(index, said)
            if stands is None and (index == last or not said.defers):
                # In shadow mode an answer that stands does not wait for the tiers above.
                stands, decided_s = index, self._elapsed_s()
                if not self._shadow:
                    break
        if stands is None:
            if best is None:
                raise self.failed[last]
            if best.resume is not None:
                self.speaking = highest
                best = yield from best.resume()
                if best is None:
                    return
                self.said[highest] = best
            stands, decided_s, degraded = highest, self._elapsed_s(), best.defers
        self._end(stands, decided_s, degraded=degraded)

    def _end(self, stands: int, decided_s: float, *, degraded: bool) -> None:
        said, tier = self.said[stands], self._cascade.tiers[stands]
        assert said is not None  # noqa: S101 - or it could not stand
        outcome: Outcome = "answered" if stands == 0 else "deferred"
        if degraded or said.degraded is not None:
            outcome = "degraded"
        judged, gate = self._last_gate(stands)
        self.answer = Answer(
            text=said.answer.text,
            outcome=outcome,
            answered_by=stands,
            tier=tier.name,
            place=tier.place,
            tiers=tuple(None if one is None else one.answer for one in self.said),
            score=None if judged is None else judged.answer.score,
            threshold=None if gate is None else gate.threshold,
            rule=None if gate is None else gate.rule.name,
            would_defer=said.defers if judged is said else gate is not None,
            stop=said.stop,
            total_s=decided_s,
            reason=said.degraded or (str(self.failed[max(self.failed)]) if self.failed else None),
            blocked=self._blocked(stands),
            prompt=self._prompts.text,
        )
        if degraded and self._keep is not None:
            self._keep_for_later(self.answer, stands, self._keep)
        if self._remember is not None:
            try:
                self._remember(self.answer)
            except DataError as error:  # a full disk costs the record, not the answer
                self.answer = replace(self.answer, trace_error=str(error))

    def _blocked(self, stands: int) -> str | None:
        """Which rule kept the query from the highest tier that was due."""
        above = [error for index, error in sorted(self.failed.items()) if index > stands]
        last = above[-1] if above else None
        return last.reason if isinstance(last, CloudError) and is_of_policy(last.reason) else None

    def _keep_for_later(self, answer: Answer, stands: int, keep: Callable[[Kept], None]) -> None:
        """Keep the query where the lowest tier above that is out of reach may answer it yet."""
        for index, error in sorted(self.failed.items()):
            if index < stands or not isinstance(error, CloudError) or error.cause == "query":
                continue
            try:
                keep(
                    Kept(
                        query=self._query,
                        tier=self._cascade.tiers[index].name,
                        draft=self._draft,
                        prompt=answer.prompt,
                        given=answer.text,
                        reason=str(error),
                    )
                )
            except OutboxError as full:  # no reason to withhold the answer that there is
                self.answer = replace(answer, outbox_error=str(full))
            else:
                self.answer = replace(answer, kept=self._query.request_id)
            return

    def _last_gate(self, tier: int) -> tuple[Said | None, Gate | None]:
        """What the last gate that the query came to has judged, and that gate."""
        for index in range(tier, -1, -1):
            said, gate = self.said[index], self._cascade.gates[index]
            if said is not None and gate is not None:
                return said, gate
        return None, None

    def _leave_out(self, seconds: float) -> None:
        self._idle_s += seconds

    def _elapsed_s(self) -> float:
        """Seconds since the query came in, without those between two deltas."""
        return self._clock.now_s() - self._started_s - self._idle_s
