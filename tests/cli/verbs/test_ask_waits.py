"""What `escalade ask` says while it waits for somebody else: of a refusal, on a terminal."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest
from scripted import good_reply

from escalade.v1 import cascade_pb2 as pb

WAIT_S = 20


def command(artifact: Path, address: str) -> list[str]:
    """One that has to ask the cloud."""
    ask = [sys.executable, "-m", "escalade.cli", "ask", str(artifact), "g2p: cat"]
    return [*ask, "--cloud", address, "--threshold", "-1", "--deadline-s", str(WAIT_S)]


def test_a_cloud_that_refuses_is_said_at_once(shelf: Path, silent_cloud: str) -> None:
    """It may start yet, so that it is asked again; who waits knows, and may end it."""
    with subprocess.Popen(
        command(shelf / "small", silent_cloud),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        line = process.stderr.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert line.startswith(f"UNAVAILABLE: cloud {silent_cloud}: ")
    assert "Connection refused" in line
    assert re.search(rf"; asked again for ({WAIT_S}|{WAIT_S - 1}\.\d) s$", line)
    assert (process.returncode, rest) == (130, "")


@pytest.mark.parametrize("streamed", [False, True])
def test_a_terminal_says_who_is_asked_until_the_answer_is_there(
    shelf: Path, scripted_cloud: Any, streamed: bool
) -> None:
    shown = threading.Event()

    def reply(request: pb.GenerateRequest, context: grpc.ServicerContext) -> pb.GenerateResponse:
        assert shown.wait(WAIT_S)
        return good_reply(request, context)

    scripted_cloud.replies = [reply]
    ours, theirs = pty.openpty()
    options = ["--stream"] if streamed else []
    with subprocess.Popen(
        command(shelf / "small", scripted_cloud.address) + options,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    ) as process:
        os.close(theirs)
        said = ""
        while not ("\n" in said if streamed else "asking cloud" in said):  # the draft's own line
            said += os.read(ours, 4096).decode()
        shown.set()
        assert process.stdout is not None
        assert process.stdout.read() == "large answer\n"
    said += os.read(ours, 65536).decode()
    os.close(ours)
    assert process.returncode == 0
    assert ("asking cloud" in said) != streamed
    assert "answered by the cloud" in said
    assert said.count("\x1b[?25l") == said.count("\x1b[?25h")  # the cursor is there again
