"""The last answers, bounded in number and in bytes; knows no computation, no gRPC."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from escalade.cloud.backends import Answer

#: Of all kept answers. One of a thousand tokens has about 0.1 MiB, so that as a rule it is their
#: number that bounds them.
MOST_KEPT_BYTES = 64 << 20
# Of one token: its id, log-probability and margin as Python keeps them, 8 bytes each in a list and
# 28, 24 and 24 as objects.
_TOKEN_BYTES = 100
# Of a row of likeliest tokens: a tuple of two and two byte strings, without what is in them.
_ROW_BYTES = 150
_LEAST_BYTES = 1000


class Kept(NamedTuple):
    """An answer, and what its stream says."""

    answer: Answer
    #: Its text; where bytes are no UTF-8, what was given of it before that was known, and the rest.
    text: str


class KeptAnswers:
    """Answers by key; the least recently asked goes first.

    Args:
        most: answers.
        most_bytes: of them all; a larger one is not kept.
    """

    def __init__(self, most: int, most_bytes: int = MOST_KEPT_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._bytes = 0
        # With its size, which is not looked at again when it goes.
        self._kept: OrderedDict[bytes, tuple[Kept, int]] = OrderedDict()

    def recall(self, key: bytes | None) -> Kept | None:
        """The answer to a key; None where it is not known, or the key is none."""
        if key is None or key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def keep(self, key: bytes, kept: Kept) -> None:
        """Keep an answer; others go where there is no room."""
        if key in self._kept:
            self._bytes -= self._kept.pop(key)[1]
        size = size_of(kept)
        self._kept[key] = kept, size
        self._bytes += size
        while len(self._kept) > self._most or self._bytes > self._most_bytes:
            _, (_, oldest) = self._kept.popitem(last=False)
            self._bytes -= oldest


def size_of(kept: Kept) -> int:
    """About the bytes of an answer in memory."""
    answer = kept.answer
    columns = answer.token_ids, answer.logprobs, answer.margins, answer.draft_ids
    tokens = max(map(len, columns))
    # Python takes up to 4 bytes a character; a message has several times its bytes on the wire.
    texts = len(answer.text) + (0 if kept.text is answer.text else len(kept.text))
    size = _LEAST_BYTES + tokens * _TOKEN_BYTES + 4 * texts
    for report in answer.reports:
        size += 8 * report.ByteSize()
    for row in answer.top:
        size += _ROW_BYTES + len(row.ids) + len(row.logprobs)
    return size
