"""Who is next: clients take turns; knows no queue's bound, no thread, no loop.

Round robin between sources, as J. Nagle proposed it for routers (RFC 970, 1985): who sends much
waits for himself. Hosts take turns, and within a host its connections; one connection's items are
first come, first served.
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


#: For whoever asks without a network.
NOBODY = Claim()

T = TypeVar("T", bound=Hashable)

# Dictionaries keep the order in which keys came: the first is the next.
_Items = dict[T, None]


class FairOrder(Generic[T]):
    """Items of several clients, each item once."""

    def __init__(self) -> None:
        self._hosts: dict[str, dict[str, _Items[T]]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def push(self, claim: Claim, item: T) -> None:
        """Add an item behind all others of its connection."""
        connections = self._hosts.setdefault(claim.host, {})
        connections.setdefault(claim.connection, {})[item] = None
        self._count += 1

    def pop(self) -> T:
        """Take the next item; its host and its connection are then the last to have a turn.

        Raises:
            IndexError: there is none.
        """
        if not self._count:
            raise IndexError("nobody waits")
        self._count -= 1
        host, connections = next(iter(self._hosts.items()))
        connection, items = next(iter(connections.items()))
        item = next(iter(items))
        del items[item], connections[connection], self._hosts[host]
        if items:
            connections[connection] = items
        if connections:
            self._hosts[host] = connections
        return item

    def discard(self, claim: Claim, item: T) -> None:
        """Take an item out, if it is there."""
        connections = self._hosts.get(claim.host, {})
        items = connections.get(claim.connection, {})
        if item not in items:
            return
        del items[item]
        self._count -= 1
        if not items:
            del connections[claim.connection]
        if not connections:
            del self._hosts[claim.host]
