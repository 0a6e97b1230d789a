"""What a killed writer leaves is taken away by the next of the same name, and nothing else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from escalade.edge.base import atomic_folder, atomic_write
from escalade.edge.base.aside import folder_beside

# Begins to write a file or a folder, says so, and waits to be killed.
_WRITER = """
import sys
from pathlib import Path
from escalade.edge.base import atomic_folder, atomic_write
path = Path(sys.argv[2])
if sys.argv[1] == "file":
    with atomic_write(path) as stream:
        stream.write(b"half")
        stream.flush()
        print("writing", flush=True)
        sys.stdin.read()
else:
    with atomic_folder(path, marker="m") as folder:
        (folder / "m").write_text("half")
        print("writing", flush=True)
        sys.stdin.read()
"""


@contextmanager
def writer(kind: str, path: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", _WRITER, kind, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        yield process


def write(kind: str, path: Path) -> None:
    if kind == "file":
        with atomic_write(path) as stream:
            stream.write(b"whole")
    else:
        with atomic_folder(path, marker="m") as folder:
            (folder / "m").write_text("whole")


def content(path: Path) -> str:
    return (path / "m" if path.is_dir() else path).read_text()


@pytest.mark.parametrize("kind", ["file", "folder"])
@pytest.mark.parametrize("there", [False, True])
def test_what_a_killed_writer_left_goes_and_a_living_ones_stays(
    tmp_path: Path, kind: str, *, there: bool
) -> None:
    out = tmp_path / "out"
    if there:
        write(kind, out)
    with writer(kind, out) as living:
        (its,) = set(tmp_path.iterdir()) - {out}
        with writer(kind, out) as killed:
            assert len(set(tmp_path.iterdir()) - {out}) == 2
            killed.send_signal(signal.SIGKILL)
            killed.wait()
        (left,) = set(tmp_path.iterdir()) - {out, its}
        write(kind, out)
        assert not left.exists()
        assert set(tmp_path.iterdir()) == {out, its}
        assert content(out) == "whole"
        living.communicate()  # ends well, and has the last word
    assert set(tmp_path.iterdir()) == {out}
    assert content(out) == "half"


def test_nothing_of_anybody_else_is_taken_away(tmp_path: Path) -> None:
    out = tmp_path / "out"
    names = [
        ".out.tmp",
        ".out.0123abcd.tmp",
        ".out.escalade-0123abcd",
        ".out2.escalade-0123abcd.tmp",
    ]
    names += [".out.escalade-0123abcd.tmp.mine", ".out.escalade-0123ABCD.tmp", "..out.0123abcd.tmp"]
    for name in names:
        (tmp_path / name).mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / ".out.escalade-00000001.tmp").symlink_to(elsewhere)
    os.mkfifo(tmp_path / ".out.escalade-00000002.tmp")
    before = set(tmp_path.iterdir())
    (tmp_path / ".out.escalade-00000003.tmp").mkdir()
    write("folder", out)
    write("file", tmp_path / "out.txt")
    assert set(tmp_path.iterdir()) == before | {out, tmp_path / "out.txt"}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_another_users_stays_unless_what_is_written_is_theirs(tmp_path: Path) -> None:
    out, left = tmp_path / "out", tmp_path / ".out.escalade-00000001.tmp"
    left.mkdir()
    os.chown(left, 65534, 65534)
    write("folder", out)
    assert left.exists()
    os.chown(out, 65534, 65534)
    write("folder", out)
    assert not left.exists()


def test_a_folder_beside_goes_with_its_block(tmp_path: Path) -> None:
    with folder_beside(tmp_path / ("a" * 300), 0o700) as aside:
        assert aside.stat().st_mode & 0o777 == 0o700
        (aside / "file").touch()
    assert not list(tmp_path.iterdir())
