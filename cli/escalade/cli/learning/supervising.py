"""Keeps the process that learns alive, and hears how far it is; knows no model."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event, Thread

import msgspec

from escalade.training.errors import RecipeError

_LOG = logging.getLogger(__name__)

# Of the scheduler: serving goes first on a machine that is busy.
_NICE = 19
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
    #: Entries that had been taken when the last of these versions was made.
    published: int = 0


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
        self._thread: Thread | None = None
        self.progress = Progress()
        self.restarts = 0

    def start(self) -> None:
        """Start it, and wait until it says how far it is.

        Raises:
            RecipeError: it cannot be started, or ended before; with the last line that it said.
        """
        said = ["nothing"]
        try:
            process = self._begin()
        except OSError as error:
            raise RecipeError(f"the learner cannot be started: {error}") from error
        try:
            for line in _lines(process):
                if self._heard(line):
                    break
                said.append(line.rstrip())
            else:
                raise RecipeError(said[-1])
        except BaseException:
            self.close()
            raise
        # Not before: nobody is served yet, and whoever starts the gateway waits.
        _give_way(process.pid)
        for line in said[1:]:
            _LOG.warning("learner: %s", line)
        self._thread = Thread(target=self._keep, args=(process,), name="learner", daemon=True)
        self._thread.start()

    def join(self, seconds: float) -> None:
        """Wait until no further process is started."""
        if self._thread is not None:
            self._thread.join(seconds)

    def close(self) -> None:
        """End it: what it has not saved it learns again the next time."""
        self._ends.set()
        if self._process is not None:
            self._process.terminate()
            if self._thread is None:
                with self._process:  # nobody else waits for it
                    pass
        self.join(_STOP_S)

    def _keep(self, process: subprocess.Popen[str]) -> None:
        self._listen(process)
        wait_s, heard = _FIRST_WAIT_S, True
        while not self._ends.is_set():
            wait_s = _FIRST_WAIT_S if heard else min(2 * wait_s, _LONGEST_WAIT_S)
            _LOG.warning("the learner ended; it is started again in %.0f s", wait_s)
            if self._pause(wait_s):
                return
            self.restarts += 1
            try:
                heard = self._listen(self._begin())
            except OSError as error:
                _LOG.warning("the learner cannot be started: %s", error)
                heard = False

    def _begin(self) -> subprocess.Popen[str]:
        self._process = process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        if self._ends.is_set():
            process.terminate()
        return process

    def _listen(self, process: subprocess.Popen[str]) -> bool:
        """Until it ends; whether it came so far as to say how far it is."""
        heard = False
        with process:
            for line in _lines(process):
                if self._heard(line):
                    if not heard:  # on a busy machine it would not get so far for minutes
                        _give_way(process.pid)
                    heard = True
                else:
                    _LOG.warning("learner: %s", line.rstrip())
        return heard

    def _heard(self, line: str) -> bool:
        try:
            self.progress = msgspec.json.decode(line, type=Progress)
        except msgspec.DecodeError:
            return False
        return True


def _give_way(pid: int) -> None:
    """Lower the priority of a process: of each thread, where the system tells them apart."""
    threads = Path(f"/proc/{pid}/task")
    with contextlib.suppress(OSError):  # it has ended
        numbers = [int(one.name) for one in threads.iterdir()] if threads.is_dir() else [pid]
        for number in numbers:
            os.setpriority(os.PRIO_PROCESS, number, _NICE)


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    return iter(process.stdout)
