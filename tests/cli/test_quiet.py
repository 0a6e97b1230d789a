"""What libraries say: bars are for a terminal, whatever library draws them."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import termios

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"}
BAR = (
    "from escalade.cli.process.quiet import quiet_third_party\n"
    "quiet_third_party()\n"
    "from tqdm.auto import tqdm\n"
    "list(tqdm([1], desc='Loading'))\n"
)


def bar(stderr: int) -> bytes:
    done = subprocess.run(
        [sys.executable, "-c", BAR], stdout=subprocess.PIPE, stderr=stderr, env=ENVIRONMENT,
        check=True,
    )  # fmt: skip
    assert done.stdout == b""
    return done.stderr or b""


def test_bars_are_drawn_on_a_terminal_alone() -> None:
    assert bar(subprocess.PIPE) == b""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    bar(theirs)
    os.close(theirs)
    assert b"Loading: 100%" in os.read(ours, 1 << 16)
    os.close(ours)


def test_a_home_that_takes_no_files_is_no_news() -> None:
    """matplotlib says where it keeps its fonts then; `simulate` draws none of its figures."""
    code = (
        "from escalade.cli.process.quiet import quiet_third_party\n"
        "quiet_third_party()\n"
        "import matplotlib\n"
        "matplotlib.get_cachedir()\n"
    )
    nowhere = {**os.environ, "HOME": "/dev/null", "MPLCONFIGDIR": "/dev/null/matplotlib"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=nowhere, check=True
    )
    assert done.stderr == ""
