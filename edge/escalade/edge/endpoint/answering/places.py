"""How many answers may be under way, and when to come again; knows no query, no socket."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from escalade.edge.errors import RefusedError

# Of the mean that follows what answers take: the last ten count for two thirds.
_WEIGHT = 0.1
_FIRST_GUESS_S = 1.0
# OpenAI's clients wait so long at most.
_LONGEST_WAIT_S = 60


class Places:
    """Any thread may ask.

    An answer that waits for a person's word lends its place to another meanwhile, and then goes on
    beside it: at most twice as many are there, `most` of them waiting.
    """

    def __init__(self, most: int, now_s: Callable[[], float] = time.perf_counter) -> None:
        """Begin with none taken.

        Args:
            most: answers that may be under way, at least 1; those that wait for a model count.
            now_s: seconds, monotonic.
        """
        self.most = most
        self.taken = 0
        #: Those that wait for a person's word; they count in `taken` only where `most` wait.
        self.asking = 0
        self._now_s = now_s
        self._lock = threading.Lock()
        self._seconds = _FIRST_GUESS_S

    def take(self, count: int) -> list[Place]:
        """Take places for a request, all or none.

        Args:
            count: its choices, at least 1.

        Raises:
            RefusedError: there will never be as many, or there are not now.
        """
        if count > self.most:
            raise RefusedError(
                400,
                "too_many_choices",
                f"the choices of a request must be at most {self.most}, the answers that may be"
                f" under way, got {count}",
                param="n",
            )
        with self._lock:
            if self.taken + count > self.most:
                raise RefusedError(
                    429,
                    "queue_full",
                    f"{self.taken} answers are under way, of at most {self.most}; try again later",
                    retry_after_s=self.retry_after_s(),
                )
            self.taken += count
        return [Place(self, self._now_s) for _ in range(count)]

    def free(self, seconds: float) -> None:
        """Give one back, after so long."""
        with self._lock:
            self.taken -= 1
            self._seconds += _WEIGHT * (seconds / max(self.taken, 1) - self._seconds)

    def lend(self) -> bool:
        """Let another have the place of one that waits for a person; False where `most` do."""
        with self._lock:
            lent = self.asking < self.most
            self.asking += 1
            self.taken -= lent
        return lent

    def take_back(self, *, lent: bool) -> None:
        """The word is there; where it `lent` its place, it takes one, full or not."""
        with self._lock:
            self.asking -= 1
            self.taken += lent

    def retry_after_s(self) -> int:
        """Whole seconds until one is free, as a guess."""
        return min(max(math.ceil(self._seconds), 1), _LONGEST_WAIT_S)


class Place:
    """That of one answer, from when it was taken."""

    def __init__(self, places: Places, now_s: Callable[[], float]) -> None:
        self._places, self._now_s = places, now_s
        self._began_s, self._asked_s = now_s(), 0.0

    @contextmanager
    def lent(self) -> Iterator[None]:
        """A person is asked until the block ends: others go on, and none of it is the answer's."""
        began_s, lent = self._now_s(), self._places.lend()
        try:
            yield
        finally:
            self._places.take_back(lent=lent)
            self._asked_s += self._now_s() - began_s

    def free(self) -> None:
        """Give it back."""
        self._places.free(self._now_s() - self._began_s - self._asked_s)
