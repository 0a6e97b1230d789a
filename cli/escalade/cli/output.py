"""How verbs talk: results on stdout, everything else on stderr; knows no part."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_FILE_WIDTH = 160

#: Called with (done, total).
Tick = Callable[[int, int], None]


def result_console() -> Console:
    """Where results go."""
    return _console(stderr=False)


def note_console() -> Console:
    """Where notes, progress and warnings go."""
    return _console(stderr=True)


def print_json(value: object) -> None:
    """One JSON document on stdout; for machines."""
    sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")
    sys.stdout.buffer.flush()


@contextmanager
def progress_bar(label: str) -> Iterator[Tick]:
    """A bar on stderr that shows how far long work is; silent where stderr is no terminal."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=note_console(),
        transient=True,
    )
    with bar:
        task = bar.add_task(label, total=None)

        def tick(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield tick


def _console(*, stderr: bool) -> Console:
    # A line that a program may read is never wrapped; a table in a file gets room.
    console = Console(stderr=stderr, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    return console
