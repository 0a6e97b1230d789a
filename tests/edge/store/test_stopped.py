"""What other processes and a full disk do to a store. Each script prints what became of it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from signal import SIGKILL

import msgspec
import pytest

from escalade.edge.artifact.manifest import file_entry, read_manifest
from escalade.edge.generation.artifact import Artifact
from escalade.edge.store.installation import install
from escalade.edge.store.store import Store

Version = Callable[[str], Path]


def spoil(path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1] + b"?")


INSTALL = """
import sys
from escalade.edge.errors import EdgeError
from escalade.edge.store.installation import install
try: print(install(sys.argv[1], __import__("pathlib").Path(sys.argv[2])).id)
except EdgeError as error: print("error:", error)
"""


def start(*command: object, code: str = INSTALL) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, command)], stdout=subprocess.PIPE, text=True
    )


def test_processes_that_install_at_once_all_succeed(version: Version, store: Path) -> None:
    running = [start(version(name), store) for name in "abab"]
    done = [process.communicate(timeout=120)[0].strip() for process in running]
    assert done[0] == done[2]
    assert done[1] == done[3]
    assert sorted(found.model for found in Store(store).versions()) == ["a", "b"]
    assert Store(store).current in done
    Artifact.open(store / "current")


def test_one_who_waits_is_told_so(version: Version, store: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from escalade.edge.store import install\n"
        "print('waits', flush=True)\n"
        "install(sys.argv[1], Path(sys.argv[2]), waiting=lambda: print('still', flush=True))\n"
        "print('done')\n"
    )
    with Store(store).changing():
        other = start(version("a"), store, code=code)
        assert other.stdout is not None
        assert [other.stdout.readline() for _ in range(2)] == ["waits\n", "still\n"]
    assert other.communicate(timeout=60)[0] == "done\n"


def test_a_process_killed_halfway_leaves_the_old_version_and_its_bytes(
    version: Version, store: Path
) -> None:
    a = install(str(version("a")), store).id
    spoil(Store(store).path_of(a) / "model.onnx.data")  # so that it has to be fetched
    code = (
        "import sys, signal, os; from pathlib import Path\n"
        "from escalade.edge.store.installation import install\n"
        "def die(done, total):\n"
        "    if done == total: os.kill(os.getpid(), signal.SIGKILL)\n"
        "install(sys.argv[1], Path(sys.argv[2]), progress=die)\n"
    )
    process = start(version("b"), store, code=code)
    process.communicate(timeout=60)
    assert process.returncode == -SIGKILL
    assert Store(store).current == a
    assert [path.is_dir() for path in store.glob(".partial-*/artifact")] == [True]
    done = install(str(version("b")), store)
    assert done.fetched_bytes == 0  # it had come before the process died
    assert read_manifest(store / "current").model.name == "b"
    assert not list(store.glob(".partial*"))


def test_a_file_that_may_not_grow_leaves_the_old_version(version: Version, store: Path) -> None:
    a = install(str(version("a")), store, keep=0).id
    spoil(Store(store).path_of(a) / "model.onnx.data")
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))\n"
    out, _ = start(version("b"), store, code=limited + INSTALL).communicate(timeout=60)
    assert out == f"error: {store}: File too large; the current version is as it was\n"
    assert Store(store).current == a
    assert not list(store.glob(".partial*"))


FULL_DISK = """
mount -t tmpfs -o size="$7" tmpfs "$2" || exit 77
"$1" -c "$5" "$3" "$2/store"
"$1" -c "$6" "$2"
"$1" -c "$5" "$4" "$2/store"
readlink "$2/store/current"; ls -A "$2/store"
"""
FILL = """
import shutil, sys
with open(sys.argv[1] + "/filler", "wb") as sink:
    sink.write(bytes(shutil.disk_usage(sys.argv[1]).free - 50_000))
"""
# Says that there is room, as where another process takes it while this one downloads.
BLIND = """
import shutil, types
shutil.disk_usage = lambda path: types.SimpleNamespace(free=1 << 40)
"""


@pytest.mark.parametrize("blind", [False, True], ids=["seen before", "met on the way"])
def test_a_full_disk_leaves_the_old_version(version: Version, tmp_path: Path, blind: bool) -> None:
    if shutil.which("unshare") is None:
        pytest.skip("no unshare")
    first, second = version("a"), version("b")
    (second / "model.onnx.data").unlink()
    (second / "more.data").write_bytes(bytes(300_000))
    content = json.loads((second / "manifest.json").read_text())
    del content["files"]["model.onnx.data"]
    content["files"]["more.data"] = msgspec.to_builtins(file_entry(second / "more.data"))
    (second / "manifest.json").write_text(json.dumps(content))
    room = sum(path.stat().st_size for path in first.iterdir()) + 200_000
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", FULL_DISK, "sh", sys.executable, disk, first, second,
         (BLIND if blind else "") + INSTALL, FILL, str(room)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip("may not mount a file system")
    old, error, link, *left = done.stdout.splitlines()
    says = "No space left on device; the current" if blind else "300000 more bytes are needed, "
    assert error.startswith(f"error: {disk}/store: {says}")
    assert link == f"versions/{old}"
    assert left[0] == "current"  # and so nothing hidden
