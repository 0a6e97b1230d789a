"""What an installation leaves when it fails or dies, and that it keeps nobody waiting."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import msgspec
import pytest

from escalade.edge.artifact import file_entry, read_manifest
from escalade.edge.base import Clock, shared_lock
from escalade.edge.errors import ArtifactError, StoreError
from escalade.edge.generation import Artifact
from escalade.edge.store.installation import install
from escalade.edge.store.store import Store

_NOBODY = 65534


def made_of(artifact: Path, folder: Path, name: str) -> Path:
    """A copy of an artifact under another model's name, with a file of its own."""
    shutil.copytree(artifact, folder / name)
    folder = folder / name
    (folder / "more.data").write_bytes(name.encode() * 100_000)
    content = json.loads((folder / "manifest.json").read_text())
    content["model"]["name"] = name
    content["files"]["more.data"] = msgspec.to_builtins(file_entry(folder / "more.data"))
    (folder / "manifest.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def refuse(folder: Path) -> None:
    raise ArtifactError("not this one")


@pytest.fixture
def anybodys(float_artifact: Path) -> Iterator[Path]:
    """A folder of somebody who is not root, with an artifact in it."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        made_of(float_artifact, folder, "a")
        if os.getuid() == 0:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, _NOBODY, _NOBODY)
        yield folder


# Imports as root, who alone may be able to read the packages.
AS_NOBODY = f"""
import os, sys
from pathlib import Path
from escalade.edge.artifact import read_manifest
from escalade.edge.errors import ArtifactError, EdgeError
from escalade.edge.store import Store, install
folder = Path(sys.argv[1])
if os.getuid() == 0:
    os.setgroups([]); os.setgid({_NOBODY}); os.setuid({_NOBODY})
"""


def as_nobody(folder: Path, code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", AS_NOBODY + code, folder], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_a_failed_check_keeps_nobody_from_installing(anybodys: Path) -> None:
    code = """
def refuse(folder): raise ArtifactError("refused")
def spoiled(raw): return dict(whole=raw, half=raw[:len(raw) // 2], damaged=raw[::-1], empty=b"")
for left in ("whole", "half", "damaged", "empty"):
    store = folder / left
    for check in (refuse, refuse, read_manifest):
        try: print(install(str(folder / "a"), store, check=check).id)
        except EdgeError as error: print(error)
        for path in store.glob(".partial*/*"):
            raw = path.read_bytes()
            path.chmod(0o644)
            path.write_bytes(spoiled(raw)[left])
            path.chmod(0o444)
"""
    said = as_nobody(anybodys, code)
    for left in ("whole", "half", "damaged", "empty"):
        assert said[:2] == ["refused", "refused"]
        assert said[2] == Store(anybodys / left).current
        read_manifest(anybodys / left / "current")
        assert not list((anybodys / left).glob(".*"))
        del said[:3]


@pytest.mark.skipif(os.getuid() != 0, reason="takes two users")
def test_who_may_not_write_to_a_store_cannot_hold_it(
    float_artifact: Path, anybodys: Path, jumping_clock: Clock
) -> None:
    store = anybodys / "roots"
    install(str(float_artifact), store)
    code = """
import fcntl, time
for path in ("escalade.lock", "versions", "current"):
    try: fcntl.flock(os.open(folder / "roots" / path, os.O_RDONLY), fcntl.LOCK_EX)
    except OSError as error: print(path, error.strerror)
print(flush=True)
sys.stdin.read()
"""
    holder = subprocess.Popen(
        [sys.executable, "-c", AS_NOBODY + code, anybodys],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == "escalade.lock Permission denied\n"
    install(str(anybodys / "a"), store)
    Store(store).rollback()
    with shared_lock(store / "current", clock=jumping_clock):
        assert read_manifest(store / "current").model.name != "a"
    holder.communicate()


@pytest.mark.parametrize(("folder", "lock"), [(0o755, 0o600), (0o775, 0o660), (0o700, 0o600)])
def test_the_lock_is_open_to_those_who_may_write_to_the_store(
    store: Path, folder: int, lock: int
) -> None:
    store.mkdir()
    store.chmod(folder)
    path = store / "escalade.lock"
    with Store(store).changing():
        assert path.stat().st_mode & 0o777 == lock
    path.chmod(0o644)  # as earlier versions made it
    with Store(store).changing():
        assert path.stat().st_mode & 0o777 == lock


def test_a_lock_that_is_a_link_is_not_followed(store: Path, tmp_path: Path) -> None:
    store.mkdir()
    (tmp_path / "mine").write_text("dear")
    (store / "escalade.lock").symlink_to(tmp_path / "mine")
    with (
        pytest.raises(StoreError, match=r"escalade\.lock: .*symbolic link"),
        Store(store).changing(),
    ):
        pass
    assert (tmp_path / "mine").read_text() == "dear"


def test_waiting_for_another_ends(store: Path, jumping_clock: Clock) -> None:
    told: list[str] = []
    began_s = jumping_clock.now_s()
    other = Store(store, clock=jumping_clock).changing(lambda: told.append("wait"))
    says = r"escalade\.lock: held by another process for 30 s; the current version is as it was"
    with Store(store).changing(), pytest.raises(StoreError, match=says), other:
        pass
    assert told == ["wait"]
    assert 30 <= jumping_clock.now_s() - began_s < 40


def test_a_version_that_is_held_against_all_is_read_all_the_same(
    float_artifact: Path, jumping_clock: Clock
) -> None:
    held = os.open(float_artifact, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    with shared_lock(float_artifact, clock=jumping_clock) as folder:
        assert folder == float_artifact.resolve()
    os.close(held)


def test_a_slow_source_keeps_nobody_waiting(
    float_artifact: Path, store: Path, tmp_path: Path
) -> None:
    slow, quick, third = (made_of(float_artifact, tmp_path, name) for name in "abc")
    first = install(str(quick), store).id
    comes, goes_on = Event(), Event()

    def block(done: int, total: int) -> None:
        comes.set()
        assert goes_on.wait(60)

    def never() -> None:
        raise AssertionError("waits")

    with ThreadPoolExecutor() as pool:
        slowly = pool.submit(install, str(slow), store, progress=block)
        assert comes.wait(60)
        try:
            # One that shares files with it, too.
            second = install(str(third), store, waiting=never)
            assert Store(store).rollback(waiting=never) == (second.id, first)
            assert [one.model for one in Store(store).versions()] == ["b", "c"]
        finally:
            goes_on.set()
        done = slowly.result()
    assert (done.before, done.fetched_bytes) == (first, 100_000)
    assert read_manifest(store / "current").model.name == "a"
    assert not list(store.glob(".*"))


def test_two_who_install_the_same_both_succeed(
    float_artifact: Path, store: Path, tmp_path: Path
) -> None:
    source = made_of(float_artifact, tmp_path, "a")

    def other(folder: Path) -> None:
        install(str(source), store)

    done = install(str(source), store, check=other)
    assert Store(store).current == done.before == done.id
    assert Artifact.open(store / "current")
    assert not list(store.glob(".*"))


def test_what_is_deleted_meanwhile_is_fetched(
    float_artifact: Path, store: Path, tmp_path: Path
) -> None:
    a, b, c = (made_of(float_artifact, tmp_path, name) for name in "abc")
    install(str(a), store)

    def other(folder: Path) -> None:
        install(str(c), store, keep=0)  # deletes the version whose files are shared

    install(str(b), store, check=other)
    assert [one.model for one in Store(store).versions()] == ["c", "b"]
    assert Artifact.open(store / "current")


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from escalade.edge.artifact import read_manifest
from escalade.edge.store import Store, install

new, origin = sys.argv[1], Path(sys.argv[2])
os.fsync = lambda descriptor: None  # a process dies here, not a machine
store = origin.with_name("copy")
CHANGES = {"os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink"}
WRITES = os.O_WRONLY | os.O_RDWR

def die_at(step):
    left = step
    def hook(event, args):
        nonlocal left
        if event in CHANGES or (event == "open" and args[2] & WRITES):
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)

step, found = 0, []
while True:
    step += 1
    shutil.copytree(origin, store, symlinks=True)
    child = os.fork()
    if not child:
        die_at(step)
        install(new, store)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    found.append(read_manifest((store / "current").resolve()).model.name)
    install(new, store)
    assert read_manifest((store / "current").resolve()).model.name == "b", step
    assert all(one.problem is None for one in Store(store).versions()), step
    assert [one.model for one in Store(store).versions()] == ["a", "b"], step
    assert not list(store.glob(".*")), (step, list(store.glob(".*")))
    Store(store).rollback()
    shutil.rmtree(store)
    if not status:
        break
assert found == sorted(found), found
print(step, *sorted(set(found)))
"""


def test_killed_at_any_step_the_store_is_whole_and_goes_on(
    float_artifact: Path, store: Path, tmp_path: Path
) -> None:
    install(str(made_of(float_artifact, tmp_path, "a")), store)
    new = made_of(float_artifact, tmp_path, "b")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, new, store], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    steps, *found = done.stdout.split()
    assert found == ["a", "b"]
    assert int(steps) > 20


def test_a_source_that_changes_under_way_does_not_become_current(
    float_artifact: Path, store: Path, tmp_path: Path
) -> None:
    a, b = (made_of(float_artifact, tmp_path, name) for name in "ab")
    first = install(str(a), store).id

    def change(done: int, total: int) -> None:
        (b / "more.data").write_bytes(b"?" * 100_000)

    with pytest.raises(ArtifactError, match=r"more\.data: sha256 \w+, the manifest says"):
        install(str(b), store, progress=change)
    assert Store(store).current == first
