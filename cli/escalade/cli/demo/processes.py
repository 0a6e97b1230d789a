"""Starts the demo's real processes and makes sure that none outlives it; knows no model."""

from __future__ import annotations

import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from escalade.cli.errors import DemoError

_CONTROL = "--control"
_READY = re.compile(r" on (\S+:\d+)$")
_START_S = 120.0  # loading torch on a slow board takes most of a minute
_STOP_S = 10.0


class Started(NamedTuple):
    """A process that is ready."""

    #: That it announces.
    address: str
    pid: int
    #: Of a proxy's control, where it was given `--control`; else empty.
    control: str


@contextmanager
def running(name: str, *arguments: str) -> Iterator[str]:
    """As `started`; gives the address alone."""
    with started(name, *arguments) as process:
        yield process.address


@contextmanager
def started(name: str, *arguments: str) -> Iterator[Started]:
    """Run `escalade ARGUMENTS` as a process of its own.

    The process is told to stop when the block ends, however it ends, and is killed if it
    does not. It is started in a session of its own, so that a Ctrl-C in the terminal reaches the
    demo alone, which then stops it in order.

    Raises:
        DemoError: it ended, or did not get ready in time; with its last lines.
    """
    process = None
    try:
        with _held_signals():  # one that came between the start and this line would orphan it
            process = subprocess.Popen(  # noqa: S603 - our own interpreter and verb
                [sys.executable, "-m", "escalade.cli", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        addresses = _addresses(name, process)
        address = next(addresses)
        control = next(addresses) if _CONTROL in arguments else ""
        yield Started(address, process.pid, control)
    finally:
        if process is not None:
            with _held_signals():
                _stop(process)


def _stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def _held_signals() -> Iterator[None]:
    """Keep the signals that end the demo until the block is over, then end it."""
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: came.append(number))
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        raise KeyboardInterrupt


def _addresses(name: str, process: subprocess.Popen[str]) -> Iterator[str]:
    """Wait for each line that says where the process listens; go on draining its output."""
    lines: queue.Queue[str | None] = queue.Queue()

    def drain() -> None:
        assert process.stderr is not None  # noqa: S101 - it was asked for
        with process.stderr:
            for line in process.stderr:
                lines.put(line.rstrip())
        lines.put(None)

    threading.Thread(target=drain, daemon=True).start()
    said: list[str] = []
    while True:
        try:
            line = lines.get(timeout=_START_S)
        except queue.Empty:
            raise DemoError(f"{name} was not ready within {_START_S:g} s") from None
        if line is None:
            raise DemoError(f"{name} ended before it was ready: {' / '.join(said[-3:])}")
        said.append(line)
        if ready := _READY.search(line):
            yield ready[1]
