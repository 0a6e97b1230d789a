"""How verbs talk: results on stdout, everything else on stderr; knows no part.

Names, answers and reasons come from files, models and servers. None of them is to move a cursor or
turn a line around: what would is shown as a backslash and its code, in every line and table and on
a terminal. An answer that goes to a file or a program is written as it is; in JSON the same
characters stand as JSON's own escapes.
"""

from __future__ import annotations

import codecs
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
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
from rich.text import Text

if TYPE_CHECKING:
    from pathlib import Path

    from escalade.edge.artifact import SignatureState

_FILE_WIDTH = 160
# Controls; formats (overrides and isolates of direction, widths of zero); halves of characters that
# stand for bytes of a name that is no text; ends of lines and paragraphs.
_UNSHOWN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
#: What may stay in an answer: scripts and emoji are written with joiners.
OF_TEXT = "\n\t\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"

#: Called with (done, total).
Tick = Callable[[int, int], None]


def result_console() -> Console:
    """Where results go."""
    return _console(stderr=False)


def note_console() -> Console:
    """Where notes, progress and warnings go."""
    return _console(stderr=True)


def harmless(text: str, *, but: str = "") -> str:
    """The text with escapes for what moves a cursor, rings a bell, turns a line or is not seen.

    Args:
        text: from a model, a manifest or a server.
        but: characters that may stay.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        one.encode("unicode_escape").decode()
        if category(one) in _UNSHOWN and one not in but
        else one
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
    sys.stdout.write((harmless(text, but=OF_TEXT) if sys.stdout.isatty() else text) + end)
    sys.stdout.flush()


def print_json(value: object) -> None:
    """One JSON document on stdout; for machines, and in characters that stdout has."""
    import json

    import msgspec

    from escalade.edge.base import pretty_json

    try:
        text = pretty_json(value).decode()
    except UnicodeEncodeError:  # a name that is no text
        text = json.dumps(msgspec.to_builtins(value), indent=2) + "\n"
    has_all = codecs.lookup(sys.stdout.encoding or "utf-8").name == "utf-8"
    sys.stdout.write("".join(_in_json(one, has_all) for one in text))
    sys.stdout.flush()


def _in_json(one: str, has_all: bool) -> str:
    """A character of a JSON document, as itself or as JSON's escape."""
    if one == "\n" or (category(one) not in _UNSHOWN and (has_all or one.isascii())):
        return one
    units = one.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))


def show_written(files: Iterable[tuple[str, Path]]) -> None:
    """What was written, each with what it is."""
    console = result_console()
    for kind, path in files:
        console.print(f"{kind}: {path}")


class Bar:
    """A progress bar; call it with (done, total)."""

    def __init__(self, bar: Progress, label: str) -> None:
        self._bar = bar
        self._task = bar.add_task(label, total=None)

    def __call__(self, done: int, total: int) -> None:
        """Show how far the work is."""
        self._bar.update(self._task, completed=done, total=total)

    def beside(self, label: str) -> Bar:
        """A bar beneath it, of work that comes after."""
        return Bar(self._bar, harmless(label))

    def doing(self, step: str) -> None:
        """Say what begins, in a line above the bar; of work that does not say how far it is."""
        self.say(f"{step} ...")

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(line, style="dim")


@contextmanager
def progress_bar(label: str, *, shown: bool = True) -> Iterator[Bar]:
    """A bar on stderr that shows how far long work is; silent where stderr is no terminal.

    Args:
        label: what is done.
        shown: not where a person is asked meanwhile: it would be drawn over the question.
    """
    console = note_console()
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not (shown and console.is_terminal),
    ) as bar:
        yield Bar(bar, harmless(label))


class _HarmlessConsole(Console):
    """Shows no text as it is."""

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401 - rich's
        """As rich does, and as `harmless` says."""
        return super().render_str(harmless(text, but="\n\t"), **options)

    def on_broken_pipe(self) -> None:
        """Leave it to who runs the verb; rich would end the process with exit code 1."""
        raise  # noqa: PLE0704 - called while one is handled


def _console(*, stderr: bool) -> Console:
    # A line that a program may read is never wrapped; a table in a file gets room.
    console = _HarmlessConsole(
        stderr=stderr, highlight=False, soft_wrap=True, markup=False, emoji=False
    )
    if not console.is_terminal:
        console.width = _FILE_WIDTH
    return console
