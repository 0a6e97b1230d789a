"""Asks `escalade listen` on the emulated device over OpenAI's HTTP; knows no manifest, no verdict.

The tree has this machine's network: its loopback is ours.
"""

from __future__ import annotations

import re
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import msgspec
from arm64_tree import CheckError, Cpu, started_in

_SERVING = re.compile(rb"serving (\S+) on (http://127\.0\.0\.1:\d+/v1)")
#: Python, onnxruntime and a model under emulation, on a busy machine.
_READY_IN_S = 240
_ANSWERS_IN_S = 120


class Heard(msgspec.Struct):
    """The `escalade` field of a choice, as much of it as is judged."""

    outcome: str
    tier: str
    score: float
    threshold: float


class Choice(msgspec.Struct):
    """An answer."""

    text: str
    escalade: Heard


class _Body(msgspec.Struct):
    choices: list[Choice]


def listened(
    tree: Path, cpu: Cpu, command: Sequence[str], *, prompts: list[str], log: Path
) -> list[Choice]:
    """What the endpoint of that device answers, one prompt after the other.

    Args:
        tree: the arm64 tree.
        cpu: the processor.
        command: `escalade listen` with `--port 0`, as the tree has it.
        prompts: what is asked.
        log: takes what the endpoint prints.

    Raises:
        CheckError: it does not come up, does not answer, or does not drain at SIGTERM.
    """
    with started_in(tree, cpu, *command, log=log) as process:
        model, base = _ready(process, log)
        choices = [_asked(base, model, prompt) for prompt in prompts]
    if process.returncode != 0 or b"drained" not in log.read_bytes():
        raise CheckError(f"escalade listen: no drain at SIGTERM: {process.returncode}, {log}")
    return choices


def _ready(process: subprocess.Popen[bytes], log: Path) -> tuple[str, str]:
    """What it serves, and where."""
    until = time.monotonic() + _READY_IN_S
    while time.monotonic() < until:
        if (found := _SERVING.search(log.read_bytes())) is not None:
            return found[1].decode(), found[2].decode()
        try:
            code = process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            continue
        raise CheckError(f"escalade listen: exit status {code}, see {log}")
    raise CheckError(f"escalade listen: not serving after {_READY_IN_S} s, see {log}")


def _asked(base: str, model: str, prompt: str) -> Choice:
    request = urllib.request.Request(  # noqa: S310 - its own loopback
        f"{base}/completions",
        data=msgspec.json.encode({"model": model, "prompt": prompt}),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=_ANSWERS_IN_S) as response:  # noqa: S310
            body = msgspec.json.decode(response.read(), type=_Body)
    except (OSError, msgspec.MsgspecError) as error:
        raise CheckError(f"escalade listen: {prompt!r}: {error}") from None
    return body.choices[0]
