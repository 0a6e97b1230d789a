"""An arm64 Debian 12 tree with the device's real wheels, run by qemu; knows no model, no artifact.

The tree is unpacked, not configured: no maintainer script runs, so nothing has to be registered
with the kernel (binfmt_misc). Whatever runs inside is one process under an explicit qemu.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
MIRROR = "http://deb.debian.org/debian"
PYTHON = "/opt/escalade/bin/python"

_SUITE = "bookworm"
_QEMU = Path("/usr/bin/qemu-aarch64-static")
# Debian packages that bring the tools, by the tool.
_TOOLS = {str(_QEMU): "qemu-user-static", "debootstrap": "debootstrap"}
# python3-venv brings pip as a wheel of Debian's own, which runs without being installed.
_PACKAGES = "python3,python3-venv"
_WHEELS = "/var/cache/wheels"
# What a board installs (docs/raspberry-pi.md): the device, OpenAI's HTTP on it, and signatures.
_EXTRAS = ("endpoint", "signing")
# Bookworm has glibc 2.36 and takes every manylinux up to it (PEP 600); manylinux2014 is 2.17.
_PLATFORMS = ("manylinux2014_aarch64", *(f"manylinux_2_{n}_aarch64" for n in range(17, 37)))
_FOR_THE_TREE = (
    "--only-binary=:all:", "--python-version=3.11", "--implementation=cp",
    *(f"--platform={name}" for name in _PLATFORMS),
)  # fmt: skip
_SITE = "opt/escalade/lib/python3.11/site-packages"
_LONGEST_S = 600
# A drain under emulation: nothing is under way then.
_ENDS_IN_S = 60
# Nothing of the host's: no PYTHONPATH, no settings of pip.
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
_CANNOT_ENTER = 125
# onnxruntime opens a program's data file through /proc/self/fd, and reads /proc/cpuinfo and /sys to
# know the processor. The mounts are private to the process and go with it.
_ENTER = """
mount -t proc proc "$1/proc" && mount --bind "$2" "$1/proc/cpuinfo" || exit 125  # _CANNOT_ENTER
tree=$1; shift 2; exec chroot "$tree" "$@"
"""


class CheckError(Exception):
    """The check cannot be run here; one line says why."""


@dataclass(frozen=True)
class Cpu:
    """A processor that qemu models, and what Linux says of it."""

    name: str
    board: str
    #: Fields of the MIDR as qemu sets it (target/arm/cpu64.c; Arm's manuals of the cores).
    part: str
    variant: str
    revision: str
    #: SDOT and UDOT, by which 8-bit kernels are chosen (FEAT_DotProd, Armv8.2).
    dot_product: bool

    def cpuinfo(self) -> str:
        """A /proc/cpuinfo with as many processors as this machine has."""
        return "".join(
            f"processor\t: {number}\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
            f"CPU variant\t: {self.variant}\nCPU part\t: {self.part}\n"
            f"CPU revision\t: {self.revision}\n\n"
            for number in range(os.cpu_count() or 1)
        )


CPUS = {
    cpu.name: cpu
    for cpu in (
        Cpu("cortex-a72", "Raspberry Pi 4", "0xd08", "0x0", "3", dot_product=False),
        Cpu("cortex-a76", "Raspberry Pi 5", "0xd0b", "0x4", "1", dot_product=True),
    )
}


def ready_tree(home: Path, *, mirror: str, say: Callable[[str], None]) -> Path:
    """Make the tree or take the one that is there, with this checkout's `escalade` in it.

    Args:
        home: where trees are kept; the one made is `home/tree`.
        mirror: Debian's, for debootstrap.
        say: called with a line before each step that takes long or changes this machine.

    Returns:
        The tree's folder.

    Raises:
        CheckError: not root, not Debian, or a step failed.
    """
    _need_tools(say)
    tree = home / "tree"
    if not tree.is_dir():
        say(f"unpacking Debian {_SUITE} for arm64 from {mirror} into {tree}")
        partial = home / "partial"
        if partial.exists():
            shutil.rmtree(partial)
        _unpack(partial, mirror)
        partial.rename(tree)
    shutil.copy2(_QEMU, tree / "usr/bin")
    processors = tree / "sys/devices/system/cpu"
    processors.mkdir(parents=True, exist_ok=True)
    for name in ("possible", "present"):
        (processors / name).write_text(f"0-{(os.cpu_count() or 1) - 1}\n")
    with tempfile.TemporaryDirectory() as scratch:
        pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
        run(*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", scratch, str(REPO))
        (wheel,) = Path(scratch).glob("escalade-*.whl")
        _install(tree, wheel, pip, say)
    return tree


def run_in(tree: Path, cpu: Cpu, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the tree as on that processor; a signal is a negative exit status.

    Raises:
        CheckError: it takes too long, or the tree cannot be entered.
    """
    try:
        done = subprocess.run(
            _entering(tree, cpu, *command),
            env=_ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CheckError(f"{command[0]} took more than {_LONGEST_S} s on {cpu.name}") from None
    if done.returncode == _CANNOT_ENTER or done.stderr.startswith("unshare:"):
        raise CheckError(f"cannot mount /proc in the tree (CAP_SYS_ADMIN): {done.stderr.strip()}")
    return done


@contextmanager
def started_in(tree: Path, cpu: Cpu, *command: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program of the tree that goes on while the block runs; ended by SIGTERM, then SIGKILL.

    Args:
        tree: the tree.
        cpu: the processor that it runs on.
        command: its path in the tree, and its arguments.
        log: takes what it prints.
    """
    with log.open("wb") as out:
        # exec, chroot and qemu replace one another: the signal reaches the program.
        process = subprocess.Popen(
            _entering(tree, cpu, *command), env=_ENVIRONMENT, stdout=out, stderr=out
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=_ENDS_IN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _entering(tree: Path, cpu: Cpu, *command: str) -> list[str]:
    cpuinfo = tree / "run" / f"cpuinfo-{cpu.name}"
    cpuinfo.write_text(cpu.cpuinfo())
    enter = ["unshare", "--mount", "sh", "-c", _ENTER, "enter", str(tree), str(cpuinfo)]
    return [*enter, f"/usr/bin/{_QEMU.name}", "-cpu", cpu.name, *command]


def _need_tools(say: Callable[[str], None]) -> None:
    if platform.freedesktop_os_release().get("ID") != "debian":
        raise CheckError("needs Debian: qemu-user-static and debootstrap come from its archive")
    if os.geteuid() != 0:
        raise CheckError("needs root: debootstrap, chroot and apt-get do")
    missing = [package for tool, package in _TOOLS.items() if shutil.which(tool) is None]
    if missing:
        say(f"installing {' and '.join(missing)} on this machine with apt-get")
        run("apt-get", "update", "--quiet=2")
        quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run("apt-get", "install", "--quiet=2", "--no-install-recommends", *missing, env=quiet)


def _unpack(tree: Path, mirror: str) -> None:
    """Debootstrap's first stage, which checks signatures, and then every package it fetched."""
    tree.mkdir(parents=True)
    run(
        "debootstrap", "--arch=arm64", "--foreign", "--variant=minbase",
        f"--include={_PACKAGES}", _SUITE, str(tree), mirror,
    )  # fmt: skip
    archives = sorted((tree / "var/cache/apt/archives").glob("*.deb"))
    # Not dpkg-deb --extract: it would replace /lib -> usr/lib by a folder.
    unpack = 'dpkg-deb --fsys-tarfile "$1" | tar -x --keep-directory-symlink -C "$2"'
    for archive in archives:
        run("bash", "-o", "pipefail", "-c", unpack, "unpack", str(archive), str(tree))
        archive.unlink()
    (tree / "proc").unlink()  # debootstrap's link to this machine's /proc
    (tree / "proc").mkdir()


def _install(tree: Path, wheel: Path, pip: Sequence[str], say: Callable[[str], None]) -> None:
    """The dependencies where they changed, `escalade` every time.

    This machine's pip unpacks the tree's wheels: under emulation that takes more than ten minutes.
    The tree's own then says whether they are all there, for who is on an arm64.
    """
    cpu = CPUS["cortex-a72"]
    constraints = REPO / "constraints.txt"
    project = tomllib.loads((REPO / "pyproject.toml").read_text())["project"]
    extras = (project["optional-dependencies"][extra] for extra in _EXTRAS)
    needs = [*project["dependencies"], *itertools.chain.from_iterable(extras)]
    wheel_and_extras = f"{wheel}[{','.join(_EXTRAS)}]"
    wanted = hashlib.sha256(repr(needs).encode() + constraints.read_bytes())
    stamp = tree / "opt" / "dependencies.sha256"
    wheels = tree / _WHEELS.lstrip("/")
    fresh = not stamp.is_file() or stamp.read_text() != wanted.hexdigest()
    if fresh:
        say("fetching the aarch64 wheels of the device install")
        stamp.unlink(missing_ok=True)
        shutil.rmtree(wheels, ignore_errors=True)
        shutil.rmtree(tree / "opt/escalade", ignore_errors=True)
        run(
            *pip, "download", "--quiet", "--dest", str(wheels), *_FOR_THE_TREE,
            "--constraint", str(constraints), wheel_and_extras,
        )  # fmt: skip
        shutil.copy(constraints, wheels)
        _inside(tree, cpu, "/usr/bin/python3", "-m", "venv", "--without-pip", "/opt/escalade")
    say("installing in the tree, and checking that on " + cpu.name)
    site = tree / _SITE
    again = [] if fresh else ["--no-deps"]
    run(
        *pip, "install", "--quiet", "--upgrade", "--target", str(site), *_FOR_THE_TREE, *again,
        "--no-index", "--find-links", str(wheels), "--constraint", str(wheels / constraints.name),
        wheel_and_extras,
    )  # fmt: skip
    for script in (site / "bin").iterdir():
        script.replace((tree / PYTHON.lstrip("/")).with_name(script.name))
    (own,) = (tree / "usr/share/python-wheels").glob("pip-*.whl")
    _inside(tree, cpu, PYTHON, f"/usr/share/python-wheels/{own.name}/pip", "check")
    stamp.write_text(wanted.hexdigest())


def _inside(tree: Path, cpu: Cpu, *command: str) -> None:
    done = run_in(tree, cpu, *command)
    if done.returncode:
        raise CheckError(f"in the tree, {' '.join(command[:4])}: {last_line(done)}")


def run(*command: str, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CheckError(f"{' '.join(command[:3])}: {last_line(done)}")


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    """Why a program ended as it did, as far as it says so."""
    lines = (done.stderr.strip() or done.stdout.strip()).splitlines()
    return f"exit status {done.returncode}: {lines[-1] if lines else 'no output'}"
