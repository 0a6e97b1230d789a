"""Regular expressions that cannot hang, by RE2; knows no rule.

RE2 (Cox 2007, "Regular Expression Matching Can Be Simple And Fast") walks a text once for a match,
whatever the expression: no backtracking, and so neither back-references nor look-around. What is
left is the product of program and text, of which both are bounded here: the slowest pair that was
found takes 4 ns for each instruction and byte (`(?:a?){1000}a{1000}b`, RE2 of 2025-11-05, one core
of this project's build machine), so that all expressions of a policy take 2.2 s of one text at the
very most, and those that people write less than a millisecond. Finding every match is as many such
walks; `spans` looks at a clock between two.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from escalade.edge.errors import CascadeError

if TYPE_CHECKING:
    import re2

#: Instructions of all expressions of a key together, and bytes of a text: see above.
MOST_INSTRUCTIONS, LONGEST_TEXT = 4096, 128 * 1024
#: Seconds after which no further match is looked for.
SPANS_WITHIN_S = 2.0

#: From and to, as places in a text.
Span = tuple[int, int]


class UnreadableError(Exception):
    """A text cannot be looked through: it is too long, too slow, or no text."""


class Patterns:
    """Expressions that are looked for together.

    Args:
        expressions: RE2's syntax; none of them: nothing is ever found.
        where: what a message calls them.

    Raises:
        CascadeError: one is no expression, or all together are too large.
        ModuleNotFoundError: google-re2 is not there (the extra `policy`).
    """

    def __init__(self, expressions: Sequence[str], where: str) -> None:
        self._compiled: list[re2._Regexp] = []
        if not expressions:
            return
        self._compiled = [
            _compiled(one, f"{where}[{index}]") for index, one in enumerate(expressions)
        ]
        size = sum(max(one.programsize, one.reverseprogramsize) for one in self._compiled)
        if size > MOST_INSTRUCTIONS:
            raise CascadeError(
                f"{where}: expressions must compile to at most {MOST_INSTRUCTIONS} instructions"
                f" together, got {size}; counted repetitions such as {{1000}} are unrolled"
            )

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._compiled)

    def first_in(self, texts: Sequence[str]) -> int | None:
        """The place of the first expression that one of the texts holds a match of; None of none.

        Raises:
            UnreadableError: a text cannot be looked through.
        """
        for text in texts if self._compiled else ():
            _check_text(text)
        for index, one in enumerate(self._compiled):
            if any(one.search(text) is not None for text in texts):
                return index
        return None

    def spans(self, text: str, now_s: Callable[[], float]) -> Iterator[Span]:
        """Every match, by expression; those of nothing are left out.

        Raises:
            UnreadableError: the text cannot be looked through, or not in time.
        """
        if self._compiled:
            _check_text(text)
        until_s = now_s() + SPANS_WITHIN_S
        for one in self._compiled:
            for match in one.finditer(text):
                if now_s() > until_s:
                    raise UnreadableError(
                        f"its matches are not all found after {SPANS_WITHIN_S:g} s"
                    )
                start, end = match.span()
                if end > start:
                    yield start, end


@functools.cache
def _options() -> re2.Options:
    import re2

    options = re2.Options()
    options.log_errors = False  # they are raised
    return options


def _compiled(expression: str, where: str) -> re2._Regexp:
    import re2

    try:
        return re2.compile(expression, _options())
    except (re2.error, UnicodeEncodeError) as error:
        said = error.args[0]
        why = said.decode(errors="replace") if isinstance(said, bytes) else str(error)
        raise CascadeError(f"{where}: no regular expression of RE2: {why}") from error


def _check_text(text: str) -> None:
    try:
        size = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError as error:
        raise UnreadableError("it is no valid Unicode text") from error
    if size > LONGEST_TEXT:
        raise UnreadableError(
            f"it has {size} bytes, of at most {LONGEST_TEXT} that are looked through"
        )
