"""Learns from a feed what an expert said of queries, and keeps some to calibrate with.

Entries that were sampled are a fair sample of all queries: the latest are kept apart, and none of
them has been learned from. One that leaves that window is learned from then, so that nothing is
lost; all of them do where an alarm says that queries are no longer like these. A checkpoint holds
how far the feed was read: who goes on from it learns nothing twice.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import msgspec
import numpy as np
from numpy.typing import NDArray

from escalade.edge.base import Clock
from escalade.training.online.configuration import Configuration
from escalade.training.online.experts import Parser
from escalade.training.online.feed import FeedEntry, FeedReader
from escalade.training.online.keeping import Position, restored, saved
from escalade.training.online.learner import Costs, Learner
from escalade.training.online.opening import open_rungs
from escalade.training.online.record import Entry, Event, new_tally, read_checkpoint
from escalade.training.online.record import write_checkpoint as write
from escalade.training.online.streams import Item
from escalade.training.online.walking import FixedWalk, Rung

# No level has a name with a dot.
_WINDOW = ".window"


class Held(NamedTuple):
    """A query of the window."""

    text: str
    #: What the expert said.
    expert: str


class Follower:
    """Levels that learn from a feed; one thread at a time."""

    def __init__(
        self,
        configuration: Configuration,
        feed: Path,
        checkpoint: Path,
        *,
        window: int,
        clock: Clock,
    ) -> None:
        """Go on from a checkpoint, or begin.

        Args:
            configuration: of the levels; its expert and method are not used.
            feed: the folder.
            checkpoint: the file.
            window: sampled entries that are kept to calibrate with, >= 1.
            clock: measures what learning takes.

        Raises:
            DataError: the checkpoint cannot be read.
            RecipeError: it is another configuration's.
        """
        self._path, self._parser = checkpoint, Parser(configuration.labels)
        self._labels = configuration.labels
        plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(configuration))
        self._plain = plain
        self.rungs: list[Rung] = open_rungs(configuration)
        found = read_checkpoint(checkpoint, plain)
        went = restored(found, self.rungs, None, None, classes=len(configuration.labels))
        self._check, self._taken = went.position.crc32, went.position.items
        held = [] if found is None else msgspec.json.decode(found[1][_WINDOW].tobytes())
        self.window: deque[Held] = deque(maxlen=window)
        everyone = dict.fromkeys(range(len(self.rungs)), 0.0)
        self._said = _Said()
        self._learner = Learner(
            configuration.labels,
            self.rungs,
            FixedWalk(len(self.rungs), sys.maxsize, everyone),
            self._said,
            went.tally,
            calibrators=None,
            costs=Costs(configuration.expert.cost, None),
            audit=None,
            clock=clock,
            say=_nothing,
        )
        self._reader = FeedReader(feed, self._taken)
        #: Whether the last entry that was taken came with an alarm.
        self.alarmed = False
        for text, expert in held:  # the window may have been longer
            self._keep(text, expert)

    @property
    def taken(self) -> int:
        """Entries of the feed that were taken, from its first on."""
        return self._taken

    @property
    def learned(self) -> int:
        """Entries that were learned from, or wait for an update."""
        return self._learner.tally.expert.answered

    @property
    def unparsed(self) -> int:
        """Answers that name no label, or several: nobody learns from them."""
        return self._learner.tally.expert.unparsed

    def take(self, most: int) -> int:
        """Take entries that are there, and learn; gives how many they were.

        One with an alarm is the last.

        Raises:
            DataError: the feed cannot be read, or is another one.
        """
        count, self.alarmed = 0, False
        for entry in self._reader.take():
            self._take(entry)
            count += 1
            self.alarmed = entry.alarm
            if count == most or entry.alarm:
                break
        return count

    def agreement(self, said: Sequence[str]) -> NDArray[np.bool_]:
        """Whether answers to the window's queries `(n,)` are the expert's, which names a label."""
        named = [self._parser.label(held.expert) for held in self.window]
        return np.array([k == one for k, one in zip(named, said, strict=True)], dtype=np.bool_)

    def save(self) -> None:
        """Write a checkpoint, and let go of what lies before it.

        Raises:
            DataError: it cannot be written; the one before stays.
        """
        # A checkpoint must not be ahead of the feed, whatever a power cut takes.
        self._reader.sync()
        tally = self._learner.tally
        checkpoint, arrays = saved(
            self._plain,
            Position(items=self._taken, crc32=self._check),
            self.rungs,
            None,
            audit=None,
            tally=tally,
            told=new_tally([rung.name for rung in self.rungs], len(self._labels)),
            sizes={},
        )
        kept = msgspec.json.encode(list(self.window))
        write(self._path, checkpoint, arrays | {_WINDOW: np.frombuffer(kept, dtype=np.uint8)})
        self._reader.drop(self._taken)

    def _take(self, entry: FeedEntry) -> None:
        self._taken = entry.number + 1
        self._check = crc32(entry.text.encode(), self._check)
        if entry.alarm:
            while self.window:
                self._learn(*self.window.popleft())
        if not entry.sampled:
            self._learn(entry.text, entry.expert)
            return
        self._keep(entry.text, entry.expert)

    def _keep(self, text: str, expert: str) -> None:
        if len(self.window) == self.window.maxlen:
            self._learn(*self.window.popleft())
        self.window.append(Held(text, expert))

    def _learn(self, text: str, expert: str) -> None:
        number = self._learner.tally.items
        self._said.text = expert
        self._learner.answer(Item(number, str(number), text, expert=expert))
        self._learner.study(number + 1)


class _Said:
    """The expert, who has said it already."""

    text = ""

    def ask(self, item: Item) -> Entry:
        return Entry(item=item.number, crc32=0, text=self.text)


def _nothing(event: Event) -> None:
    pass
