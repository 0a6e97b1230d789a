"""Files that are watched: when they are looked at, and what counts as a change."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from escalade.v1.watched_files import LOOK_EVERY_S, WatchedFiles


def replaced(path: Path) -> None:
    """Another file of the same size and time."""
    status = path.stat()
    other = path.with_suffix(".new")
    other.write_bytes(b"B")
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize(
    "change", [lambda path: path.write_bytes(b"longer"), Path.unlink, replaced]
)
def test_a_change_is_found_once(tmp_path: Path, change: Callable[[Path], object]) -> None:
    path = tmp_path / "one"
    path.write_bytes(b"A")
    files = WatchedFiles([path, tmp_path / "not there"], lambda: 0.0)
    assert not files.changed()
    change(path)
    assert files.changed()
    assert not files.changed()
    files.forget()
    assert files.changed()


def test_a_look_is_due_a_while_after_the_last(tmp_path: Path) -> None:
    now_s = [0.0]
    files = WatchedFiles([tmp_path / "one"], lambda: now_s[0])
    assert not files.are_due()
    now_s[0] = LOOK_EVERY_S
    assert files.are_due()
    assert not files.changed()
    assert not files.are_due()
