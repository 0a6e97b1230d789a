"""Processes that are killed, stopped and started again; knows no model and no client."""

from __future__ import annotations

import queue
import re
import signal
import subprocess
import sys
import threading

import psutil

_READY = re.compile(r" on \S+:(\d+)$")
_AGAIN = re.compile(r"engine: started again$")
_START_S, _STOP_S = 180.0, 60.0


class Process:
    """`escalade ARGUMENTS --listen ...`, each time on the same port.

    Args:
        arguments: without `--listen`.
    """

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments
        self.port = 0
        self._popen: subprocess.Popen[str] | None = None
        self.start()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, and wait until it is ready.

        Raises:
            SystemExit: it is not.
        """
        self._popen = subprocess.Popen(
            [
                *(sys.executable, "-m", "escalade.cli", *self._arguments),
                *("--listen", f"127.0.0.1:{self.port}"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_drain, args=(self._popen, self._lines), daemon=True).start()
        self.port = int(self._until(_READY)[1])

    def _until(self, line: re.Pattern[str]) -> re.Match[str]:
        """Wait for a line of its stderr."""
        said: list[str] = []
        while True:
            try:
                said.append(self._lines.get(timeout=_START_S))
            except queue.Empty:
                raise SystemExit(f"{self._arguments[0]} was not ready: {said[-3:]}") from None
            if found := line.search(said[-1]):
                return found
            if said[-1] == _ENDED:
                raise SystemExit(f"{self._arguments[0]} ended before it was ready: {said[-3:]}")

    def send_engine(self, number: signal.Signals) -> None:
        """Send the process of its engine a signal."""
        if self._popen is not None:
            [engine] = psutil.Process(self._popen.pid).children()
            engine.send_signal(number)

    def wait_for_engine(self) -> None:
        """Wait until it has started its engine again."""
        self._until(_AGAIN)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        if self._popen is not None:
            self._popen.send_signal(number)

    def wait(self) -> None:
        """Wait for its end."""
        if self._popen is not None:
            self._popen.wait(_STOP_S)

    def close(self) -> None:
        """Kill it."""
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()


_ENDED = "(ended)"


def _drain(process: subprocess.Popen[str], lines: queue.Queue[str]) -> None:
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            lines.put(line.rstrip())
    lines.put(_ENDED)
