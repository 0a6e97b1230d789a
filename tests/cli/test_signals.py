"""A verb that a signal ends says so in one line, with the exit code that shells have for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest


def waiting(pipe: Path) -> subprocess.Popen[str]:
    """A verb that waits for records out of a pipe."""
    command = [
        sys.executable,
        "-m",
        "escalade.cli",
        "export",
        "model",
        "out",
        "--golden",
        str(pipe),
    ]
    # As under `nohup`, or as at a terminal: whoever runs the tests may be under either.
    handler = "SIG_IGN" if pipe.name == "nohup" else "SIG_DFL"
    begin = (
        "import os, signal, sys\n"
        f"signal.signal(signal.SIGHUP, signal.{handler})\n"
        "os.execv(sys.argv[1], sys.argv[1:])\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", begin, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (signal.SIGTERM, "ended by SIGTERM\n"),
        (signal.SIGHUP, "ended by SIGHUP\n"),
        (signal.SIGINT, ""),
    ],
)
def test_a_signal_ends_a_verb_in_one_line(
    tmp_path: Path, number: signal.Signals, line: str
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with waiting(pipe) as process:
        with pipe.open("w"):  # opens when the verb has
            process.send_signal(number)
        # Closed by now: a signal between two of Python's looks at them is heard when a read ends.
        assert process.communicate() == ("", line)
    assert process.returncode == 128 + number


def test_what_was_ignored_stays_so(tmp_path: Path) -> None:
    pipe = tmp_path / "nohup"
    os.mkfifo(pipe)
    with waiting(pipe) as process:
        with pipe.open("w") as stream:
            process.send_signal(signal.SIGHUP)
            stream.write("no record\n")
        assert "error: " in process.communicate()[1]
    assert process.returncode == 2


def test_a_forked_process_ends_at_once() -> None:
    code = (
        "import os, signal\n"
        "from escalade.cli.process.signals import EndedError, unwind_on_signals\n"
        "unwind_on_signals()\n"
        "if not (child := os.fork()):\n"
        "    try: signal.raise_signal(signal.SIGTERM)\n"
        "    finally: os._exit(1)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "try: signal.raise_signal(signal.SIGTERM)\n"
        "except EndedError as end: print(end.code, end.name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [str(-signal.SIGTERM), "143 SIGTERM"]
