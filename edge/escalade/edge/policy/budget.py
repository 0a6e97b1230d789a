"""What was spent today, in one SQLite file that several processes share; knows no rule of its own.

A call is written down before it is sent, in one transaction that is on the disk when it returns
(synchronous=FULL): of two processes only as many calls go out as the budget has, and one that is
killed in the middle of a call has counted it. What the answer took is added when it is there.

A day is a calendar day. Where the clock goes back, what was spent on days that are yet to come
counts as today's, so that no budget is had twice; and none is lost for good to a clock that was
ahead for a while.
"""

from __future__ import annotations

import datetime
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from escalade.edge.base import make_private
from escalade.edge.errors import BudgetError
from escalade.edge.policy.rules import Amount, Block, over_budget
from escalade.edge.policy.table import DailyTable

_VERSION = 1
# For whoever writes just now, a row each time.
_BUSY_S = 10.0
# Text of its own: nobody else's database has it as its application id.
_APPLICATION = int.from_bytes(b"esbd", "big")
_SCHEMA = """
CREATE TABLE IF NOT EXISTS spent (
    cascade TEXT NOT NULL,
    day TEXT NOT NULL,
    calls INTEGER NOT NULL,
    tokens INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    money REAL NOT NULL,
    PRIMARY KEY (cascade, day)
) WITHOUT ROWID
"""
_SUMS = ", ".join(f"total({name})" for name in Amount._fields)
_ADD = (
    f"INSERT INTO spent (cascade, day, {', '.join(Amount._fields)}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608
    " ON CONFLICT (cascade, day) DO UPDATE SET "
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in Amount._fields)
)


def budget_path() -> Path:
    """The user's own, where the system keeps such things."""
    import platformdirs

    return platformdirs.user_state_path("escalade", appauthor=False) / "budget.sqlite"


class Budget:
    """What one cascade has spent; several threads may ask."""

    def __init__(
        self, path: Path, cascade: str, daily: DailyTable, today: Callable[[], datetime.date]
    ) -> None:
        """Open the file, or make it, for its owner's eyes alone.

        Args:
            path: others may share the file.
            cascade: whose budget it is.
            daily: what a day may take.
            today: the day, which may be earlier than it was.

        Raises:
            BudgetError: it cannot be opened or written, or is something else.
        """
        import sqlite3  # for those who keep a budget

        self.path = path
        self._cascade, self._daily, self._today = cascade, daily, today
        self._lock = threading.Lock()
        try:
            make_private(path)
        except OSError as error:
            raise BudgetError(f"{path}: cannot be opened: {error.strerror}") from error
        except ValueError as error:  # a NUL in the path
            raise BudgetError(f"{str(path)!r}: cannot be opened: {error}") from error
        with self._said():
            self._file = sqlite3.connect(
                path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
        try:
            self._prepare()
        except BaseException:
            self._file.close()
            raise

    def spent(self) -> Amount:
        """Today.

        Raises:
            BudgetError: the file cannot be read.
        """
        with self._lock, self._said():
            return self._sum(self._today().isoformat())

    def take(self, amount: Amount) -> str | Block:
        """Write down what is about to be sent.

        Returns:
            The day that it counts for; or why it is too much, and then nothing was written.

        Raises:
            BudgetError: it cannot be written.
        """
        with self._writing() as day:
            blocked = over_budget(self._daily, self._sum(day), amount)
            if blocked is None:
                self._add(day, amount)
        return day if blocked is None else blocked

    def add(self, amount: Amount, day: str) -> None:
        """Write down what a call took beside what was taken for it, or give back what it did not.

        Args:
            amount: of which some may be below 0.
            day: that it was taken of, which may be over.

        Raises:
            BudgetError: it cannot be written.
        """
        with self._writing():
            self._add(day, amount)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    def _sum(self, day: str) -> Amount:
        query = f"SELECT {_SUMS} FROM spent WHERE cascade = ? AND day >= ?"  # noqa: S608
        calls, tokens, bytes_, money = self._file.execute(query, (self._cascade, day)).fetchone()
        return Amount(int(calls), int(tokens), int(bytes_), money)

    def _add(self, day: str, amount: Amount) -> None:
        self._file.execute(_ADD, (self._cascade, day, *amount))

    def _prepare(self) -> None:
        with self._said():
            self._file.execute("PRAGMA synchronous = FULL")
            (version,) = self._file.execute("PRAGMA user_version").fetchone()
            (whose,) = self._file.execute("PRAGMA application_id").fetchone()
            (tables,) = self._file.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if (version, whose) != (_VERSION, _APPLICATION) and (version or whose or tables):
            raise BudgetError(f"{self.path}: must be a budget of version {_VERSION}, is another")
        # Written each time: where it cannot be, this says so, and no query has to.
        with self._writing():
            self._file.execute(_SCHEMA)
            self._file.execute(f"PRAGMA user_version = {_VERSION}")
            self._file.execute(f"PRAGMA application_id = {_APPLICATION}")

    @contextmanager
    def _writing(self) -> Iterator[str]:
        """One transaction, that nobody else writes in; gives the day."""
        with self._lock, self._said():
            self._file.execute("BEGIN IMMEDIATE")
            try:
                day = self._today().isoformat()
                if self._file.execute("SELECT 1 FROM sqlite_master").fetchone():
                    self._fold(day)
                yield day
                self._file.execute("COMMIT")
            finally:
                if self._file.in_transaction:
                    self._file.execute("ROLLBACK")

    def _fold(self, day: str) -> None:
        """Make what was spent on days that are yet to come today's."""
        where = "FROM spent WHERE cascade = ? AND day > ?"
        later = self._file.execute(
            f"SELECT count(*), {_SUMS} {where}",
            (self._cascade, day),
        ).fetchone()
        if later[0]:
            self._file.execute(f"DELETE {where}", (self._cascade, day))
            calls, tokens, bytes_, money = later[1:]
            self._add(day, Amount(int(calls), int(tokens), int(bytes_), money))

    @contextmanager
    def _said(self) -> Iterator[None]:
        """SQLite's errors as ours."""
        import sqlite3

        try:
            yield
        except sqlite3.Error as error:
            raise BudgetError(f"{self.path}: {error}") from error
