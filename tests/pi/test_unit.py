"""The board's systemd unit: what it starts exists, and what it may do is little."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
UNIT = REPO / "edge" / "pi" / "escalade.service"

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze (Debian: systemd)"
)


def read(text: str) -> dict[str, list[str]]:
    """Every directive of a unit with its values, as `SECTION.NAME`."""
    found: dict[str, list[str]] = defaultdict(list)
    section = ""
    for line in text.splitlines():
        if (head := re.fullmatch(r"\[(\w+)\]", line)) is not None:
            section = head[1]
        elif line and not line.startswith("#"):
            name, equals, value = line.partition("=")
            assert equals, f"no directive: {line!r}"
            found[f"{section}.{name}"].append(value)
    return found


def test_its_command_line_is_one_that_listen_takes() -> None:
    from typer.main import get_command

    from escalade.cli.main import app

    (command,) = read(UNIT.read_text())["Service.ExecStart"]
    program, verb, *arguments = shlex.split(command)
    assert (program, verb) == ("/opt/escalade/bin/escalade", "listen")
    listen = get_command(app).commands["listen"]  # type: ignore[attr-defined]
    given = listen.make_context("listen", arguments).params
    assert (given["host"], given["port"]) == ("127.0.0.1", 8080)
    # Its grace, and time for what comes after.
    (stop_s,) = read(UNIT.read_text())["Service.TimeoutStopSec"]
    assert int(stop_s) > given["grace_s"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DynamicUser", "yes"),
        ("StateDirectory", "escalade"),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "yes"),
        ("NoNewPrivileges", "yes"),
        ("CapabilityBoundingSet", ""),
        ("MemoryDenyWriteExecute", "yes"),
        ("MemoryMax", "512M"),
        ("Restart", "on-failure"),
        ("RestartPreventExitStatus", "2"),
    ],
)
def test_what_the_page_promises_stands_in_it(name: str, value: str) -> None:
    assert read(UNIT.read_text())[f"Service.{name}"] == [value]


@needs_systemd
def test_systemd_takes_every_line_and_finds_little_exposed(tmp_path: Path) -> None:
    """With a program that is there: a unit whose program is missing is no good unit to it."""
    copy = tmp_path / UNIT.name
    text = UNIT.read_text().replace("/opt/escalade/bin/escalade", sys.executable)
    copy.write_text(text)
    assert not analyzed("verify", str(copy))
    # Tenths; "OK" is below 50. Its port, and the tiers above, are what is left.
    analyzed("security", "--offline=true", "--threshold=15", str(copy))
    copy.write_text(text.replace("ProtectHome=", "ProtectHouse="))
    assert "ProtectHouse" in analyzed("verify", str(copy))


def analyzed(*arguments: str) -> str:
    done = subprocess.run(
        ["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


# Linux 6.3: no page becomes executable that was not mapped so, as MemoryDenyWriteExecute has it
# (include/uapi/linux/prctl.h: PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN). 38 is PR_SET_NO_NEW_PRIVS.
_CONFINED = """
import ctypes, runpy, sys
prctl = ctypes.CDLL(None).prctl
if prctl(38, 1, 0, 0, 0) or prctl(65, 1, 0, 0, 0):
    sys.exit("no MDWE")
sys.argv[0] = "escalade"
runpy.run_module("escalade.cli", run_name="__main__")
"""


@pytest.mark.slow
def test_listen_runs_where_no_memory_becomes_executable(tmp_path: Path) -> None:
    from escalade.export.artifact.artifact import export_artifact

    export_artifact(
        REPO / "training" / "checkpoints" / "small-cat-xent", tmp_path / "small", quantize="int8"
    )
    arguments = ("listen", str(tmp_path / "small"), "--port", "0")
    process = subprocess.Popen(
        [sys.executable, "-c", _CONFINED, *arguments], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        if "no MDWE" in line:
            pytest.skip("needs Linux 6.3 or later")
        assert "serving small-cat-xent on http://127.0.0.1:" in line
    finally:
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
