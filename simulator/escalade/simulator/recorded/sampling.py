"""Reads a trace of any length into bounded memory; knows no tier."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path

from escalade.edge.trace import Trace, TraceRecord, links_of, read_trace
from escalade.simulator.errors import SimulatorError

#: Queries that are kept of a longer trace: some hundred megabytes with their log-probabilities.
MOST_QUERIES = 100_000


class Sample:
    """Keeps at most so many records, each as likely as any other (Vitter 1985, algorithm R)."""

    def __init__(self, most: int, seed: int) -> None:
        """Begin.

        Args:
            most: that are kept, at least 1.
            seed: of the choice; of traces of one length the same places are kept.
        """
        self.seen = 0
        self._most = most
        self._rng = random.Random(f"sample/{seed}")  # noqa: S311 - no secret

    def __call__(self, records: Iterable[TraceRecord]) -> list[TraceRecord]:
        """The records that are kept, in their order."""
        kept: list[tuple[int, TraceRecord]] = []
        for record in records:
            if len(kept) < self._most:
                kept.append((self.seen, record))
            elif (place := self._rng.randrange(self.seen + 1)) < self._most:
                kept[place] = self.seen, record
            self.seen += 1
        return [record for _, record in sorted(kept, key=lambda one: one[0])]


def _is_timed(record: TraceRecord) -> bool:
    return any(said is not None and bool(said.seconds or links_of(said)) for said in record.tiers)


def read_sample(path: Path, most: int, seed: int, notes: list[str]) -> Trace:
    """A trace, or so many of its queries; then a note says so, and of a last line that is cut off.

    Raises:
        DataError: see `read_trace`.
        SimulatorError: `most` is below 1; or nothing in the trace took any time.
    """
    if most < 1:
        raise SimulatorError(f"the sample of a trace must be at least 1 query; got {most}")
    sample = Sample(most, seed)

    def torn(number: int) -> None:
        notes.append(f"{path.name}: its last line, {number}, is cut off and is left out")

    trace = read_trace(path, gather=sample, on_torn=torn)
    # The answers of `escalade trace` are made many at once, and none is timed.
    if trace.records and not any(map(_is_timed, trace.records)):
        raise SimulatorError(
            f"{path}: no answer in it took any time, as in a trace of `escalade trace`, which"
            " times none; to replay one, take a trace of `escalade record`"
        )
    if sample.seen > most:
        notes.append(f"{path.name}: {most:,} of {sample.seen:,} queries, drawn with seed {seed}")
    return trace
