"""A file that several processes may make: what it is, is looked at once."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from escalade.edge.base import mark_of


def test_what_a_file_says_it_is_is_read_at_one_moment(tmp_path: Path) -> None:
    file = sqlite3.connect(tmp_path / "a.sqlite", isolation_level=None)
    assert mark_of(file) == (0, 0, 0)

    def make() -> None:
        with sqlite3.connect(tmp_path / "a.sqlite") as other:
            other.execute("CREATE TABLE ours (x)")
            other.execute("PRAGMA user_version = 3")
            other.execute("PRAGMA application_id = 5")
        other.close()

    statements: list[str] = []
    file.set_trace_callback(lambda one: statements.append(one) if one[:2] != "--" else None)
    mark_of(file)
    file.set_trace_callback(None)
    assert len(statements) == 1  # nothing can come between
    make()
    assert mark_of(file) == (3, 5, 1)
    file.close()
