"""Which of two ways of asking members is the quicker here; knows no member, no thread.

Threads pay where a model's token takes longer than to wake a thread, and where a core is free for
it: that depends on the model, the machine, and what else it does. So both ways are tried, and which
was quicker of late goes on; the other is tried again now and then.
"""

from __future__ import annotations

from collections import deque
from statistics import median

# Of each way, so many answers are remembered; three are enough to begin with.
_REMEMBERED = 9
_ENOUGH = 3
# One answer in so many is asked the other way: where that takes twice the time, all take 3 % more.
_TRIED_AGAIN = 32


class Pace:
    """What answers took of late, in threads and in one."""

    def __init__(self) -> None:
        self._taken = {way: deque[float](maxlen=_REMEMBERED) for way in (True, False)}
        self._answers = 0
        self._quicker = True

    def in_threads(self) -> bool:
        """Which way the next answer is asked; the first time in threads."""
        if self._answers < 2 * _ENOUGH:
            return self._answers % 2 == 0
        return self._quicker if self._answers % _TRIED_AGAIN else not self._quicker

    def note(self, seconds: float, tokens: int, *, in_threads: bool) -> None:
        """Remember what an answer took.

        Args:
            seconds: until it was decided.
            tokens: of the one that streams, by which answers of any length compare; > 0.
            in_threads: how it was asked.
        """
        self._answers += 1
        self._taken[in_threads].append(seconds / tokens)
        # Not after each answer: two medians take as long as a small model's token.
        if self._answers <= 2 * _ENOUGH or in_threads != self._quicker:
            beside, alone = self._taken[True], self._taken[False]
            self._quicker = not alone or (bool(beside) and median(beside) <= median(alone))
