"""Keeps the process that learns alive, and hears how far it is; knows no model."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from threading import Event, Thread

import msgspec

_LOG = logging.getLogger(__name__)

# Before it is started again: doubled with each time that it ends soon, and no more than a minute.
_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 60.0
_STOP_S = 10.0


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far the learner is: a line of its standard output."""

    #: Entries of the feed.
    taken: int = 0
    learned: int = 0
    #: Answers that name no label.
    unparsed: int = 0
    #: Versions that it has published since it was started, and times that it could not.
    versions: int = 0
    failures: int = 0


class Supervisor:
    """Starts `python -m escalade.cli.learning`, again and again."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        command: Sequence[str] = (sys.executable, "-m", "escalade.cli.learning"),
        pause: Callable[[float], bool] | None = None,
    ) -> None:
        """Start nothing yet.

        Args:
            arguments: of the process.
            command: the process.
            pause: waits so many seconds; True where no further one is wanted. Default: by the
                clock, until `close`.
        """
        self._command = [*command, *arguments]
        self._ends = Event()
        self._pause = pause or self._ends.wait
        self._process: subprocess.Popen[str] | None = None
        self._thread = Thread(target=self._keep, name="learner", daemon=True)
        self.progress = Progress()
        self.restarts = 0

    def start(self) -> None:
        """Start it."""
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait until no further process is started."""
        self._thread.join(seconds)

    def close(self) -> None:
        """End it: what it has not saved it learns again the next time."""
        self._ends.set()
        if self._process is not None:
            self._process.terminate()
        if self._thread.is_alive():
            self._thread.join(_STOP_S)

    def _keep(self) -> None:
        wait_s = _FIRST_WAIT_S
        while not self._ends.is_set():
            try:
                heard = self._run()
            except OSError as error:
                _LOG.warning("the learner cannot be started: %s", error)
                heard = False
            if self._ends.is_set():
                return
            wait_s = _FIRST_WAIT_S if heard else min(2 * wait_s, _LONGEST_WAIT_S)
            _LOG.warning("the learner ended; it is started again in %.0f s", wait_s)
            if self._pause(wait_s):
                return
            self.restarts += 1

    def _run(self) -> bool:
        """Whether it came so far as to say anything."""
        heard = False
        with subprocess.Popen(  # noqa: S603 - our own interpreter and module
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            self._process = process
            if self._ends.is_set():
                process.terminate()
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            for line in process.stdout:
                try:
                    self.progress = msgspec.json.decode(line, type=Progress)
                    heard = True
                except msgspec.DecodeError:
                    _LOG.warning("learner: %s", line.rstrip())
        return heard
