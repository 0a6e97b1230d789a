"""Who is next: clients take turns; knows no queue's bound, no thread, no loop.

Round robin between sources, as J. Nagle proposed it for routers (RFC 970, 1985): who sends much
waits for himself. Hosts take turns, and within a host its connections; one connection's items are
first come, first served. Of one host, what somebody waits for goes before what may wait, but not
for ever: no host gains a turn over another by what it says of its requests.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, NamedTuple, TypeVar


class Claim(NamedTuple):
    """What a request asks for: whose it is, and how large."""

    #: A machine, or as much of its address as one owner has.
    host: str = ""
    #: One connection of it.
    connection: str = ""
    #: Of the request, as it came.
    size_bytes: int = 0
    #: Nobody waits for it just now: the same host's others go first.
    batch: bool = False


#: For whoever asks without a network.
NOBODY = Claim()

T = TypeVar("T", bound=Hashable)

# Turns that a host's others have before one of its batch, while both wait: so a batch has a fifth
# of its host's turns at least, and of those who wait each has one of it before him at most.
_BEFORE_BATCH = 4

# Dictionaries keep the order in which keys came: the first is the next.
_Connections = dict[str, dict[T, None]]


class FairOrder(Generic[T]):
    """Items of several clients, each item once."""

    def __init__(self) -> None:
        self._hosts: dict[str, _Host[T]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def push(self, claim: Claim, item: T) -> None:
        """Add an item behind all others of its connection and kind."""
        host = self._hosts.setdefault(claim.host, _Host())
        host.of(claim).setdefault(claim.connection, {})[item] = None
        self._count += 1

    def pop(self) -> T:
        """Take the next item; its host and its connection are then the last to have a turn.

        Raises:
            IndexError: there is none.
        """
        if not self._count:
            raise IndexError("nobody waits")
        self._count -= 1
        name, host = next(iter(self._hosts.items()))
        item = host.pop()
        del self._hosts[name]
        if host:
            self._hosts[name] = host
        return item

    def discard(self, claim: Claim, item: T) -> None:
        """Take an item out, if it is there."""
        host = self._hosts.get(claim.host)
        if host is None:
            return
        connections = host.of(claim)
        items = connections.get(claim.connection, {})
        if item not in items:
            return
        del items[item]
        self._count -= 1
        if not items:
            del connections[claim.connection]
        if not host:
            del self._hosts[claim.host]


class _Host(Generic[T]):
    """What one host waits for."""

    def __init__(self) -> None:
        self._waited_for: _Connections[T] = {}
        self._batch: _Connections[T] = {}
        # Turns since the last of the batch, while that waits.
        self._before_batch = 0

    def __bool__(self) -> bool:
        return bool(self._waited_for or self._batch)

    def of(self, claim: Claim) -> _Connections[T]:
        """Its items of a claim's kind, by connection."""
        return self._batch if claim.batch else self._waited_for

    def pop(self) -> T:
        """Take its next item."""
        passed_over = self._before_batch >= _BEFORE_BATCH
        batch = bool(self._batch) and (passed_over or not self._waited_for)
        self._before_batch = self._before_batch + 1 if self._batch and not batch else 0
        connections = self._batch if batch else self._waited_for
        name, items = next(iter(connections.items()))
        item = next(iter(items))
        del items[item], connections[name]
        if items:
            connections[name] = items
        return item
