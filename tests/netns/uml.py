"""Debian's Linux as a process of this machine, with this machine's files; knows no network.

User-mode Linux: the same kernel, netem and all, with this machine's processor, and neither root
nor KVM. It is unpacked, not installed. Its root is this machine's, to read; what is written there
is kept in memory and goes with it. One folder is shared, to write.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
#: Where the folder that is shared is in the machine.
SHARED = "/mnt"

PARTS = ("cli", "edge", "cloud", "protos", "export", "training", "simulator")

_PACKAGE, _BUSYBOX = "user-mode-linux", "busybox-static"
_MODULES = ("overlay", "veth", "sch_netem")
_MEGABYTES = 2048
_BOOTED, _STATUS, _PRINTED = "booted", "status", "printed"

# The kernel gives no namespace of users to who lives in a chroot: hence pivot_root. This machine's
# Python may lie in root's home: anybody may pass through there.
_INIT = """#!{busybox} sh
mount() {{ {busybox} mount "$@"; }}
for module in {modules}; do {busybox} insmod "$module"; done
mount -t proc proc /proc
mount -t tmpfs tmpfs {over}
{busybox} mkdir {over}/upper {over}/work {over}/root
mount -t overlay -o lowerdir=/,upperdir={over}/upper,workdir={over}/work overlay {over}/root
cd {over}/root
mount -t proc proc proc
mount -t sysfs sys sys
mount -t devtmpfs dev dev
{busybox} mkdir -p dev/shm
mount -t tmpfs tmpfs dev/shm
mount -t tmpfs tmpfs run
mount -t hostfs -o {out} out .{shared}
{busybox} chmod a+x root
{busybox} ip link set lo up
{busybox} mkdir before
{busybox} pivot_root . before
{busybox} touch {shared}/{booted}
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
/bin/sh -c {command} >{shared}/{printed} 2>&1 </dev/null
echo $? >{shared}/{status}
{busybox} poweroff -f
"""


class CheckError(Exception):
    """The check cannot be run here; one line says why."""


@dataclass(frozen=True)
class Machine:
    """What boots."""

    linux: Path
    busybox: Path
    modules: list[Path]

    @property
    def words(self) -> str:
        """In one line."""
        return f"user-mode Linux {self.modules[0].parents[3].name}"


@dataclass(frozen=True)
class Ended:
    """How a command in the machine ended."""

    status: int
    printed: str


def ready_machine(home: Path, *, say: Callable[[str], None]) -> Machine:
    """Take the machine that is there, or fetch it.

    Args:
        home: where it is kept.
        say: called with a line before each step that takes long.

    Raises:
        CheckError: no Debian on x86-64, or a step failed.
    """
    if platform.machine() != "x86_64" or platform.freedesktop_os_release().get("ID") != "debian":
        raise CheckError("needs Debian on x86-64, which has a user-mode Linux")
    tree = home / "tree"
    if not tree.is_dir():
        say(f"fetching Debian's {_PACKAGE} and {_BUSYBOX} into {home}")
        partial = home / "partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        _run("apt-get", "download", "--quiet=2", _PACKAGE, _BUSYBOX, cwd=partial)
        for archive in sorted(partial.glob("*.deb")):
            _run("dpkg-deb", "--extract", str(archive), str(partial))
            archive.unlink()
        partial.rename(tree)
    found = [next(tree.rglob(f"{name}.ko"), None) for name in _MODULES]
    modules = [module for module in found if module is not None]
    if len(modules) < len(_MODULES):
        raise CheckError(
            f"{_PACKAGE} lacks one of {', '.join(_MODULES)}; delete {tree} to try anew"
        )
    return Machine(tree / "usr/bin/linux.uml", next(tree.rglob("bin/busybox")), modules)


def run_in(machine: Machine, command: Sequence[str], shared: Path, *, longest_s: float) -> Ended:
    """Boot, run a command in the repository's folder, and switch off.

    Args:
        machine: it.
        command: a program of this machine's, and its arguments.
        shared: a folder that is `SHARED` there.
        longest_s: until it is ended, whatever it does.

    Raises:
        CheckError: it did not boot, or took longer.
    """
    for name in (_BOOTED, _STATUS, _PRINTED):
        (shared / name).unlink(missing_ok=True)
    over = shared / "over"
    over.mkdir(exist_ok=True)
    # This checkout's parts, whatever the environment has installed.
    path = "PYTHONPATH=" + ":".join(str(REPO / part) for part in ("", *PARTS))
    line = (
        f"cd {shlex.quote(str(REPO))} && PYTHONPATH={shlex.quote(path)} exec {shlex.join(command)}"
    )
    init = shared / "init"
    init.write_text(
        _INIT.format(
            busybox=machine.busybox, modules=shlex.join(map(str, machine.modules)),
            over=over, out=shared, shared=SHARED, command=shlex.quote(line),
            booted=_BOOTED, printed=_PRINTED, status=_STATUS,
        )
    )  # fmt: skip
    init.chmod(0o755)
    boot = [
        str(machine.linux), f"mem={_MEGABYTES}M", "rootfstype=hostfs", "rootflags=/", "ro",
        f"init={init}", "con=null", "con0=null,fd:1", "quiet",
    ]  # fmt: skip
    # In a session of its own: what runs in the machine are processes of this one.
    linux = subprocess.Popen(
        boot, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", start_new_session=True,
    )  # fmt: skip
    try:
        printed, _ = linux.communicate(timeout=longest_s)
    except BaseException as error:
        os.killpg(linux.pid, signal.SIGKILL)
        linux.communicate()
        if isinstance(error, subprocess.TimeoutExpired):
            raise CheckError(f"the machine took more than {longest_s:g} s") from None
        raise
    if not (shared / _STATUS).is_file():
        said = printed.strip().splitlines()
        verb = "end well" if (shared / _BOOTED).is_file() else "boot"
        raise CheckError(f"the machine did not {verb}: {said[-1] if said else 'no output'}")
    return Ended(int((shared / _STATUS).read_text()), (shared / _PRINTED).read_text())


def _run(*command: str, cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no output"]
        raise CheckError(f"{' '.join(command[:3])}: exit status {done.returncode}: {lines[-1]}")
