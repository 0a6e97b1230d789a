"""`escalade ask` with a policy: what is said of a query that stays; the prompt on a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from relay import relay_to

Invoke = Callable[..., tuple[int, str, str]]
PROMPT = "g2p: cascade"


@pytest.fixture
def write(shelf: Path, tmp_path: Path, scripted_cloud: Any) -> Callable[..., Path]:
    def write(policy: str, address: str | None = None) -> Path:
        path = tmp_path / "cascade.toml"
        path.write_text(
            f'[policy]\n{policy}\n[[tiers]]\nname = "small"\nmembers = ["{shelf}/small"]\n'
            "gate = { threshold = -1.0 }\n"
            f'[[tiers]]\naddress = "{address or scripted_cloud.address}"\n'
        )
        return path

    return write


def test_what_stays_is_said_and_why(
    invoke: Invoke, write: Callable[..., Path], scripted_cloud: Any
) -> None:
    path = write("stay_tasks = ['diary']\nwhen_unknown = 'send'")
    code, out, err = invoke("ask", path, PROMPT, "--task", "diary")
    assert code == 2
    assert out.strip()  # the small model's answer, all the same
    assert "answered by small (device), degraded" in err
    assert "error: degraded: POLICY_TASK: cloud: not sent: task 'diary' is one of stay_tasks" in err
    code, out, _ = invoke("ask", path, PROMPT, "--task", "diary", "--json")
    said = json.loads(out)
    assert (code, said["outcome"], said["blocked"]) == (2, "degraded", "POLICY_TASK")
    assert scripted_cloud.asked == []
    code, out, _ = invoke("ask", path, PROMPT, "--json")
    assert (code, json.loads(out)["outcome"], json.loads(out)["blocked"]) == (0, "deferred", None)


def test_without_a_terminal_there_is_nobody_to_ask(
    invoke: Invoke, write: Callable[..., Path], scripted_cloud: Any
) -> None:
    code, _, err = invoke("ask", write("send = 'ask'"), PROMPT)
    assert code == 2
    assert 'POLICY_CONSENT: cloud: not sent: send = "ask", and there is nobody to ask' in err
    assert scripted_cloud.asked == []


@pytest.mark.parametrize(
    ("typed", "code", "queries"), [("all\n", 0, 2), ("yes\nno\n", 0, 1), ("no\nno\n", 2, 0)]
)
def test_record_asks_at_the_terminal_too(
    typed: str,
    code: int,
    queries: int,
    write: Callable[..., Path],
    scripted_cloud: Any,
    tmp_path: Path,
) -> None:
    data, out = tmp_path / "data.jsonl", tmp_path / "trace.jsonl"
    line = {"id": "1", "task": "g2p", "prompt": PROMPT, "references": ["x"]}
    lines = [line, {**line, "id": "2"}]
    data.write_text("".join(json.dumps(one) + "\n" for one in lines))
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "escalade.cli", "record", str(write("send = 'ask'"))]
    command += ["--data", str(data), "--out", str(out)]
    os.write(ours, typed.encode())
    with subprocess.Popen(command, stdin=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # the other end is closed
            while part := os.read(ours, 4096):
                shown += part
    os.close(ours)
    assert process.returncode == code, shown
    assert len(scripted_cloud.asked) == queries
    assert shown.count(b"Send it?") == typed.count("\n")
    assert (b"2 queries" in shown) == out.exists() == (code == 0)
    assert (b"the user has agreed to nothing yet" in shown) == (code == 2)


@pytest.mark.parametrize(("typed", "sent"), [("yes\n", True), ("\n", False)])
def test_a_terminal_is_asked_before_a_byte_leaves(
    typed: str, sent: bool, write: Callable[..., Path], scripted_cloud: Any
) -> None:
    with relay_to(scripted_cloud.address) as relay:
        path = write("send = 'ask'\nredact = ['cas+']", relay.address)
        ours, theirs = pty.openpty()
        command = [sys.executable, "-m", "escalade.cli", "ask", str(path), PROMPT]
        with subprocess.Popen(
            command, stdin=theirs, stderr=theirs, stdout=subprocess.PIPE, text=True
        ) as process:
            os.close(theirs)
            shown = ""
            while "Send it?" not in shown:
                shown += os.read(ours, 4096).decode()
            assert relay.carried == 0
            os.write(ours, typed.encode())
            assert process.stdout is not None
            out = process.stdout.read()
        os.close(ours)
    assert f"cloud ({relay.address}) would be sent " in shown
    assert "g2p: [HIDDEN_1]cade" in shown
    assert (out == "large answer\n") == sent
    assert process.returncode == (0 if sent else 2)
    assert bool(scripted_cloud.asked) == sent
