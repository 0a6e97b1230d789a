"""An outbox: one SQLite file that several processes may use; asks nobody.

A query waits, until it is answered or refused; then it stays until somebody has taken that. Each
step is one transaction, on the disk when it returns (WAL, synchronous=FULL), so that a process may
die at any instant. Only what waits is settled: of two who ask the same query one writes its answer.
Whoever works on a query holds it for a time, so that two do not as a rule; the time is the wall
clock's, for a monotonic one is of one boot.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from escalade.edge.errors import DataError, OutboxError
from escalade.edge.outbox.entry import Entry, Kept, State, Work, decode_work, encode_work
from escalade.edge.outbox.file import open_file
from escalade.edge.outbox.place import OutboxOptions

if TYPE_CHECKING:
    import sqlite3

_COLUMNS = ", ".join(Entry.__struct_fields__)
# Clocks of machines are set by less as a rule; one that went back by more would hold for long.
_CLOCK_STEP_S = 60.0


class Outbox:
    """Queries of one cascade in a file; several threads may use it."""

    def __init__(self, options: OutboxOptions, *, now_s: Callable[[], float] = time.time) -> None:
        """Open the file, or make it, for its owner's eyes alone.

        Args:
            options: see `OutboxOptions`.
            now_s: seconds since 1970.

        Raises:
            OutboxError: it cannot be opened, or is something else.
        """
        self.path = options.path
        self._options, self._now_s = options, now_s
        self._base = open_file(options.path)

    def add(self, kept: Kept) -> None:
        """Keep a query; one whose id is known stays as it is.

        Raises:
            OutboxError: it is full, or cannot be written.
        """
        name, most = kept.query.request_id, self._options.max_queries
        values = (
            *(name, self._options.cascade, kept.tier, encode_work(kept)),
            *(kept.prompt, kept.given, kept.reason, self._now_s()),
        )
        with self._base.writing() as file:
            self._expire(file)
            others = "SELECT count(*) FROM kept WHERE id != ?"
            full = file.execute(others, (name,)).fetchone()[0] >= most
            if not full:
                file.execute(
                    "INSERT INTO kept"
                    " (id, cascade, tier, work, prompt, given, reason, kept_at, state)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'waiting') ON CONFLICT (id) DO NOTHING",
                    values,
                )
        if full:
            raise OutboxError(
                f"{self.path}: full: of queries and answers it holds at most {most}; `escalade"
                " outbox flush` makes room"
            )

    def entries(self) -> list[Entry]:
        """Everything in the file, of other cascades too, the oldest first.

        Raises:
            OutboxError: it cannot be read.
        """
        with self._base.alone() as file:
            rows = file.execute(f"SELECT {_COLUMNS} FROM kept ORDER BY number")  # noqa: S608
            return [self._entry(row) for row in rows]

    def claim(self, holder: str, tiers: Sequence[str], lease_s: float) -> Entry | None:
        """Hold the next entry of this cascade that nobody holds; what is settled comes first.

        Args:
            holder: who asks; an entry comes to him once.
            tiers: of which queries that wait are wanted.
            lease_s: seconds, after which another may take it.

        Raises:
            OutboxError: it cannot be written.
        """
        now_s = self._now_s()
        marks = ", ".join("?" * len(tiers))
        with self._base.writing() as file:
            self._expire(file)
            row = file.execute(
                "SELECT id FROM kept WHERE cascade = ? AND holder IS NOT ?"  # noqa: S608 - marks
                f" AND (state != 'waiting' OR tier IN ({marks}))"
                " AND (held_until <= ? OR held_at > ?)"
                " ORDER BY state = 'waiting', tries, number LIMIT 1",
                (self._options.cascade, holder, *tiers, now_s, now_s + _CLOCK_STEP_S),
            ).fetchone()
            if row is None:
                return None
            file.execute(
                "UPDATE kept SET tries = tries + (state = 'waiting') WHERE id = ?", (row[0],)
            )
            return self._held(file, row[0], holder, lease_s)

    def work(self, entry: Entry) -> Work:
        """What is asked again.

        Raises:
            DataError: it says nothing that this version knows.
            OutboxError: the file cannot be read.
        """
        with self._base.alone() as file:
            row = file.execute("SELECT work FROM kept WHERE id = ?", (entry.id,)).fetchone()
        try:
            return decode_work(b"" if row is None else row[0])
        except ValueError as error:
            raise DataError(f"{self.path}: query {entry.id}: cannot be read: {error}") from error

    def answer(
        self, entry: Entry, text: str, tier: str, holder: str, lease_s: float
    ) -> Entry | None:
        """Write an answer; gives the entry as it is then, None where it was settled already.

        Raises:
            OutboxError: it cannot be written.
        """
        return self._settle(entry, "answered", entry.reason, holder, lease_s, text, tier)

    def refuse(self, entry: Entry, reason: str, holder: str, lease_s: float) -> Entry | None:
        """Write that there will be no answer; as `answer`.

        Raises:
            OutboxError: it cannot be written.
        """
        return self._settle(entry, "refused", reason, holder, lease_s)

    def release(self, entry: Entry, holder: str, reason: str | None = None) -> None:
        """Let another try; `reason` says why it still waits.

        Raises:
            OutboxError: it cannot be written.
        """
        with self._base.writing() as file:
            file.execute(
                "UPDATE kept SET held_until = 0, reason = coalesce(?, reason)"
                " WHERE id = ? AND holder = ?",
                (reason, entry.id, holder),
            )

    def forget(self, entry: Entry, holder: str) -> None:
        """Let go of what was settled and has been taken.

        Raises:
            OutboxError: it cannot be written.
        """
        with self._base.writing() as file:
            file.execute(
                "DELETE FROM kept WHERE id = ? AND holder = ? AND state != 'waiting'",
                (entry.id, holder),
            )

    def waiting(self) -> int:
        """How many queries of this cascade wait.

        Raises:
            OutboxError: it cannot be read.
        """
        with self._base.alone() as file:
            (count,) = file.execute(
                "SELECT count(*) FROM kept WHERE state = 'waiting' AND cascade = ?",
                (self._options.cascade,),
            ).fetchone()
        return int(count)

    def clear(self) -> int:
        """Delete all that is in the file, whosever it is, so that none of it can be read; how many.

        Raises:
            OutboxError: it cannot be written.
        """
        with self._base.writing() as file:
            count = file.execute("DELETE FROM kept").rowcount
        with self._base.alone() as file:
            file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return int(count)

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def __enter__(self) -> Outbox:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _settle(
        self,
        entry: Entry,
        state: State,
        reason: str,
        holder: str,
        lease_s: float,
        answer: str | None = None,
        tier: str | None = None,
    ) -> Entry | None:
        with self._base.writing() as file:
            settled = file.execute(
                "UPDATE kept SET state = ?, reason = ?, answer = ?, answered_by = ?,"
                " settled_at = ? WHERE id = ? AND state = 'waiting'",
                (state, reason, answer, tier, self._now_s(), entry.id),
            ).rowcount
            return self._held(file, entry.id, holder, lease_s) if settled else None

    def _held(self, file: sqlite3.Connection, name: str, holder: str, lease_s: float) -> Entry:
        """Hold an entry."""
        now_s = self._now_s()
        file.execute(
            "UPDATE kept SET holder = ?, held_at = ?, held_until = ? WHERE id = ?",
            (holder, now_s, now_s + lease_s, name),
        )
        row = file.execute(f"SELECT {_COLUMNS} FROM kept WHERE id = ?", (name,)).fetchone()  # noqa: S608
        return self._entry(row)

    def _entry(self, row: tuple[object, ...]) -> Entry:
        """A row as an entry; SQLite takes any value into any column."""
        try:
            return msgspec.convert(dict(zip(Entry.__struct_fields__, row, strict=True)), Entry)
        except msgspec.ValidationError as error:
            raise OutboxError(f"{self.path}: query {row[0]!r}: cannot be read: {error}") from error

    def _expire(self, file: sqlite3.Connection) -> None:
        """Refuse what has waited too long, and delete what nobody has taken for as long."""
        now_s, most_s = self._now_s(), self._options.max_age_s
        of = (self._options.cascade, now_s - most_s)
        file.execute("DELETE FROM kept WHERE cascade = ? AND settled_at < ?", of)
        file.execute(
            "UPDATE kept SET state = 'refused', reason = ? || reason, settled_at = ?,"
            " held_until = 0 WHERE state = 'waiting' AND cascade = ? AND kept_at < ?",
            (f"EXPIRED: it waited for more than {most_s:g} s: ", now_s, *of),
        )
