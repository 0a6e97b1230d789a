"""The file of an outbox: its table, its version, and who may read it; knows no query."""

from __future__ import annotations

import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from escalade.edge.base import Database, mark_of
from escalade.edge.errors import OutboxError

if TYPE_CHECKING:
    import sqlite3

_VERSION = 1
_SCHEMA = """
CREATE TABLE IF NOT EXISTS kept (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    cascade TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'answered', 'refused')),
    tier TEXT NOT NULL,
    work BLOB NOT NULL,
    prompt TEXT NOT NULL,
    given TEXT NOT NULL,
    reason TEXT NOT NULL,
    kept_at REAL NOT NULL,
    tries INTEGER NOT NULL DEFAULT 0,
    answer TEXT,
    answered_by TEXT,
    settled_at REAL,
    holder TEXT,
    held_at REAL NOT NULL DEFAULT 0,
    held_until REAL NOT NULL DEFAULT 0,
    CHECK ((state = 'answered') = (answer IS NOT NULL)),
    CHECK ((state = 'waiting') = (settled_at IS NULL))
)
"""
_PRIVATE = 0o600


def open_file(path: Path) -> Database:
    """Open the file, or make it, for its owner's eyes alone.

    Raises:
        OutboxError: it cannot be opened, or is something else.
    """
    base = Database(path, OutboxError)
    try:
        _prepare(path, base)
    except BaseException:
        base.close()
        raise
    return base


def _prepare(path: Path, base: Database) -> None:
    with base.alone() as file:
        # Before anything is changed: it may be another program's.
        _check_ours(path, file)
        try:
            _close_to_others(path)
        except OSError as error:
            raise OutboxError(f"{path}: cannot be opened: {error.strerror}") from error
        # Deleted text is overwritten: it is somebody's question.
        file.execute("PRAGMA secure_delete = ON")
    base.log_ahead()
    with base.writing() as file:
        _check_ours(path, file)  # once more: nobody else writes now
        file.execute(_SCHEMA)
        file.execute(f"PRAGMA user_version = {_VERSION}")


def _check_ours(path: Path, file: sqlite3.Connection) -> None:
    version, _, tables = mark_of(file)
    if version != _VERSION and (version or tables):
        raise OutboxError(
            f"{path}: must be an outbox of version {_VERSION}, got a database of version {version}"
        )


def _close_to_others(path: Path) -> None:
    """Have nobody else read an outbox, nor the files that SQLite keeps beside it."""
    for name in (path, *(Path(f"{path}-{beside}") for beside in ("wal", "shm"))):
        with suppress(FileNotFoundError):  # these come and go
            mode = name.stat().st_mode
            if stat.S_ISREG(mode) and stat.S_IMODE(mode) & ~_PRIVATE:
                name.chmod(_PRIVATE)
