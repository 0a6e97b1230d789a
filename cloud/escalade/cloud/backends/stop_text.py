"""Finds stop sequences in a growing response; knows no model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple


class Cut(NamedTuple):
    """A response cut before its first stop sequence."""

    text: str
    #: Tokens that lie wholly before the stop sequence.
    token_count: int


def cut_at_stop(
    ids: Sequence[int], stop_sequences: Sequence[str], decode: Callable[[Sequence[int]], str]
) -> Cut | None:
    """Cut a response before the earliest stop sequence in its text, or None if there is none.

    A stop sequence may begin inside a token; the text is cut there, and that token goes.

    Args:
        ids: `(N,)` the response so far.
        stop_sequences: non-empty texts.
        decode: token ids to text.
    """
    text = decode(ids)
    starts = [at for stop in stop_sequences if (at := text.find(stop)) >= 0]
    if not starts:
        return None
    kept = text[: min(starts)]
    count = len(ids) - 1
    while count > 0 and not kept.startswith(decode(ids[:count])):
        count -= 1
    return Cut(kept, count)
