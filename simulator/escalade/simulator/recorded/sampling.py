"""Reads a trace of any length into bounded memory; knows no tier."""

from __future__ import annotations

import hashlib
import heapq
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Protocol

from escalade.edge.trace import Trace, TraceRecord, links_of, read_trace
from escalade.simulator.errors import SimulatorError, naming
from escalade.simulator.recorded.shadow import check_serves
from escalade.simulator.recorded.shorter import up_to_tier

#: Queries that are kept of a longer trace: some hundred megabytes with their log-probabilities.
MOST_QUERIES = 100_000
#: Bytes between two words on how far a file is read: some hundred of them a gigabyte.
_TOLD_BYTES = 1 << 23

#: Called with how many bytes are read, and of how many.
Progress = Callable[[int, int], None]


class Keeps(Protocol):
    """What some of a trace's records are kept by."""

    #: How many have come.
    seen: int

    def __call__(self, records: Iterable[TraceRecord]) -> list[TraceRecord]:
        """The records that are kept, in their order."""
        ...


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


class SharedSample:
    """Keeps the same queries of every trace: those whose ids have the smallest digests.

    Traces are paired by their queries' ids, and of two samples of places little would pair.
    """

    def __init__(self, most: int, seed: int) -> None:
        """Begin; see `Sample`."""
        self.seen = 0
        self._most = most
        self._key = f"sample/{seed}".encode()

    def __call__(self, records: Iterable[TraceRecord]) -> list[TraceRecord]:
        """The records that are kept, in their order."""
        # The largest digest on top, and of one id's records the last.
        kept: list[tuple[int, int, TraceRecord]] = []
        for record in records:
            one = -self._digest(record.id), -self.seen, record
            if len(kept) < self._most:
                heapq.heappush(kept, one)
            else:
                heapq.heappushpop(kept, one)
            self.seen += 1
        return [record for _, _, record in sorted(kept, key=lambda one: -one[1])]

    def _digest(self, id_: str) -> int:
        text = id_.encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(text, key=self._key[:64], digest_size=8).digest())


class _Reading:
    """Tells how far a file is read, by the bytes that came; told them as a digest is."""

    def __init__(self, path: Path, progress: Progress) -> None:
        # A pipe has no length: what came is then all there is.
        self._total = path.stat().st_size if path.is_file() else 0
        self._done = self._told = 0
        self._progress = progress

    def update(self, data: bytes, /) -> None:
        self._done += len(data)
        if self._done - self._told >= _TOLD_BYTES or self._done == self._total:
            self._told = self._done
            self._progress(self._done, max(self._done, self._total))


def _is_timed(record: TraceRecord) -> bool:
    return any(said is not None and bool(said.seconds or links_of(said)) for said in record.tiers)


def read_sample(
    path: Path,
    most: int,
    seed: int,
    notes: list[str],
    progress: Progress | None = None,
    *,
    up_to: str | None = None,
) -> Trace:
    """A trace that is to be replayed, or so many of its queries; see `read_at_most`.

    With `up_to` that of the cascade that ends at this tier, see `up_to_tier`.

    Raises:
        DataError: see `read_trace`.
        SimulatorError: `most` is below 1; the trace has no such tier; no query has every tier's
            answer; or nothing in it took any time.
    """
    _check(most)
    trace = read_at_most(path, Sample(most, seed), notes, progress, drawn=f"with seed {seed}")
    with naming(path):
        trace = up_to_tier(trace, up_to)
        check_serves(trace)  # before links are asked for that no query crossed
    # The answers of `escalade trace` are made many at once, and none is timed.
    if trace.records and not any(map(_is_timed, trace.records)):
        raise SimulatorError(
            f"{path}: no answer in it took any time, as in a trace of `escalade trace`, which"
            " times none; to replay one, take a trace of `escalade record`"
        )
    return trace


def read_shared_sample(
    path: Path,
    most: int,
    seed: int,
    notes: list[str],
    progress: Progress | None = None,
    *,
    up_to: str | None = None,
) -> Trace:
    """A trace that is held against others, or so many of its queries; see `read_at_most`.

    With `up_to` that of the cascade that ends at this tier, see `up_to_tier`.

    Raises:
        DataError: see `read_trace`.
        SimulatorError: `most` is below 1, or the trace has no such tier.
    """
    _check(most)
    drawn = f"by their ids with seed {seed}"
    trace = read_at_most(path, SharedSample(most, seed), notes, progress, drawn=drawn)
    with naming(path):
        return up_to_tier(trace, up_to)


def read_at_most(
    path: Path, sample: Keeps, notes: list[str], progress: Progress | None, *, drawn: str
) -> Trace:
    """A trace, or some of its queries; then a note says so, and of a last line that is cut off.

    Args:
        path: the trace; all of it is read and checked.
        sample: what is kept.
        notes: gets what is to be said.
        progress: told how far it is.
        drawn: how those that are kept were drawn, as the note says it.

    Raises:
        DataError: see `read_trace`.
    """

    def torn(number: int) -> None:
        notes.append(f"{path.name}: its last line, {number}, is cut off and is left out")

    reading = None if progress is None else _Reading(path, progress)
    trace = read_trace(path, reading, gather=sample, on_torn=torn)
    if sample.seen > len(trace.records):
        notes.append(
            f"{path.name}: {len(trace.records):,} of {sample.seen:,} queries, drawn {drawn}"
        )
    return trace


def _check(most: int) -> None:
    if most < 1:
        raise SimulatorError(f"the sample of a trace must be at least 1 query; got {most}")
