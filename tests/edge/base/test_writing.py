"""Files written whole, whatever their names stand for: files, links, devices, pipes, open files."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from escalade.edge.base import atomic_folder, atomic_write, check_writable
from escalade.edge.errors import DataError

NOBODY = 65534
OUTPUTS = ("shut/open", "sticky/open", "shut/locked", "shut/new", "new")
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root becomes somebody else")


def write(path: Path, content: bytes = b"new") -> None:
    with atomic_write(path) as stream:
        stream.write(content)


def fail(path: Path) -> None:
    with atomic_write(path) as stream:
        stream.write(b"half")
        raise ZeroDivisionError


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


@pytest.fixture
def umask() -> Iterator[None]:
    old = os.umask(0o027)
    yield
    os.umask(old)


def test_the_umask_holds_for_new_files_and_folders(tmp_path: Path, umask: None) -> None:
    write(tmp_path / "new")
    assert mode(tmp_path / "new") == 0o640
    with atomic_folder(tmp_path / "folder", marker="m") as aside:
        write(aside / "m")
    assert (mode(tmp_path / "folder"), mode(tmp_path / "folder" / "m")) == (0o750, 0o640)


@pytest.mark.parametrize("kept", [0o600, 0o664, 0o666, 0o755])
def test_an_old_file_keeps_its_mode(tmp_path: Path, umask: None, kept: int) -> None:
    path = tmp_path / "old"
    path.write_bytes(b"old")
    path.chmod(kept)
    with atomic_write(path) as stream:
        (aside,) = set(tmp_path.iterdir()) - {path}
        assert mode(aside) == kept  # not wider, even for a moment
        stream.write(b"new")
    assert (mode(path), path.read_bytes()) == (kept, b"new")


def test_an_old_folder_and_the_files_in_it_keep_their_modes(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir(0o700)
    (folder / "m").touch(0o600)
    with atomic_folder(folder, marker="m") as aside:
        assert mode(aside) == 0o700
        write(aside / "m")
        write(aside / "more")
    assert (mode(folder), mode(folder / "m"), mode(folder / "more")) == (0o700, 0o600, 0o644)


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_its_target_is_written_whole(tmp_path: Path, there: bool) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    target, link, chain = inner / "target", tmp_path / "link", tmp_path / "chain"
    link.symlink_to("inner/target")
    chain.symlink_to(link)
    if there:
        target.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError):
        fail(chain)
    assert target.exists() == there
    write(chain)
    assert chain.is_symlink()
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert [path.name for path in inner.iterdir()] == ["target"]


def test_a_link_to_a_folder_stays_and_the_folder_is_replaced(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    link.symlink_to(real)
    for text in ("first", "second"):
        with atomic_folder(link, marker="m") as aside:
            (aside / "m").write_text(text)
        assert link.is_symlink()
        assert (real / "m").read_text() == text
    assert sorted(tmp_path.iterdir()) == [link, real]


def test_a_pipe_is_written_through_once_the_content_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(path.read_bytes()))
    reader.start()
    with pytest.raises(ZeroDivisionError):
        fail(path)
    write(path, b"x" * 100_000)  # more than a pipe holds
    reader.join()
    assert got == [b"x" * 100_000]
    assert path.is_fifo()


@root
def test_a_device_is_written_through(tmp_path: Path) -> None:
    null, full = tmp_path / "null", tmp_path / "full"
    os.mknod(null, 0o666 | 0o020000, os.makedev(1, 3))
    os.mknod(full, 0o666 | 0o020000, os.makedev(1, 7))
    write(null)
    with pytest.raises(OSError, match=rf"No space left.*{full}"):
        write(full)
    assert null.is_char_device()
    assert full.is_char_device()


@root
@pytest.mark.skipif(sys.platform != "linux", reason="mounts a disk of its own")
def test_an_old_file_stays_whole_where_no_new_one_has_room(tmp_path: Path) -> None:
    made = "size=64k,nr_inodes=2"  # the disk's own folder, and one file
    mounted = ["mount", "-t", "tmpfs", "-o", made, "tmpfs", str(tmp_path)]
    if subprocess.run(mounted, capture_output=True, check=False).returncode:
        pytest.skip("no disk of a test's own can be mounted here")
    try:
        write(tmp_path / "old", b"old")
        with pytest.raises(DataError, match=f"^{tmp_path}/old: cannot be written: No space left"):
            write(tmp_path / "old", b"new" * 100_000)
        with pytest.raises(DataError, match=f"^{tmp_path}/new: cannot be written: No space left"):
            write(tmp_path / "new")
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"old"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="names open files by links in /proc")
@pytest.mark.parametrize("folder", ["/dev/fd", "/proc/self/fd"])
def test_an_open_file_goes_on_where_it_was(tmp_path: Path, folder: str) -> None:
    path = tmp_path / "log"
    with path.open("wb", buffering=0) as log:
        log.write(b"before ")
        write(Path(folder) / str(log.fileno()), b"between ")
        log.write(b"after")
    assert path.read_bytes() == b"before between after"
    assert list(tmp_path.iterdir()) == [path]
    with path.open("rb") as read, pytest.raises(DataError, match="cannot be written"):
        check_writable(Path(folder) / str(read.fileno()))


def test_what_cannot_be_written_is_said_before_the_work(tmp_path: Path) -> None:
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    file = tmp_path / "file"
    file.touch()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for name, says in [
            (".", "is a folder"),
            ("socket", "is a socket"),
            ("circle", "cannot be written"),
            ("file/below", "cannot be written"),
        ]:
            with pytest.raises(DataError, match=says):
                check_writable(tmp_path / name)
            with pytest.raises(DataError, match=says), atomic_write(tmp_path / name):
                pytest.fail("no block is entered")
    check_writable(tmp_path / "new" / "folder" / "file")
    assert not (tmp_path / "new").exists()


def as_nobody(where: Path) -> list[str]:
    """What another user is told, a line for each output; in a process of its own."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            said = [try_to_write(where / name) for name in OUTPUTS]
            try:
                with atomic_folder(where / "shut" / "folder", marker="m"):
                    said.append("written")
            except DataError as error:
                said.append(str(error))
            os.write(writing, json.dumps(said).encode())
        except OSError as error:
            os.write(writing, json.dumps([repr(error)]).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        said = json.loads(told.read())
    os.waitpid(child, 0)
    return list(said)


def try_to_write(path: Path) -> str:
    try:
        write(path)
    except DataError as error:
        return str(error)
    return "written"


@root
def test_somebody_elses_file_is_written_where_that_is_allowed_and_stays_theirs() -> None:
    """As by `>`: in a folder that takes no files, or a sticky one, such as /tmp."""
    with tempfile.TemporaryDirectory() as name:  # pytest's own lie in a folder that is shut
        where = Path(name)
        where.chmod(0o777)
        for output, old_mode in zip(OUTPUTS[:3], (0o666, 0o666, 0o644), strict=True):
            path = where / output
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"the old and longer content")
            path.chmod(old_mode)
        (where / "sticky").chmod(0o1777)
        shut = where / "shut"
        assert as_nobody(where) == [
            "written",
            "written",
            f"{shut}/locked: cannot be written: Permission denied",
            f"{shut}/new: cannot be written: {shut} takes no new files",
            "written",
            f"{shut}/folder: cannot be written: {shut} takes no new files",
        ]
        for output in OUTPUTS[:2]:
            path = where / output
            assert path.read_bytes() == b"new"
            assert (path.stat().st_uid, mode(path)) == (0, 0o666)
        assert (where / "new").stat().st_uid == NOBODY
        assert len(list(shut.iterdir())) == 2
        assert len(list((where / "sticky").iterdir())) == 1


@root
def test_a_file_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "theirs"
    path.touch(0o600)
    os.chown(path, NOBODY, NOBODY)
    write(path)
    assert (path.stat().st_uid, path.stat().st_gid, mode(path)) == (NOBODY, NOBODY, 0o600)
