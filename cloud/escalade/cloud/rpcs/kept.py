"""The last answers, bounded in number and in bytes; knows no computation, no gRPC."""

from __future__ import annotations

from collections import OrderedDict

from escalade.cloud.backends import Answer

#: Of all kept answers. One of a thousand tokens has about 0.1 MiB, so that as a rule it is their
#: number that bounds them.
MOST_KEPT_BYTES = 64 << 20
# Of one token: its id, log-probability and margin as Python keeps them, 8 bytes each in a list and
# 28, 24 and 24 as objects.
_TOKEN_BYTES = 100
_LEAST_BYTES = 1000


class KeptAnswers:
    """Answers by key; the least recently asked goes first.

    Args:
        most: answers.
        most_bytes: of them all; a larger one is not kept.
    """

    def __init__(self, most: int, most_bytes: int = MOST_KEPT_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._bytes = 0
        self._kept: OrderedDict[bytes, Answer] = OrderedDict()

    def recall(self, key: bytes | None) -> Answer | None:
        """The answer to a key; None where it is not known, or the key is none."""
        if key is None or key not in self._kept:
            return None
        self._kept.move_to_end(key)
        return self._kept[key]

    def keep(self, key: bytes, answer: Answer) -> None:
        """Keep an answer; others go where there is no room."""
        if key in self._kept:
            self._bytes -= size_of(self._kept.pop(key))
        self._kept[key] = answer
        self._bytes += size_of(answer)
        while len(self._kept) > self._most or self._bytes > self._most_bytes:
            _, oldest = self._kept.popitem(last=False)
            self._bytes -= size_of(oldest)


def size_of(answer: Answer) -> int:
    """About the bytes of an answer in memory."""
    tokens = max(len(answer.token_ids), len(answer.logprobs), len(answer.draft_ids))
    # Python takes up to 4 bytes a character; a message has several times its bytes on the wire.
    reports = sum(report.ByteSize() for report in answer.reports)
    return _LEAST_BYTES + tokens * _TOKEN_BYTES + 4 * len(answer.text) + 8 * reports
