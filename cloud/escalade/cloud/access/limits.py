"""How much each client may ask for: token buckets; knows no request, no gRPC.

A bucket fills at a steady rate up to its size, and each request takes from it (J. Turner, "New
directions in communications", 1986). What a request costs in tokens is known when it is answered:
the bucket may owe, and the next request waits until it does not. What was begun is never cut.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import NamedTuple

from escalade.cloud.backends import Clock
from escalade.cloud.errors import QuotaExceededError, StartError

# Clients that are remembered; whoever asked longest ago is forgotten, and so begins anew. Each
# takes half a kilobyte, and only addresses of the whole world are more.
_MOST_CLIENTS = 10_000
_MINUTE_S, _DAY_S = 60.0, 86_400.0
# Who has waited as long as he was told is let in, whatever the last bits say.
_ROUNDING = 1e-6


class Limits(NamedTuple):
    """What a client may ask for; None sets no bound.

    Attributes:
        requests_per_minute: of every RPC but health; so many at once after a minute of rest.
        tokens_per_day: read (prompts, what is to be scored) and written.
    """

    requests_per_minute: int | None = None
    tokens_per_day: int | None = None

    def or_else(self, default: Limits) -> Limits:
        """These, and `default` where they say nothing."""
        mine = (own if own is not None else other for own, other in zip(self, default, strict=True))
        return Limits(*mine)

    def check(self) -> None:
        """Refuse what would let nobody ask.

        Raises:
            StartError: below 1.
        """
        for name, value in self._asdict().items():
            if value is not None and value < 1:
                raise StartError(f"{name}: must be at least 1, got {value}")


UNLIMITED = Limits()


class Bucket:
    """A token bucket that may owe.

    Args:
        size: what it holds when full, and begins with.
        period_s: in which it fills, above 0.
        now_s: on a clock that never goes back.
    """

    def __init__(self, size: float, period_s: float, now_s: float) -> None:
        self._size, self._per_s = size, size / period_s
        self._level, self._at_s = size, now_s

    def wait_s(self, now_s: float) -> float:
        """Seconds until there is one at least; 0 where there is."""
        missing = 1.0 - self._level_at(now_s)
        return missing / self._per_s if missing > _ROUNDING else 0.0

    def take(self, count: float, now_s: float) -> None:
        """Take so many, whether they are there or not."""
        self._level = self._level_at(now_s) - count
        self._at_s = now_s

    def full_in_s(self, now_s: float) -> float:
        """Seconds until it is full; 0 where it is."""
        return (self._size - self._level_at(now_s)) / self._per_s

    def empty_for(self, seconds: float, now_s: float) -> None:
        """Take so much that it is full in so many seconds, of one that is."""
        self.take(seconds * self._per_s, now_s)

    def _level_at(self, now_s: float) -> float:
        return min(self._size, self._level + (now_s - self._at_s) * self._per_s)


class _Account:
    """The buckets of one client."""

    def __init__(self, limits: Limits, now_s: float) -> None:
        self.limits = limits
        requests, tokens = limits
        self.requests = None if requests is None else Bucket(requests, _MINUTE_S, now_s)
        self.tokens = None if tokens is None else Bucket(tokens, _DAY_S, now_s)


class Quotas:
    """What each client has left; for one event loop.

    Args:
        default: for whoever has no limits of his own.
        clock: seconds, monotonic.
        owing: by client, seconds until all its tokens of a day are there again.

    Raises:
        StartError: a limit is below 1.
    """

    def __init__(self, default: Limits, clock: Clock, owing: Mapping[str, float] = {}) -> None:
        default.check()
        self._default, self._clock = default, clock
        self._accounts: OrderedDict[str, _Account] = OrderedDict()
        # Of those who have not asked yet: until when.
        began_s = clock()
        self._owed_until_s = {owner: began_s + seconds for owner, seconds in owing.items()}

    def admit(self, owner: str, own: Limits = UNLIMITED) -> None:
        """Count a request, and let it go on.

        Args:
            owner: the client.
            own: its limits; the server's default where they say nothing.

        Raises:
            QuotaExceededError: it must wait; says for how long. The request is not counted.
        """
        limits = own.or_else(self._default)
        if limits == UNLIMITED:
            return
        now_s = self._clock()
        account = self._accounts.get(owner)
        if account is None or account.limits != limits:
            account = self._accounts[owner] = _Account(limits, now_s)
            left_s = self._owed_until_s.pop(owner, now_s) - now_s
            if account.tokens is not None and left_s > 0:
                account.tokens.empty_for(left_s, now_s)
        self._accounts.move_to_end(owner)
        if len(self._accounts) > _MOST_CLIENTS:
            self._accounts.popitem(last=False)
        requests, tokens = account.requests, account.tokens
        waits = [
            (0.0 if bucket is None else bucket.wait_s(now_s), what)
            for bucket, what in (
                (requests, f"{limits.requests_per_minute} requests a minute"),
                (tokens, f"{limits.tokens_per_day} tokens a day"),
            )
        ]
        wait_s, what = max(waits)
        if wait_s > 0:
            raise QuotaExceededError(
                f"quota of {owner}: {what}; ask again in {wait_s:.3g} s", wait_s
            )
        if requests is not None:
            requests.take(1, now_s)

    def owing(self) -> dict[str, float]:
        """By client, seconds until all its tokens of a day are there again; without those at 0."""
        now_s = self._clock()
        owing = {owner: until_s - now_s for owner, until_s in self._owed_until_s.items()}
        for owner, account in self._accounts.items():
            if account.tokens is not None:
                owing[owner] = account.tokens.full_in_s(now_s)
        return {owner: seconds for owner, seconds in owing.items() if seconds > 0}

    def counts(self, owner: str) -> bool:
        """Whether a client's tokens are counted."""
        account = self._accounts.get(owner)
        return account is not None and account.tokens is not None

    def charge(self, owner: str, tokens: int) -> None:
        """Count what was read and written for a client."""
        account = self._accounts.get(owner)
        if account is not None and account.tokens is not None:
            account.tokens.take(tokens, self._clock())
