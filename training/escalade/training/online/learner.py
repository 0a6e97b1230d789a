"""Answers items, and then learns from the expert's labels; knows no file and no configuration.

What an item costs is counted as it is spent: a level that is not reached does not run. One that an
item passed by on its way to the expert is run after the answer, to teach its calibrator, and that
is counted apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

from escalade.edge.base import Clock
from escalade.training.audit import Audit
from escalade.training.online.experts import Parser
from escalade.training.online.levels import Calibrators, Example, Prediction
from escalade.training.online.record import Answer, Entry, Event, EventKind, Tally
from escalade.training.online.streams import Item
from escalade.training.online.walking import WARM_UP_UPDATES, Rung, Walk

# Characters of an answer in a message.
_SHOWN = 80


class Costs(NamedTuple):
    """Of the expert."""

    #: Of a call, in units of the configuration.
    call: float
    #: FLOPs of a call, where they are known.
    flops: float | None


class _Lesson(NamedTuple):
    """A label of the expert that is to be learned from."""

    item: Item
    said: dict[int, Prediction]
    label: int


class Asked(Protocol):
    """Has the expert's answers, such as a `Journal`."""

    def ask(self, item: Item) -> Entry:
        """What the expert says of an item.

        Raises:
            DataError: the answer cannot be kept.
        """
        ...


class Learner:
    """One cascade; one item after another: `answer` it, and then `study` what came of it."""

    def __init__(
        self,
        labels: Sequence[str],
        rungs: Sequence[Rung],
        walk: Walk,
        journal: Asked,
        tally: Tally,
        *,
        calibrators: Calibrators | None,
        costs: Costs,
        audit: Audit | None,
        clock: Clock,
        say: Callable[[Event], None],
    ) -> None:
        """Put the parts together.

        Args:
            labels: of the K classes.
            rungs: the levels, in ascending cost.
            walk: who answers.
            journal: of the expert.
            tally: counted up.
            calibrators: of the rungs, where the walk asks them.
            costs: of the expert.
            audit: has it asked about a share of the kept items all the same.
            clock: measures runs.
            say: told what happens to the expert.
        """
        self._labels, self._rungs, self._walk = tuple(labels), tuple(rungs), walk
        self._numbers = {label: k for k, label in enumerate(labels)}
        self._parser = Parser(labels)
        self._journal, self.tally, self._calibrators = journal, tally, calibrators
        self._costs, self._audit = costs, audit
        self._clock, self._say = clock, say
        self._lesson: _Lesson | None = None
        #: Who the expert said it was, and whether it answered last time.
        self.model, self.failing = "", False

    def answer(self, item: Item) -> Answer:
        """Answer an item; what can be learned from it waits for `study`.

        Raises:
            DataError: what the expert said cannot be kept.
        """
        tally = self.tally
        tally.items += 1
        if item.refused:
            tally.refused[item.refused] = tally.refused.get(item.refused, 0) + 1
            return Answer(item=item.number, id=item.id, outcome="refused", why=item.refused)
        said: dict[int, Prediction] = {}
        chosen = self._walk.choose(item.number, lambda k: self._run(said, k, item).logprobs)
        if chosen < len(self._rungs):
            answer = self._kept(item, said, chosen)
        else:
            answer = self._deferred(item, said)
        if item.number >= self._walk.measured_from:
            self._measure(item, answer)
        return answer

    def study(self, upcoming: int) -> None:
        """Learn from the item that was answered last.

        Args:
            upcoming: the number of the next one.
        """
        if self._lesson is not None:
            self._learn(*self._lesson)
            self._lesson = None
        if upcoming == self._walk.measured_from:
            self._finish_teaching(upcoming)

    def _kept(self, item: Item, said: dict[int, Prediction], level: int) -> Answer:
        """The answer of a level, which the expert may be asked about by chance."""
        answer = self._answer_of(item, said, level)
        self.tally.levels[level].answered += 1
        if self._audit is None:
            return answer
        if not self._audit.wants(item.number):
            self._audit.record(None)
            return answer
        entry, label = self._ask(item)
        if entry.text is None:
            self._audit.lose()
            return answer
        named = None if label is None else self._labels[label]
        self._audit.record(answer.label == named)
        if self._audit.alarm:
            self._raise_beta()
        if label is not None:
            self._lesson = _Lesson(item, said, label)
        return msgspec.structs.replace(answer, expert_label=named, audited=True)

    def _raise_beta(self) -> None:
        """Let the expert teach again, as at the beginning."""
        for rung in self._rungs:
            rung.raised_at = rung.updates
        self._tell(
            "alarm", "kept answers agree with the expert less than they did; beta is 1 again"
        )

    def _deferred(self, item: Item, said: dict[int, Prediction]) -> Answer:
        """The expert's answer; the best there is where it gives none."""
        entry, label = self._ask(item)
        if label is not None:
            self.tally.expert.answered += 1
            self._lesson = _Lesson(item, said, label)
            name = self._labels[label]
            return Answer(
                item=item.number,
                id=item.id,
                outcome="answered",
                label=name,
                by="expert",
                expert_label=name,
            )
        if not said:
            taught = [k for k, rung in enumerate(self._rungs) if rung.updates]
            self._run(said, taught[-1] if taught else 0, item)
        answer = self._answer_of(item, said, max(said))
        if entry.text is None:
            self.tally.degraded += 1
            return msgspec.structs.replace(answer, outcome="degraded", why=entry.error)
        self.tally.unparsed += 1
        return msgspec.structs.replace(
            answer, outcome="unparsed", why="the expert's answer names no label"
        )

    def _answer_of(self, item: Item, said: Mapping[int, Prediction], level: int) -> Answer:
        logprobs = said[level].logprobs
        best = int(logprobs.argmax())
        return Answer(
            item=item.number,
            id=item.id,
            outcome="answered",
            label=self._labels[best],
            by=self._rungs[level].name,
            logprob=round(float(logprobs[best]), 6),
        )

    def _run(
        self, said: dict[int, Prediction], level: int, item: Item, *, learning: bool = False
    ) -> Prediction:
        """Run a level on an item, unless it was."""
        if level in said:
            return said[level]
        rung, tally = self._rungs[level], self.tally.levels[level]
        started_s = self._clock.now_s()
        said[level] = rung.level.predict(item.text)
        tally.seconds += self._clock.now_s() - started_s
        tally.flops += said[level].flops
        tally.runs += not learning
        tally.learning_runs += learning
        self.tally.cost += rung.cost
        return said[level]

    def _ask(self, item: Item) -> tuple[Entry, int | None]:
        """What the expert says, and the label that it names; None where it names none."""
        entry = self._journal.ask(item)
        tally = self.tally.expert
        self._tell_failing(entry)
        tally.calls += 1
        tally.seconds += entry.seconds
        tally.tokens += entry.tokens or 0
        if self._costs.flops is not None:
            tally.flops = (tally.flops or 0.0) + self._costs.flops
        self.tally.cost += self._costs.call
        if entry.text is None:
            tally.failed += 1
            return entry, None
        if entry.model and entry.model != self.model:
            if self.model:
                tally.changes += 1
                self._tell("expert_changed", f"{self.model} answered before, {entry.model} now")
            self.model = entry.model
        label = self._parser(entry.text)
        if label is None:
            if not tally.unparsed:
                said = f"the expert's answer {entry.text[:_SHOWN]!r} names no label, or several"
                self._tell("expert_unparsed", said)
            tally.unparsed += 1
        return entry, label

    def _tell_failing(self, entry: Entry) -> None:
        failing = entry.text is None
        if failing != self.failing:
            self.failing = failing
            if failing:
                self._tell("expert_failed", entry.error)
            else:
                self._tell("expert_back", "the expert answers again")

    def _learn(self, item: Item, said: dict[int, Prediction], label: int) -> None:
        """Teach calibrators and levels the expert's label of an item."""
        pupils = self._walk.learns(item.number)
        if self._calibrators is not None:
            whole = [self._run(said, k, item, learning=True) for k in range(len(self._rungs))]
            warm = min(rung.updates for rung in self._rungs) >= WARM_UP_UPDATES
            self._calibrators.learn([one.logprobs for one in whole], label, warm=warm)
        for k in pupils:
            rung = self._rungs[k]
            rung.cache.append(Example(item.text, label))
            if len(rung.cache) >= rung.cache_size:
                self._update(k)

    def _update(self, level: int) -> None:
        """One update of a level, of what its cache holds."""
        rung, tally = self._rungs[level], self.tally.levels[level]
        started_s = self._clock.now_s()
        tally.learning_flops += rung.level.learn(rung.cache)
        tally.learning_seconds += self._clock.now_s() - started_s
        tally.updates += 1
        rung.updates += 1
        rung.cache = []

    def _finish_teaching(self, number: int) -> None:
        """Before a level is fixed, let it learn what its cache still holds."""
        if not self._walk.learns(number):
            for k in range(len(self._rungs)):
                if self._rungs[k].cache:
                    self._update(k)

    def _measure(self, item: Item, answer: Answer) -> None:
        if item.label is None or answer.label is None:
            return
        if item.label not in self._numbers:
            self.tally.unknown_labels += 1
            return
        self.tally.confusion[self._numbers[item.label]][self._numbers[answer.label]] += 1

    def _tell(self, event: EventKind, what: str) -> None:
        self._say(Event(event=event, items=self.tally.items, what=what))
