"""Lets a signal that ends a process unwind it, as Ctrl-C does; knows no verb."""

from __future__ import annotations

import os
import signal
from types import FrameType

_SHELLS_ADD = 128


class EndedError(SystemExit):
    """A signal came; the exit code is as shells have it."""

    def __init__(self, number: int) -> None:
        super().__init__(_SHELLS_ADD + number)
        self.name = signal.Signals(number).name


def unwind_on_signals() -> None:
    """Have SIGTERM and SIGHUP raise `EndedError` in the main thread, as Ctrl-C raises its own.

    Those that were ignored (`nohup`) stay so. A process that is forked from this one ends by them
    at once: what was begun is not its own to take away.
    """
    ours = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() == ours:
            raise EndedError(number)
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, end)
