"""Replicas of the large model, each with a share of a core; sends them nothing."""

from __future__ import annotations

import os
from contextlib import ExitStack

from benchmarks.sim_vs_live.replicas.groups import at_share, check_groups
from benchmarks.study.jobs import REPOSITORY

from escalade.cli.demo.processes import started
from escalade.cli.output import note_console

_MODEL = REPOSITORY / "training" / "checkpoints" / "large"
_SERVE = ("serve", str(_MODEL), "--listen", "127.0.0.1:0", "--threads", "1")


class Replicas:
    """Servers, each begun when it is first needed."""

    def __init__(self, most: int, share: float, stack: ExitStack) -> None:
        """None has begun.

        Args:
            most: replicas there may be, at least 1.
            share: of a core, that each has once it is ready.
            stack: all end with it.

        Raises:
            GroupsError: this machine has no groups for that, or does not let us make one.
        """
        check_groups()
        self.most, self._share, self._stack = most, share, stack
        self._addresses: list[str] = []

    def first(self, many: int) -> list[str]:
        """Addresses of so many, always the same.

        Raises:
            DemoError: one did not start.
        """
        while len(self._addresses) < many:
            number = len(self._addresses) + 1
            note_console().print(f"starting replica {number} ...")
            server = self._stack.enter_context(started(f"replica {number}", *_SERVE))
            group = f"escalade-{os.getpid()}-{number}"
            self._stack.enter_context(at_share(group, server.pid, self._share))
            self._addresses.append(server.address)
        return self._addresses[:many]
