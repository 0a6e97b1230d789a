"""`escalade netns` as a user meets it: what tc is told, one line for a mistake, a code to keep."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from escalade.simulator.network import kernel_lacks, probe_kernel

Invoke = Callable[..., tuple[int, str, str]]

PROGRAM = """
import os, sys
code = int(sys.argv[1])
os.kill(os.getpid(), -code) if code < 0 else sys.exit(code)
"""


def test_a_dry_run_says_what_tc_is_told(invoke: Invoke, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        '[train]\nrtt_ms = 70\ndown_mbps = 12\nsource = "ours"\n'
        "outages = [{ kind = 'cycle', every_s = 15, lasts_s = 1 }]\n"
    )
    mine = tmp_path / "mine.toml"
    code, out, err = invoke("netns", "--profile", "train", "--profiles", mine, "--dry-run")
    assert (code, err) == (0, "")
    # The cycle begins with an outage.
    assert out.splitlines() == [
        "device: tc qdisc add dev device root netem limit 100000 delay 35ms loss random 100%"
        " rate 1tbit",
        "cloud: tc qdisc add dev cloud root netem limit 100000 delay 35ms loss random 100%"
        " rate 1tbit",
        "changed by tc qdisc change while it runs, in steps of 10 ms",
    ]


@pytest.mark.parametrize(("code", "kept"), [("3", 3), ("-9", 137)])
def test_the_commands_code_is_kept_or_what_is_missing_is_said(
    invoke: Invoke, code: str, kept: int
) -> None:
    program = (
        "import os, sys; n = int(sys.argv[1]); os.kill(os.getpid(), -n) if n < 0 else sys.exit(n)"
    )
    command = ("--", sys.executable, "-c", program, code)
    found, out, err = invoke("netns", "--profile", "lte", "--upstream", ":1", *command)
    assert out == ""
    (line,) = err.splitlines()
    if lacking := kernel_lacks(probe_kernel()):
        assert found == 2
        assert line == f"error: no network of the kernel's on this machine: {lacking}"
    else:
        assert found == kept
        assert line == "lte (70 ms round trip) to 127.0.0.1:1 on 10.9.0.2:1"


def test_a_seed_is_taken_or_refused_and_never_ignored(invoke: Invoke) -> None:
    command = ("--upstream", ":1", "--seed", "7", "--", "tc", "qdisc", "show", "dev", "device")
    code, _, err = invoke("netns", "--profile", "wifi-good", *command)
    line = err.splitlines()[-1]
    if lacking := kernel_lacks(probe_kernel()):
        assert line.endswith(f"on this machine: {lacking}")
    else:
        # Linux from 6.6 on; the kernel of `make test-netns` is older.
        assert code == 0 or "takes no seed here" in line
    assert code in {0, 2}


ENDING = """
import subprocess, sys
from escalade.cli.process.signals import unwind_on_signals
from escalade.cli.verbs.netns import _outlived
unwind_on_signals()
asked = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(600)"]
with _outlived(subprocess.Popen(asked)) as process:
    if sys.argv[1:]:
        raise OSError
    sys.exit(process.wait())
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, None])
def test_no_command_outlives_its_network(number: signal.Signals | None) -> None:
    """Told to the process alone, or by what goes wrong in it."""
    words = [] if number else ["wrong"]
    with subprocess.Popen(
        [sys.executable, "-c", ENDING, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        if number is not None:
            assert process.stdout.readline() == b"here\n"
            process.send_signal(number)
        # The end of the pipe: the command has it too.
        assert process.stdout.read() in {b"", b"here\n"}
        assert process.wait() == (1 if number is None else 256 - number)


MISTAKES: list[tuple[list[str], str]] = [
    (["--profile", "lt"], "got 'lt'; did you mean 'lte'?"),
    (["--profile", "lte", "true"], "Missing option '--upstream'"),
    (["--profile", "lte", "--upstream", ":1"], "Missing argument 'COMMAND'"),
    (["--profile", "lte", "--upstream", "x", "true"], "--upstream: address "),
    (["--profile", "lte", "--upstream", ":1", "no-such"], "program that there is; got 'no-such'"),
    (["--profile", "lte", "--seed", "-1", "true"], "--seed"),
    (["--profile", "lte", "--dry-run", "--seed", str(2**63)], "seed must be in [0, 922337203685"),
    (["--profile", "lte", "--upstream", ":1", "--seed", str(2**64), "true"], "for netem; got 1844"),
]


@pytest.mark.parametrize(("arguments", "says"), MISTAKES)
def test_a_mistake_is_one_line(invoke: Invoke, arguments: list[str], says: str) -> None:
    code, out, err = invoke("netns", *arguments)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert says in line
