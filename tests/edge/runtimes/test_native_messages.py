"""Known lines of native code stay off the terminal, every other line comes through."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from escalade.edge.runtimes.executorch.native_messages import without_messages


def test_known_lines_are_dropped_and_others_written_on(capfd: pytest.CaptureFixture[str]) -> None:
    with without_messages((b"[cpuinfo.cpp:", b"[pool.cpp:")):
        os.write(2, b"[cpuinfo.cpp:71] Reading\nout of memory\n[pool.cpp:66] Resetting\nno newline")
    os.write(2, b"\nafter\n")
    assert capfd.readouterr().err == "out of memory\nno newline\nafter\n"


def test_they_come_through_where_the_block_fails(capfd: pytest.CaptureFixture[str]) -> None:
    def failing() -> None:
        with without_messages((b"noise",)):
            os.write(2, b"noise\nwhy\n")
            raise ValueError("so")

    with pytest.raises(ValueError, match="so"):
        failing()
    assert capfd.readouterr().err == "why\n"


def test_a_closed_stderr_is_left_closed() -> None:
    program = (
        "import os; os.close(2)\n"
        "from escalade.edge.runtimes.executorch.native_messages import without_messages\n"
        "with without_messages((b'x',)):\n    print('inside')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"inside\n")
