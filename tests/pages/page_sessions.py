"""A reader's two windows, a shell and a Python interpreter, in one folder; knows no page."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

_MARK = "=== end of block"
_START_S = 180.0  # importing torch on a shared core
_STOP_S = 30.0
_STOPPED = re.compile(r"(?<=kill )(?:%\d+ ?)+")

# Blocks are sourced from a file, so that no command reads the rest of the page as its input.
_SHELL = (
    "set -m\ntrap 'failed=\"$? at: $BASH_COMMAND\"' ERR\ntrap 'kill $(jobs -p) 2>/dev/null' EXIT\n"
)
_PYTHON = f"""
import json, sys, traceback
space = {{"__name__": "__main__"}}
for line in sys.stdin:
    source, name = json.loads(line)
    failed = ""
    try:
        exec(compile(source, name, "exec"), space)
    except BaseException:
        failed = traceback.format_exc()
    print(f"\\n{_MARK}", json.dumps(failed), flush=True)
"""


class FailedError(Exception):
    """A command or a line of Python failed; with what it printed."""


class _Child:
    """A process that runs one source after another and says when each is done."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
            start_new_session=True,
        )

    def tell(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text)
        self._process.stdin.flush()

    def heard(self) -> tuple[str, str]:
        """What was printed until the mark, and what stands behind the mark."""
        assert self._process.stdout is not None
        lines = []
        for line in self._process.stdout:
            if line.startswith(_MARK):
                return "".join(lines).removesuffix("\n"), line.removeprefix(_MARK).strip()
            lines.append(line)
        raise FailedError("the process ended:\n" + "".join(lines))

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._process.stdin, self._process.stdout:
            self._process.stdin.close()  # both end where their input does
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()


class Reader:
    """Pastes blocks into a shell and an interpreter that stand in the same folder."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        """Open both; the interpreter starts at its first block."""
        self._folder, self._environment = folder, environment
        self._shell = _Child(["bash", "--noprofile", "--norc"], folder, environment)
        self._shell.tell(_SHELL)
        self._python: _Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._shell.end()
        if self._python is not None:
            self._python.end()

    def sh(self, commands: str, *, may_fail: bool = False) -> str:
        """Run commands; what they print, stderr too.

        Raises:
            FailedError: one had another exit code than 0.
        """
        block = self._folder / ".block.sh"
        block.write_text(commands)
        self._shell.tell(f". ./{block.name} < /dev/null\n")
        if stopped := " ".join(_STOPPED.findall(commands)):
            # As a reader's shell has it when the next block is pasted: numbers begin at 1 again.
            self._shell.tell(f"{{ wait {stopped}; jobs; }} > /dev/null 2>&1 || true\n")
        self._shell.tell(f"printf '\\n%s %s\\n' '{_MARK}' \"$failed\"; failed=\n")
        printed, failed = self._shell.heard()
        if bool(failed) is not may_fail:
            raise FailedError(f"exit code {failed or 0} of\n{commands}\n{printed}")
        return printed

    def jobs(self) -> str:
        """What still runs in the background."""
        return self.sh("jobs -r").strip()

    def wait_for_jobs(self) -> None:
        """Until what was told to stop has drained.

        Raises:
            FailedError: something still runs after half a minute.
        """
        deadline = time.monotonic() + _STOP_S
        while left := self.jobs():
            if time.monotonic() > deadline:
                raise FailedError(f"left running: {left}")
            time.sleep(0.1)

    def python(self, source: str, name: str) -> str:
        """Run Python in the namespace of the blocks before; what it prints.

        Raises:
            FailedError: with the traceback.
        """
        if self._python is None:
            command = [sys.executable, "-u", "-c", _PYTHON]
            self._python = _Child(command, self._folder, self._environment)
        self._python.tell(json.dumps([source, name]) + "\n")
        printed, failed = self._python.heard()
        if failed := json.loads(failed):
            raise FailedError(f"{printed}\n{failed}")
        return printed

    def wait_for(self, port: int, *, told: bool, heard: str) -> str:
        """Until a server is ready, as a reader waits for `serving`; what was printed meanwhile.

        Args:
            port: of this machine.
            heard: what was printed before: of several that start at once, any is the first.
            told: the server prints ` on HOST:PORT` when it is; of others, until it listens.

        Raises:
            FailedError: it is not, in three minutes, or no job runs any more.
        """
        deadline = time.monotonic() + _START_S
        printed = ""
        while True:
            printed += self.sh(":")
            if re.search(rf" on \S+:{port}\b", heard + printed) if told else _listens(port):
                return printed
            left = self.jobs()
            if time.monotonic() > deadline or not left:
                raise FailedError(f"no server at port {port}\n{printed}")
            printed += left  # and what came while the shell was asked: it may be the very line
            time.sleep(0.1)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return False
    return True


class Ports:
    """A free port in place of each that a page names, the same at every mention."""

    def __init__(self, blocks: str) -> None:
        """Find them: a number after this machine's name and a colon."""
        named = sorted(set(re.findall(r"(?:127\.0\.0\.1|localhost):(\d{4,5})\b", blocks)))
        held = [socket.create_server(("127.0.0.1", 0)) for _ in named]
        self._free = {
            port: str(one.getsockname()[1]) for port, one in zip(named, held, strict=True)
        }
        for one in held:
            one.close()

    def put(self, text: str) -> str:
        """The text with the free ports."""
        return self._replaced(text, self._free)

    def back(self, text: str) -> str:
        """What was printed, with the page's ports."""
        return self._replaced(text, {free: port for port, free in self._free.items()})

    def of(self, commands: str) -> list[int]:
        """The free ports that commands name."""
        return [int(free) for free in self._free.values() if re.search(rf"\b{free}\b", commands)]

    @staticmethod
    def _replaced(text: str, by: dict[str, str]) -> str:
        if not by:
            return text

        def swap(found: re.Match[str]) -> str:
            return by[found[0]]

        return re.sub(rf"\b({'|'.join(by)})\b", swap, text)
