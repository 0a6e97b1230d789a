"""How verbs talk: results on stdout, everything else on stderr; knows no part."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from unicodedata import category

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

if TYPE_CHECKING:
    from pathlib import Path

    from escalade.edge.artifact import SignatureState
    from escalade.simulator.formats import TextTable

_FILE_WIDTH = 160

#: Called with (done, total).
Tick = Callable[[int, int], None]


def result_console() -> Console:
    """Where results go."""
    return _console(stderr=False)


def note_console() -> Console:
    """Where notes, progress and warnings go."""
    return _console(stderr=True)


def harmless(text: str, *, but: str = "") -> str:
    """The text without what moves a cursor or rings a bell: U+FFFD stands for it.

    Args:
        text: from a model, a manifest or a server.
        but: control characters that may stay.
    """
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if category(one) == "Cc" and one not in but else one
        for one in text
    )


def signature_words(state: SignatureState, trusted_key: Path | None) -> str:
    """What is known of an artifact's signature."""
    return {
        "none": "not signed",
        "unreadable": "unreadable signature",
        "unchecked": "signature not checked: give --trusted-key",
        "valid": f"signed by {trusted_key}",
        "invalid": f"not signed by {trusted_key}",
    }[state]


def print_text(text: str, *, end: str = "\n") -> None:
    """A model's text on stdout: as it is for a program, harmless for a terminal."""
    sys.stdout.write((harmless(text, but="\n\t") if sys.stdout.isatty() else text) + end)
    sys.stdout.flush()


def print_json(value: object) -> None:
    """One JSON document on stdout; for machines."""
    from escalade.edge.base import pretty_json

    sys.stdout.buffer.write(pretty_json(value))
    sys.stdout.buffer.flush()


def show_table(table: TextTable) -> None:
    """A table of results on stdout, details beneath their numbers."""
    from rich.table import Table
    from rich.text import Text

    shown = Table(title=table.title, title_justify="left")
    for k, heading in enumerate(table.head):
        shown.add_column(heading, justify="left" if k == 0 else "right")
    for row in table.rows:
        shown.add_row(
            *(
                Text.assemble(cell.text, *([("\n" + cell.detail, "dim")] if cell.detail else []))
                for cell in row
            )
        )
    result_console().print(shown, soft_wrap=False)


class Bar:
    """A progress bar; call it with (done, total)."""

    def __init__(self, bar: Progress, label: str) -> None:
        self._bar = bar
        self._task = bar.add_task(label, total=None)

    def __call__(self, done: int, total: int) -> None:
        """Show how far the work is."""
        self._bar.update(self._task, completed=done, total=total)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(line, style="dim")


@contextmanager
def progress_bar(label: str) -> Iterator[Bar]:
    """A bar on stderr that shows how far long work is; silent where stderr is no terminal."""
    console = note_console()
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        yield Bar(bar, label)


def _console(*, stderr: bool) -> Console:
    # A line that a program may read is never wrapped; a table in a file gets room.
    console = Console(stderr=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    return console
