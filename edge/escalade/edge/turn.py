"""One query on its way: generate, score, decide, defer; knows no trace, no file.

Early deferral. Where it is on and there is a cloud, generation ends as soon as the score is
certain (or likely) to reach tau, and the query is deferred at once. The score is then the
bound that no continuation comes below, and the draft that travels is how the answer begins,
without a score. Should the cloud not answer, generation goes on from where the model stands,
so that the device's own answer is whole and nothing is lost but time. A query that was only
likely to be deferred may then turn out not to need the cloud: it counts as answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from escalade.edge.answer import Answer, is_correct
from escalade.edge.cascade import Cascade
from escalade.edge.deferral import defers
from escalade.edge.errors import CloudError, DataError
from escalade.edge.generation import Delta
from escalade.edge.runtimes import Sampling
from escalade.edge.trace import Outcome, SmallAnswer
from escalade.edge.wire import Draft, Query


class Turn:
    """An iterator over what the device says to one query; then `answer` is there.

    What the device says need not be the answer: the last of it may be followed by a call of
    the cloud, which the iterator makes before it ends.
    """

    def __init__(
        self,
        cascade: Cascade,
        query: Query,
        *,
        started_s: float,
        shadow: bool = False,
        sampling: Sampling | None = None,
        stop: str | Sequence[str] = (),
        cancelled: Callable[[], bool] | None = None,
        remember: Callable[[Answer], None] | None = None,
    ) -> None:
        """Begin; nothing is generated before the first piece is asked for.

        Args:
            cascade: the tiers.
            query: fits the small model.
            started_s: on the cascade's clock, when the query came in.
            shadow: ask the cloud too, whatever the score says; the decision stays, and
                generation runs to the end.
            sampling: see `Artifact.stream`.
            stop: see there; the large model's answer ends before them too.
            cancelled: see there.
            remember: called with the answer; a `DataError` of it becomes `Answer.trace_error`.

        Raises:
            ValueError: a stop sequence is empty.
        """
        self._cascade, self._query, self._shadow = cascade, query, shadow
        self._stop = (stop,) if isinstance(stop, str) else tuple(stop)
        self._longest = cascade.artifact.room_for(query.prompt_ids)
        self._generation = cascade.artifact.stream(
            query.prompt_ids,
            sampling=sampling,
            stop=self._stop,
            cancelled=cancelled,
            stop_when=None if shadow else cascade.early_stop(self._longest),
        )
        self._remember = remember
        self._started_s = started_s
        self._paused_s = cascade.clock.now_s()
        self._idle_s = self._cloud_s = 0.0
        self._pieces = self._run()
        #: None until the iterator has ended, and for ever where it was cancelled.
        self.answer: Answer | None = None

    def __iter__(self) -> Iterator[Delta]:
        return self

    def __next__(self) -> Delta:
        # What the caller does between two pieces is no time of ours.
        self._idle_s += self._cascade.clock.now_s() - self._paused_s
        try:
            return next(self._pieces)
        finally:
            self._paused_s = self._cascade.clock.now_s()

    def finish(self) -> Answer | None:
        """Run to the end; None where it was cancelled."""
        for _ in self:
            pass
        return self.answer

    def _run(self) -> Iterator[Delta]:
        generation, model = self._generation, self._cascade.large
        yield from generation
        if self._cancelled():
            return
        small, score, would_defer = self._judged()
        decided_s = self._elapsed_s()
        waits = would_defer and model is not None
        large, reason = None, None
        if model is not None and (would_defer or self._shadow):
            try:
                large = model.ask(self._query, self._draft(small, score), stop=self._stop)
            except CloudError as error:
                reason = str(error)
            self._cloud_s = self._elapsed_s() - decided_s
        if small.stopped_early and large is None:
            generation.resume()
            yield from generation
            if self._cancelled():
                return
            small, score, would_defer = self._judged()
        outcome: Outcome = "answered"
        if would_defer and model is not None:
            outcome = "deferred" if large is not None else "degraded"
        assert generation.stop is not None  # noqa: S101 - it has ended
        self.answer = Answer(
            text=large.text if outcome == "deferred" and large is not None else small.text,
            outcome=outcome,
            score=score,
            threshold=self._cascade.threshold,
            would_defer=would_defer,
            small=small,
            stop=generation.stop,
            large=large,
            # In shadow mode an answer that stays on the device does not wait for the cloud.
            total_s=self._elapsed_s() if waits else decided_s,
            reason=reason,
        )
        if self._remember is not None:
            try:
                self._remember(self.answer)
            except DataError as error:  # a full disk costs the record, not the answer
                self.answer = replace(self.answer, trace_error=str(error))

    def _cancelled(self) -> bool:
        return self._generation.stop == "cancelled"

    def _judged(self) -> tuple[SmallAnswer, float, bool]:
        """What the small model said, its score, and whether to defer."""
        generation, threshold = self._generation, self._cascade.threshold
        unfinished = generation.stop == "stopped_early"
        small = SmallAnswer(
            text=generation.text,
            logprobs=list(generation.logprobs),
            prompt_tokens=len(self._query.prompt_ids),
            generated_tokens=len(generation.steps),
            generate_s=self._elapsed_s() - self._cloud_s,
            correct=None if unfinished else is_correct(generation.text, self._query.references),
            stopped_early=unfinished,
        )
        if unfinished:
            return small, self._cascade.rule.bound(small.logprobs, self._longest), True
        score = self._cascade.rule(small.logprobs)
        return small, score, threshold is not None and defers(score, threshold)

    def _draft(self, small: SmallAnswer, score: float) -> Draft:
        return Draft(
            steps=self._generation.steps,
            score=None if small.stopped_early else score,
            threshold=self._cascade.threshold,
            rule=self._cascade.rule.name,
        )

    def _elapsed_s(self) -> float:
        """Seconds since the query came in, without those between two pieces."""
        return self._cascade.clock.now_s() - self._started_s - self._idle_s
