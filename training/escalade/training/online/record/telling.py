"""Writes answers and events as they come, and tells figures; knows no level and no stream."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from escalade.edge.errors import DataError
from escalade.training.online.record.figures import Agreement, Answer, Event, Tally, answered_by
from escalade.training.online.record.files import LineFile

ANSWERS_NAME, EVENTS_NAME = "answers.jsonl", "events.jsonl"


class Teller:
    """The files of one run that grow with its items."""

    def __init__(
        self, out: Path, told: Tally, sizes: Mapping[str, int], say: Callable[[Event], None]
    ) -> None:
        """Open the files where they were.

        Args:
            out: their folder.
            told: what the last figures were of.
            sizes: of the files, by name; none where a run begins.
            say: told of every event.

        Raises:
            DataError: they cannot be opened.
        """
        self.told = told
        self._files: dict[str, LineFile] = {}
        try:
            for name in (ANSWERS_NAME, EVENTS_NAME):
                self._files[name] = LineFile(out / name, size=sizes.get(name, 0))
        except DataError:
            self.close()
            raise
        self._encoder = msgspec.json.Encoder()
        self._say = say

    def answer(self, answer: Answer) -> None:
        """Write an answer.

        Raises:
            DataError: it cannot be written; as the next.
        """
        self._files[ANSWERS_NAME].add(self._encoder.encode(answer))

    def event(self, event: Event) -> None:
        """Write and tell an event."""
        self._files[EVENTS_NAME].add(self._encoder.encode(event))
        self._say(event)

    def figures(self, tally: Tally, agreement: Agreement | None, beta: Mapping[str, float]) -> None:
        """Tell how the run stands, unless nothing came since it was told."""
        if tally.items == self.told.items:
            return
        before, now = answered_by(self.told), answered_by(tally)
        was_measured, was_right = _right(self.told)
        is_measured, is_right = _right(tally)
        self.event(
            Event(
                event="figures",
                items=tally.items,
                by={name: now[name] - before[name] for name in now},
                window_measured=is_measured - was_measured,
                window_right=is_right - was_right,
                calls=tally.expert.calls,
                cost=tally.cost,
                degraded=tally.degraded,
                unparsed=tally.unparsed,
                refused=sum(tally.refused.values()),
                measured=is_measured,
                right=is_right,
                agreement=agreement,
                beta=dict(beta),
            )
        )
        self.told = copy.deepcopy(tally)

    def sync(self) -> dict[str, int]:
        """Wait for the disk; gives the files' sizes by name."""
        return {name: file.sync() for name, file in self._files.items()}

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()


def _right(tally: Tally) -> tuple[int, int]:
    """How many items were measured, and how many of them were right."""
    confusion = tally.confusion
    return sum(map(sum, confusion)), sum(row[k] for k, row in enumerate(confusion))
