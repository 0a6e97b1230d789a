"""Leaves a session of processes a share of a core, by Linux's control groups; knows no server.

The kernel looks at what a group has used when it changes threads and at each tick of its clock (4
ms at 250 Hz): what a group took too much then it has less of afterwards, so that a share is right
over tenths of a second, and no sooner.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
#: Of a group's time. The kernel's own is ten times that: answers of 100 ms would come in its steps.
_PERIOD_US = 10_000
#: The kernel gives no less in a period (`min_cfs_quota_period`, kernel/sched/core.c).
_LEAST_US = 1_000
#: Of a process's `stat`, behind its name (man 5 proc_pid_stat).
_SESSION = 3


class GroupsError(Exception):
    """There are no control groups of the processor's time, or they are not ours to make."""


@contextmanager
def at_share(name: str, session: int, share: float) -> Iterator[None]:
    """Leave processes, all their threads together, so much of one core until the block ends.

    Args:
        name: of the group; no other has it.
        session: the process that began it; those that they begin later have the same.
        share: of a core, above 0.

    Raises:
        GroupsError: this machine has no such groups, or does not let us make one.
    """
    parent = _parent()
    group = parent / name
    try:
        group.mkdir()
    except OSError as error:
        raise GroupsError(_why(group, error)) from error
    try:
        try:
            _limit(group, share)
            for pid in _in_session(session):
                # Not `tasks`, which moves one thread.
                (group / "cgroup.procs").write_text(str(pid))
        except OSError as error:
            raise GroupsError(_why(group, error)) from error
        yield
    finally:
        # A group goes when it is empty. Who is in it goes back, and ends faster so.
        for member in (group / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):  # it has ended
                (parent / "cgroup.procs").write_text(member)
        group.rmdir()


def check_groups() -> None:
    """Find out now whether there can be such groups.

    Raises:
        GroupsError: see `at_share`.
    """
    group = _parent() / f"escalade-{os.getpid()}-check"
    try:
        group.mkdir()
        try:
            _limit(group, 1.0)
        finally:
            group.rmdir()
    except OSError as error:
        raise GroupsError(_why(group, error)) from error


def _parent() -> Path:
    """The group of all groups of the processor's time: of version 1, else of 2."""
    if (_ROOT / "cpu" / "cgroup.procs").exists():
        return _ROOT / "cpu"
    try:
        known = (_ROOT / "cgroup.controllers").read_text().split()
    except OSError as error:
        raise GroupsError(_why(_ROOT, error)) from error
    if "cpu" not in known:
        raise GroupsError(f"{_ROOT}: its groups must have cpu; they have {' '.join(known)}")
    return _ROOT


def _in_session(session: int) -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended
            if int(path.read_text().rpartition(")")[2].split()[_SESSION]) == session:
                yield int(path.parent.name)


def _limit(group: Path, share: float) -> None:
    period_us = max(_PERIOD_US, round(_LEAST_US / share))
    quota_us = round(share * period_us)
    if (group / "cpu.cfs_quota_us").exists():
        (group / "cpu.cfs_period_us").write_text(str(period_us))
        (group / "cpu.cfs_quota_us").write_text(str(quota_us))
        return
    if not (group / "cpu.max").exists():  # groups have what their parent passes on
        (group.parent / "cgroup.subtree_control").write_text("+cpu")
    (group / "cpu.max").write_text(f"{quota_us} {period_us}")


def _why(path: Path, error: OSError) -> str:
    return f"{path}: no control group of the processor's time: {error.strerror}; root can make one"
