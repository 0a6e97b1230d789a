"""Asks at the terminal before a query leaves this device; knows no model and no network."""

from __future__ import annotations

import sys
from threading import Lock
from typing import TYPE_CHECKING

from escalade.edge.base import counted

if TYPE_CHECKING:
    from escalade.edge.policy import Providers, Question

# Of what is sent, enough to tell what it is.
_SHOWN = 400


def at_terminal() -> Providers:
    """This machine's link and battery, and whoever sits at its terminal; nobody where none is."""
    from escalade.edge.policy import Providers

    there = sys.stdin.isatty() and sys.stderr.isatty()
    return Providers(consent=_Asking() if there else None)


class _Asking:
    """One question at a time; `all` is yes to the rest of them."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._all = False

    def __call__(self, question: Question) -> bool:
        """See `Consent`: anything but yes is no, and so is the end of the input."""
        from escalade.cli.output import note_console

        with self._lock:
            if self._all:
                return True
            console = note_console()
            for line in _lines(question):
                console.print(line, markup=False, highlight=False)
            console.print("Send it? yes, no, all [no]: ", end="", markup=False, highlight=False)
            console.file.flush()
            word = sys.stdin.readline().strip().lower()
            self._all = word in {"a", "all"}
            return self._all or word in {"y", "yes"}


def _lines(question: Question) -> list[str]:
    from escalade.cli.output import harmless

    spending = question.spending
    counts = [f"{spending.bytes} bytes"]
    if spending.tokens:
        counts.append(counted(spending.tokens, "token"))
    if spending.money:
        counts.append(f"{spending.money:.4g} {question.currency} and what the answer adds")
    lines = [f"{harmless(question.tier)} ({question.address}) would be sent {', '.join(counts)}:"]
    if question.texts is None:
        return [*lines, "  token ids that cannot be read here"]
    for text in filter(None, question.texts):
        more = f"... ({len(text)} characters)" if len(text) > _SHOWN else ""
        lines.append(f"  {harmless(' '.join(text[:_SHOWN].split()))}{more}")
    return lines
