"""What was spent today, in one SQLite file that several processes share; knows no rule of its own.

A call is written down before it is sent, in one transaction that is on the disk when it returns
(WAL, synchronous=FULL): of two processes only as many calls go out as the budget has, and one that
is killed in the middle of a call has counted it. What the answer took is added when it is there,
and nobody waits for the disk: a power cut, and no process's death, may lose that.

A day is a calendar day. Where the clock goes back, what was spent on days that are yet to come
counts as today's, so that no budget is had twice; and none is lost for good to a clock that was
ahead for a while.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from escalade.edge.base import Database, mark_of
from escalade.edge.errors import BudgetError
from escalade.edge.policy.rules import Block, Spending, over_budget
from escalade.edge.policy.table import DailyTable

_VERSION = 1
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
_SUMS = ", ".join(f"total({name})" for name in Spending._fields)
_ADD = (
    f"INSERT INTO spent (cascade, day, {', '.join(Spending._fields)}) VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608
    " ON CONFLICT (cascade, day) DO UPDATE SET "
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in Spending._fields)
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
        self.path = path
        self._cascade, self._daily, self._today = cascade, daily, today
        self._base = Database(path, BudgetError)
        try:
            self._prepare()
        except BaseException:
            self._base.close()
            raise

    def spent(self) -> Spending:
        """Today.

        Raises:
            BudgetError: the file cannot be read.
        """
        with self._base.alone():
            return self._sum(self._today().isoformat())

    def take(self, spending: Spending) -> str | Block:
        """Write down what is about to be sent.

        Returns:
            The day that it counts for; or why it is too much, and then nothing was written.

        Raises:
            BudgetError: it cannot be written.
        """
        with self._writing() as day:
            blocked = over_budget(self._daily, self._sum(day), spending)
            if blocked is None:
                self._add(day, spending)
        return day if blocked is None else blocked

    def add(self, spending: Spending, day: str) -> None:
        """Write down what a call took beside what was taken for it, or give back what it did not.

        Args:
            spending: of which some may be below 0.
            day: that it was taken of, which may be over.

        Raises:
            BudgetError: it cannot be written.
        """
        with self._writing(synchronous="NORMAL"):
            self._add(day, spending)

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def _sum(self, day: str) -> Spending:
        query = f"SELECT {_SUMS} FROM spent WHERE cascade = ? AND day >= ?"  # noqa: S608
        calls, tokens, bytes_, money = self._base.file.execute(
            query, (self._cascade, day)
        ).fetchone()
        return Spending(int(calls), int(tokens), int(bytes_), money)

    def _add(self, day: str, spending: Spending) -> None:
        self._base.file.execute(_ADD, (self._cascade, day, *spending))

    def _prepare(self) -> None:
        with self._base.alone() as file:
            version, whose, tables = mark_of(file)
        if (version, whose) != (_VERSION, _APPLICATION) and (version or whose or tables):
            raise BudgetError(f"{self.path}: must be a budget of version {_VERSION}, is another")
        self._base.log_ahead()
        # Written each time: where it cannot be, this says so, and no query has to.
        with self._writing():
            self._base.file.execute(_SCHEMA)
            self._base.file.execute(f"PRAGMA user_version = {_VERSION}")
            self._base.file.execute(f"PRAGMA application_id = {_APPLICATION}")

    @contextmanager
    def _writing(self, synchronous: Literal["FULL", "NORMAL"] = "FULL") -> Iterator[str]:
        """One transaction, that nobody else writes in; gives the day."""
        with self._base.writing(synchronous) as file:
            day = self._today().isoformat()
            if file.execute("SELECT 1 FROM sqlite_master").fetchone():
                self._fold(day)
            yield day

    def _fold(self, day: str) -> None:
        """Make what was spent on days that are yet to come today's."""
        where = "FROM spent WHERE cascade = ? AND day > ?"
        later = self._base.file.execute(
            f"SELECT count(*), {_SUMS} {where}",
            (self._cascade, day),
        ).fetchone()
        if later[0]:
            self._base.file.execute(f"DELETE {where}", (self._cascade, day))
            calls, tokens, bytes_, money = later[1:]
            self._add(day, Spending(int(calls), int(tokens), int(bytes_), money))
