"""Hands a gateway's queries and the last tier's answers to the process that learns; learns nothing.

An answer never waits for this, but for one line that is handed to the system. A share of all
queries, drawn by number, is sampled: what of it a lower tier answered is asked of the last tier
too, after the answer. Where these agree less than was promised, the alarm has every query go up
until a version is served that was made after it.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from threading import BoundedSemaphore, Lock

from escalade.cli.learning.auditing import Auditing, Since
from escalade.cli.learning.settings import LearnPlan
from escalade.cli.learning.supervising import Supervisor
from escalade.cli.serving import GatewayCascade
from escalade.cloud.backends import Gauge
from escalade.edge import Query
from escalade.edge.answer import Answer
from escalade.edge.errors import DataError, EdgeError
from escalade.edge.run import Run
from escalade.training.online import FeedWriter, drawn

_LOG = logging.getLogger(__name__)

# What the coin of `drawn` is for.
_SAMPLE = 0
# One that is sent up after its answer waits at most for so many before it; more are left out.
_MOST_WAITING = 256


class Gathering:
    """What is learned from, for any thread; and the process that learns."""

    def __init__(self, plan: LearnPlan, feed: FeedWriter, learner: Supervisor) -> None:
        self._plan, self._feed, self._learner = plan, feed, learner
        settings = plan.settings
        self._auditing = Auditing(settings.labels, settings.share, settings.epsilon)
        self._numbers = count()
        # One at a time: these are the last to be in a hurry.
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="sampled")
        self._room, self._ordering = BoundedSemaphore(_MOST_WAITING), Lock()
        self._counting, self._failing = Lock(), False
        # Whether the learner is still to be told of an alarm, and with which entry it was.
        self._untold, self._told_with = False, -1
        # Entries that were taken before what is served was made, at least.
        self._served = 0
        #: Entries that were handed over; that could not be; and sampled queries without an answer
        #: of the last tier.
        self.entries = self.lost = self.unasked = 0

    @property
    def alarmed(self) -> bool:
        """Whether every query is to go up: what is served is not as good as was promised."""
        return self._untold or self._served <= self._told_with

    def published(self) -> int:
        """Entries that the versions that lie in the stores have been made of, at least."""
        return self._learner.progress.published

    def serves(self, published: int) -> None:
        """Hear that what was `published` when it was so many is what answers now."""
        self._served = published

    def note(
        self,
        answer: Answer,
        query: Query,
        using: Callable[[], AbstractContextManager[GatewayCascade]],
    ) -> None:
        """Look at a query that was answered; never raises.

        Args:
            answer: to it.
            query: as it was asked.
            using: gives what would answer now, for as long as it is used.
        """
        settings = self._plan.settings
        sampled = drawn(settings.seed, next(self._numbers), _SAMPLE) < settings.share
        last = len(answer.tiers) - 1
        if answer.outcome == "degraded":
            self._count(unasked=sampled)
        elif answer.answered_by == last:
            if sampled:
                self._auditing.defer()
            self._add(query.text, answer.text, sampled=sampled)
        elif not sampled:
            self._auditing.keep()
        elif not self._room.acquire(blocking=False):
            self._auditing.miss()
            self._count(unasked=1)
        else:
            with self._ordering:
                ask = partial(self._ask, query, answer.text, using, self._auditing.begin())
                try:
                    self._asking.submit(ask)
                except RuntimeError:  # it was closed meanwhile
                    self._count(unasked=1)

    def gauges(self) -> Iterable[Gauge]:
        """What was handed over, and how far the other process is."""
        yield Gauge("learning_entries", "Queries handed to the learner.", self.entries)
        yield Gauge("learning_lost", "Queries that could not be written for it.", self.lost)
        yield Gauge(
            "learning_unasked", "Sampled queries the last tier did not answer.", self.unasked
        )
        yield from self._auditing.gauges()
        learner = self._learner
        yield Gauge("learning_taken", "Queries the learner has taken.", learner.progress.taken)
        yield Gauge("learning_versions", "Versions it has published.", learner.progress.versions)
        yield Gauge("learning_failures", "Times it could not publish.", learner.progress.failures)
        yield Gauge("learning_restarts", "Times it was started again.", learner.restarts)

    def close(self) -> None:
        """End both; what waits to be sent up is left out."""
        self._asking.shutdown(wait=False, cancel_futures=True)
        self._learner.close()
        self._feed.close()

    def _ask(
        self,
        query: Query,
        kept: str,
        using: Callable[[], AbstractContextManager[GatewayCascade]],
        since: Since,
    ) -> None:
        self._room.release()
        try:
            with using() as served:
                cascade = served.cascade
                alone = replace(cascade, tiers=[cascade.tiers[-1]], gates=[None])
                answer = Run(alone, Query(text=query.text, batch=True, via=query.via)).finish()
        except EdgeError:
            answer = None
        expert = None if answer is None or answer.outcome == "degraded" else answer.text
        if self._auditing.end(since, kept, expert):
            self._alarm()
        if expert is None:
            self._count(unasked=1)
        else:
            self._add(query.text, expert, sampled=True, kept=kept)

    def _alarm(self) -> None:
        self._untold = True
        low, _, high = self._auditing.interval()
        _LOG.warning(
            "kept answers agree with the last tier's less than was promised, %.2f to %.2f of all"
            " since the start; every query goes up until there is another version",
            low,
            high,
        )

    def _add(self, text: str, expert: str, *, sampled: bool, kept: str | None = None) -> None:
        alarm = self._untold
        try:
            number = self._feed.add(text, expert, sampled=sampled, kept=kept, alarm=alarm)
        except DataError as error:
            self._count(lost=1)
            if not self._failing:
                _LOG.warning("%s; it is answered, and not learned from", error)
            self._failing = True
            return
        if alarm:
            self._told_with, self._untold = number, False
        self._count(entries=1)
        if self._failing:
            _LOG.warning("%s: can be written again", self._plan.feed)
        self._failing = False

    def _count(self, *, entries: int = 0, lost: int = 0, unasked: int = 0) -> None:
        with self._counting:
            self.entries += entries
            self.lost += lost
            self.unasked += unasked


def open_gathering(path: Path, cascade: Path) -> Gathering:
    """Read how a gateway learns, and start who learns: every store has a version then.

    Args:
        path: of the settings, see `LearnSettings`.
        cascade: the `cascade.toml`.

    Raises:
        RecipeError: they cannot be read, or do not fit each other or what was learned before.
        EdgeError: a store or the feed cannot be written, or another process has it.
    """
    plan = LearnPlan(path, cascade)
    began = not plan.folder.exists()
    try:
        # It holds what clients wrote.
        plan.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{plan.folder}: cannot be written: {error.strerror}") from error
    feed = FeedWriter(plan.feed)
    learner = Supervisor([str(path), str(cascade), str(os.getpid())])
    try:
        learner.start()
    except BaseException:
        feed.close()
        if began:  # nobody was answered
            shutil.rmtree(plan.folder, ignore_errors=True)
        raise
    return Gathering(plan, feed, learner)
