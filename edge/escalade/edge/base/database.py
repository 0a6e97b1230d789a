"""A SQLite file of this user's that threads and processes share; knows no table.

What a transaction writes is on the disk when it returns (WAL, synchronous=FULL), unless it asks for
less.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from escalade.edge.base.files import make_private
from escalade.edge.errors import EdgeError

if TYPE_CHECKING:
    import sqlite3

# For whoever writes just now, a few rows each time.
_BUSY_S = 10.0


_MARK = (
    "SELECT user_version, application_id, (SELECT count(*) FROM sqlite_master)"
    " FROM pragma_user_version, pragma_application_id"
)


class Mark(NamedTuple):
    """What a file says it is."""

    version: int
    application: int
    tables: int


def mark_of(file: sqlite3.Connection) -> Mark:
    """What a file says it is, at one moment: between two looks another process may make it."""
    return Mark(*file.execute(_MARK).fetchone())


class Database:
    """An open file; several threads may use it."""

    def __init__(self, path: Path, fault: type[EdgeError]) -> None:
        """Open the file, or make it, for its owner's eyes alone.

        Args:
            path: of the file.
            fault: what is raised, here and by every method, with the path and SQLite's words.
        """
        import sqlite3  # for those who keep something

        self.path = path
        self._fault = fault
        self._lock = threading.Lock()
        try:
            make_private(path)
        except OSError as error:
            raise fault(f"{path}: cannot be opened: {error.strerror}") from error
        except ValueError as error:  # a NUL in the path
            raise fault(f"{str(path)!r}: cannot be opened: {error}") from error
        with self.said():
            self.file = sqlite3.connect(
                path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )

    def log_ahead(self) -> None:
        """Have writers keep a log (WAL), beside which others read."""
        with self.said():
            (mode,) = self.file.execute("PRAGMA journal_mode").fetchone()
            if mode != "wal":
                self.file.execute("PRAGMA journal_mode = WAL")

    @contextmanager
    def alone(self) -> Iterator[sqlite3.Connection]:
        """No other thread uses the file meanwhile."""
        with self._lock, self.said():
            yield self.file

    @contextmanager
    def writing(
        self, synchronous: Literal["FULL", "NORMAL"] = "FULL"
    ) -> Iterator[sqlite3.Connection]:
        """One transaction, that nobody else writes in."""
        with self.alone() as file:
            file.execute(f"PRAGMA synchronous = {synchronous}")
            file.execute("BEGIN IMMEDIATE")
            try:
                yield file
                file.execute("COMMIT")
            finally:
                if file.in_transaction:
                    file.execute("ROLLBACK")

    @contextmanager
    def said(self) -> Iterator[None]:
        """SQLite's errors as ours."""
        import sqlite3

        try:
            yield
        except sqlite3.Error as error:
            raise self._fault(f"{self.path}: {error}") from error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self.file.close()
