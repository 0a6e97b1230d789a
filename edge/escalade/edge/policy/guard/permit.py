"""Leave to send one query to one tier, taken from a guard; knows no rule, no file."""

from __future__ import annotations

import threading
from typing import Protocol

from escalade.edge.policy.rules import Leaving, Spending


class Keeper(Protocol):
    """Who gave a leave, as it is used; see `Guard`."""

    def check_device(self, tier: str) -> None:
        """Whether the device lets anything out just now."""
        ...

    def take(self, tier: str, spending: Spending) -> str:
        """Write down what is about to be sent."""
        ...

    def settle(self, spending: Spending, day: str) -> None:
        """Write down what a call took beside."""
        ...


class Permit:
    """Leave to send one query to one tier, as often as it takes; a block that sends is inside it.

    Args:
        guard: whose leave it is; None: nobody minds.
        leaving: what is sent.
        day: of the budget that it was taken from; None: there is none.
    """

    def __init__(self, guard: Keeper | None, leaving: Leaving, day: str | None = None) -> None:
        self._guard, self._leaving, self._day = guard, leaving, day
        self._lock = threading.Lock()
        self._taken = leaving.spending
        self._attempts = 0
        self._took: Spending | None = None

    def attempt(self) -> None:
        """Show it before the query is sent once; a link or a battery may have changed meanwhile.

        Raises:
            PolicyError: it stays after all, or the budget has no room for another attempt.
        """
        if self._guard is None:
            return
        self._guard.check_device(self._leaving.tier)
        with self._lock:
            again = Spending(bytes=self._leaving.spending.bytes)
            if self._attempts and self._day is not None:
                self._guard.take(self._leaving.tier, again)
                self._taken = self._taken.plus(again)
            self._attempts += 1

    def took(self, *, prompt_tokens: int, generated_tokens: int, bytes_down: int) -> None:
        """Say what the call took, once its answer is there; the rest is known."""
        read, written = self._leaving.prices
        money = (read * prompt_tokens + written * generated_tokens) / 1e6
        with self._lock:
            bytes_ = self._taken.bytes + bytes_down
            self._took = Spending(1, prompt_tokens + generated_tokens, bytes_, money)

    def __enter__(self) -> Permit:
        return self

    def __exit__(self, *exc: object) -> None:
        """Settle: what never was attempted is given back, what had no answer stays as taken."""
        if self._guard is None or self._day is None:
            return
        with self._lock:
            took = self._took if self._attempts else Spending()
            if took is not None:
                self._guard.settle(took.minus(self._taken), self._day)
