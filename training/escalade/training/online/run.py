"""Runs a configuration over a stream, from where it was; the one place where the parts meet.

The output folder holds `answers.jsonl` (a line for each item), `expert.jsonl` (for each call of the
expert), `events.jsonl`, `checkpoint.safetensors`, and at the end `result.json` and `levels/NAME`,
which `escalade export` takes. A run that was cut off, or whose stream has grown, goes on when it is
run again: from the checkpoint, with the expert's answers that came after it, to the same end as if
it had not stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec

from escalade.edge.base import (
    Clock,
    SystemClock,
    atomic_folder,
    atomic_write,
    pretty_json,
)
from escalade.edge.errors import DataError
from escalade.training.errors import RecipeError
from escalade.training.online.configuration import (
    ColumnTable,
    Configuration,
    RunTable,
)
from escalade.training.online.experts import Expert
from escalade.training.online.keeping import restored, saved
from escalade.training.online.learner import Costs, Learner
from escalade.training.online.opening import (
    open_audit,
    open_calibrators,
    open_expert,
    open_rungs,
    open_walk,
)
from escalade.training.online.record import (
    ANSWERS_NAME,
    EVENTS_NAME,
    Agreement,
    Event,
    Journal,
    Result,
    Teller,
    measured,
    read_checkpoint,
    run_folder,
    write_checkpoint,
)
from escalade.training.online.streams import Columns, Follow, Item, Span, read_stream, spanned
from escalade.training.online.walking import Rung, Walk

EXPERT_NAME, CHECKPOINT_NAME = "expert.jsonl", "checkpoint.safetensors"
RESULT_NAME, LEVELS_NAME = "result.json", "levels"
_OURS = {ANSWERS_NAME, EVENTS_NAME, EXPERT_NAME, CHECKPOINT_NAME, RESULT_NAME, LEVELS_NAME}
# That a folder of levels is one of ours, to be replaced.
_LEVELS_MARKER = "levels.json"


def learn_stream(
    configuration: Configuration,
    source: Path | None,
    out: Path,
    *,
    expert: Expert | None = None,
    say: Callable[[Event], None] = lambda event: None,
    clock: Clock | None = None,
) -> Result:
    """Answer a stream's items, learning as they come.

    Args:
        configuration: see `read_configuration`.
        source: of the items; see `read_stream`. The configuration's if None.
        out: the folder to write, or to go on with.
        expert: in place of the configuration's, such as a `CallableExpert`; it stays open.
        say: told of every event.
        clock: see `Clock`.

    Raises:
        DataError: the stream cannot be read, the folder cannot be written, is in use or holds
            something else, or the stream is another than the folder's.
        RecipeError: the folder's checkpoint is another configuration's, or the configuration
            names what cannot be opened.
    """
    clock = clock or SystemClock()
    if source is None:
        if configuration.stream.path is None:
            raise RecipeError("stream.path is missing, and no data is named")
        source = Path(configuration.stream.path)
    with run_folder(out, _OURS), ExitStack() as opened:
        run = _Run(configuration, out, expert, say, clock, opened)
        run.over(_items(configuration, source, clock, recorded=expert is None))
        return run.finish()


def _items(
    configuration: Configuration, source: Path, clock: Clock, *, recorded: bool
) -> Iterator[Item]:
    table, expert = configuration.stream, configuration.expert
    columns = Columns(
        text=table.text,
        id=table.id,
        label=table.label,
        expert=expert.column if recorded and isinstance(expert, ColumnTable) else None,
        longest_text=table.longest_text,
    )
    items = read_stream(source, columns, configuration.labels, Follow(table.follow_s, clock))
    return spanned(items, Span(table.shuffle, table.skip, table.limit))


class _Run:
    """One run, open."""

    def __init__(
        self,
        configuration: Configuration,
        out: Path,
        expert: Expert | None,
        say: Callable[[Event], None],
        clock: Clock,
        opened: ExitStack,
    ) -> None:
        self._configuration, self._out, self._clock = configuration, out, clock
        # How to run, and where the data lies, may differ from one time to the next.
        stream = msgspec.structs.replace(configuration.stream, path=None)
        same = msgspec.structs.replace(configuration, run=RunTable(), stream=stream)
        self._plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(same))
        rungs, calibrators = open_rungs(configuration), open_calibrators(configuration)
        self._rungs: list[Rung] = rungs
        self._calibrators = calibrators
        found = read_checkpoint(out / CHECKPOINT_NAME, self._plain)
        self._begun = found is not None
        self._position, tally, told, sizes, self._audit = restored(
            found,
            rungs,
            calibrators,
            open_audit(configuration),
            classes=len(configuration.labels),
        )
        self._started_s = clock.now_s() - self._position.seconds
        self._teller = opened.enter_context(closing(Teller(out, told, sizes, say)))
        asked = expert or opened.enter_context(closing(open_expert(configuration.expert, clock)))
        self._journal = opened.enter_context(
            closing(Journal(out / EXPERT_NAME, asked, clock, first=self._position.items))
        )
        self._walk: Walk = open_walk(configuration, rungs, calibrators)
        self._learner = Learner(
            configuration.labels,
            rungs,
            self._walk,
            self._journal,
            tally,
            calibrators=calibrators,
            costs=Costs(configuration.expert.cost, configuration.expert.flops),
            audit=self._audit,
            clock=clock,
            say=self._teller.event,
        )
        self._learner.model, self._learner.failing = self._position.model, self._position.failing

    def over(self, items: Iterator[Item]) -> None:
        """Answer the items that were not answered yet."""
        done, check, count = self._position.items, 0, 0
        every, report = self._configuration.run.checkpoint_s, self._configuration.run.report_items
        saved_s = self._clock.now_s()
        for item in items:
            check = crc32(item.text.encode(), check)
            count = item.number + 1
            if count <= done:
                if count == done and check != self._position.crc32:
                    raise self._another_stream()
                continue
            if not self._begun:  # what the expert says from now on is of this configuration
                self._save()
            # Whoever waits for the answer does not wait for what it teaches.
            self._teller.answer(self._learner.answer(item))
            self._learner.study(count)
            self._position = self._position._replace(items=count, crc32=check)
            if count % report == 0:
                self._tell_figures()
            if self._clock.now_s() - saved_s >= every:
                self._save()
                saved_s = self._clock.now_s()
        if count < done:
            raise self._another_stream()

    def finish(self) -> Result:
        """Write what stays."""
        self._tell_figures()
        self._save()
        tally, labels = self._learner.tally, self._configuration.labels
        result = Result(
            labels=labels,
            configuration=self._plain,
            measured_from=self._walk.measured_from,
            tally=tally,
            measured=measured(labels, tally.confusion),
            agreement=self._agreement(),
            seconds=round(self._clock.now_s() - self._started_s, 3),
        )
        with atomic_folder(self._out / LEVELS_NAME, marker=_LEVELS_MARKER) as folder:
            for rung in self._rungs:
                if rung.updates:
                    rung.level.save(folder / rung.name)
            names = [rung.name for rung in self._rungs if rung.updates]
            (folder / _LEVELS_MARKER).write_bytes(pretty_json(names))
        with atomic_write(self._out / RESULT_NAME) as stream:
            stream.write(pretty_json(result))
        return result

    def _tell_figures(self) -> None:
        beta = {rung.name: round(rung.beta, 6) for rung in self._rungs}
        self._teller.figures(self._learner.tally, self._agreement(), beta)

    def _agreement(self) -> Agreement | None:
        audit = self._audit
        if audit is None:
            return None
        low, estimate, high = audit.interval()
        return Agreement(
            low=low, estimate=estimate, high=high, audited=audit.audited, alarms=audit.alarms
        )

    def _save(self) -> None:
        """Write a checkpoint, once all that it goes on with is on the disk."""
        learner, self._begun = self._learner, True
        self._journal.sync()
        self._position = self._position._replace(
            model=learner.model,
            failing=learner.failing,
            seconds=self._clock.now_s() - self._started_s,
        )
        checkpoint, arrays = saved(
            self._plain,
            self._position,
            self._rungs,
            self._calibrators,
            audit=self._audit,
            tally=learner.tally,
            told=self._teller.told,
            sizes=self._teller.sync(),
        )
        write_checkpoint(self._out / CHECKPOINT_NAME, checkpoint, arrays)

    def _another_stream(self) -> DataError:
        return DataError(
            f"{self._out}: the first {self._position.items} items are not those that were answered"
            " there; give the stream that the run began with, or name another folder"
        )
