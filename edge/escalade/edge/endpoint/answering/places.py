"""How many answers may be under way, and when to come again; knows no query, no socket."""

from __future__ import annotations

import math

from escalade.edge.errors import RefusedError

# Of the mean that follows what answers take: the last ten count for two thirds.
_WEIGHT = 0.1
_FIRST_GUESS_S = 1.0
# OpenAI's clients wait so long at most.
_LONGEST_WAIT_S = 60


class Places:
    """Of one event loop."""

    def __init__(self, most: int) -> None:
        """Begin with none taken.

        Args:
            most: answers that may be under way, at least 1; those that wait count.
        """
        self.most = most
        self.taken = 0
        self._seconds = _FIRST_GUESS_S

    def take(self, count: int) -> None:
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
        if self.taken + count > self.most:
            raise RefusedError(
                429,
                "queue_full",
                f"{self.taken} answers are under way, of at most {self.most}; try again later",
                retry_after_s=self.retry_after_s(),
            )
        self.taken += count

    def free(self, seconds: float) -> None:
        """Give one back, after so long."""
        self.taken -= 1
        self._seconds += _WEIGHT * (seconds / max(self.taken, 1) - self._seconds)

    def retry_after_s(self) -> int:
        """Whole seconds until one is free, as a guess."""
        return min(max(math.ceil(self._seconds), 1), _LONGEST_WAIT_S)
