"""What an expert is, and those that are asked in this process; knows no label."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from escalade.training.online.streams import Item


class Reply(NamedTuple):
    """What an expert said of an item."""

    text: str
    #: Who it says it is: a change of it is told.
    model: str = ""
    #: Tokens that it read and wrote; None where that is not known.
    tokens: int | None = None


class ExpertError(Exception):
    """An expert did not answer; the message says why. The learner counts it and goes on."""


class Expert(Protocol):
    """The last level, which teaches the others."""

    @property
    def free(self) -> bool:
        """Whether its answers can be had again for nothing."""
        ...

    def ask(self, item: Item) -> Reply:
        """Have an item labelled.

        Raises:
            ExpertError: it is down, slow, refuses, or has no answer to this one.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class RecordedExpert:
    """Answers with what an expert said earlier: a column of the stream."""

    free = True

    def ask(self, item: Item) -> Reply:
        """See `Expert`."""
        if item.expert is None:
            raise ExpertError("no answer recorded")
        return Reply(item.expert)

    def close(self) -> None:
        """See `Expert`."""


class CallableExpert:
    """Answers with a function of the text; what it raises is why it did not answer."""

    free = False

    def __init__(self, function: Callable[[str], str], *, model: str = "") -> None:
        self._function, self._model = function, model

    def ask(self, item: Item) -> Reply:
        """See `Expert`."""
        try:
            text = self._function(item.text)
            text.encode()
        except Exception as error:  # whatever it is, the stream goes on
            raise ExpertError(f"{type(error).__name__}: {error}") from error
        return Reply(text, self._model)

    def close(self) -> None:
        """See `Expert`."""
