"""An answer that one process began and another goes on with; knows no process."""

from __future__ import annotations

from collections.abc import Sequence

from escalade.cloud.backends.query import Delta
from escalade.cloud.errors import EngineDeadError


class Given:
    """What a reader has of a stream, and what is new to him of the same stream, made again."""

    def __init__(self) -> None:
        self._ids, self._text = list[int](), ""
        self._ids_again, self._text_again = list[int](), ""

    def again(self) -> None:
        """The stream begins from its beginning."""
        self._ids_again, self._text_again = [], ""

    def new_in(self, delta: Delta) -> Delta | None:
        """What the reader has not had yet, if anything.

        Raises:
            EngineDeadError: it is another answer than the one that was begun.
        """
        self._ids_again += delta.token_ids
        self._text_again += delta.text
        had_ids, had_text = len(self._ids), len(self._text)
        ids, text = self._ids_again[had_ids:], self._text_again[had_text:]
        if delta.answer is not None:
            whole_ids, whole_text = [*delta.answer.token_ids], delta.answer.text
        else:
            whole_ids, whole_text = self._ids_again, self._text_again
        if not _agree(self._ids, whole_ids) or not _agree(self._text, whole_text):
            raise EngineDeadError("engine: a replica ended, and another gave another answer")
        self._ids += ids
        self._text += text
        if not ids and not text and delta.answer is None:
            return None
        known = len(delta.token_ids) - len(ids)
        return Delta(ids, delta.logprobs[known:], text, delta.answer, delta.top[known:])


def _agree(had: Sequence[object], again: Sequence[object]) -> bool:
    both = min(len(had), len(again))
    return had[:both] == again[:both]
