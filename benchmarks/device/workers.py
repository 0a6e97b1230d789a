"""A contestant's process: started on some cores, asked over a pipe; knows no figure's meaning."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Self

import msgspec
from benchmarks.device.build import REPOSITORY
from benchmarks.device.machine import first_cores
from benchmarks.device.wire import READY, Mode, Timing


class Worker:
    """A process that generates when asked, and sleeps otherwise."""

    def __init__(
        self, command: Sequence[str], *, threads: int, settings: Mapping[str, str]
    ) -> None:
        """Start it, and wait until its program is loaded.

        Args:
            command: the process; speaks as `wire` says, and takes `threads` as its last argument.
            threads: it may run on so many cores, the first ones, and no others.
            settings: added to the environment.
        """
        self._command = [*command, str(threads)]
        everywhere = os.sched_getaffinity(0)
        os.sched_setaffinity(0, first_cores(threads))  # what a child inherits
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                cwd=REPOSITORY,
                env={**os.environ, **settings},
            )
        finally:
            os.sched_setaffinity(0, everywhere)
        line = self._read()
        if line != READY:
            sys.exit(f"device: {command[0]} said {line!r} where {READY!r} was due")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def ask(self, mode: Mode, prompt: Sequence[int], new_tokens: int) -> Timing:
        """One response; ends the program if it stopped early."""
        assert self._process.stdin is not None  # noqa: S101 - opened as a pipe
        self._process.stdin.write(f"{mode} {new_tokens} {' '.join(map(str, prompt))}\n")
        self._process.stdin.flush()
        timing = msgspec.json.decode(self._read(), type=Timing)
        if timing.tokens != new_tokens:
            sys.exit(f"device: {self._command[0]} gave {timing.tokens} of {new_tokens} tokens")
        return timing

    def _read(self) -> str:
        assert self._process.stdout is not None  # noqa: S101 - opened as a pipe
        line = self._process.stdout.readline().strip()
        if not line:
            sys.exit(f"device: {' '.join(self._command)} ended: {self._process.wait()}")
        return line
