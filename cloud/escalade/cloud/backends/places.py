"""A bounded queue in front of whatever computes, shared between clients; knows no backend.

One client alone may hold every place. When no place is free and another client comes that has
less, the newest request of whoever has most gives way: longest queue drop, which of all rules keeps
a shared memory fair without holding part of it idle (Wei, Coyle and Hsiao, "An optimal buffer
management policy for high-performance packet switching", GLOBECOM 1991). Hosts are weighed against
hosts, and the connections of one host against each other. Of whoever has most, what may wait gives
way first, also to his own requests that somebody waits for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from escalade.cloud.backends.ticket import Ticket
from escalade.cloud.errors import QueueFullError

#: Bytes of a request that one place holds; a larger one takes several. gRPC takes 4 MiB at most,
#: and a request in memory has up to 8 times the bytes that it had on the wire (ids of one byte
#: become 4, in an array that doubles as it grows).
PLACE_BYTES = 256 << 10

#: Of a backend whose front end has the queue: more than that ever lets through.
NO_QUEUE = 1 << 16

# Said to a refused client before any answer has been timed.
_FIRST_RETRY_S = 0.1
_LEAST_RETRY_S = 1e-3


class _Held:
    """Places that one request has."""

    __slots__ = ("claim", "ticket", "weight")

    def __init__(self, ticket: Ticket, most: int) -> None:
        self.ticket = ticket
        self.claim = ticket.claim
        self.weight = 1
        if self.claim.size_bytes > PLACE_BYTES:
            self.weight = min(-(-self.claim.size_bytes // PLACE_BYTES), most)


class Places:
    """The bounded queue: one may have its turn, and so many may wait.

    Args:
        capacity: how many may wait, at least 1.
        kind: what they are, for messages.
    """

    def __init__(self, capacity: int, kind: str) -> None:
        self._capacity = capacity
        self._kind = kind
        #: In the order they came.
        self._held: dict[_Held, None] = {}
        self._loads = _Loads()
        self._free = capacity + 1
        self._retry_after_s = _FIRST_RETRY_S

    def __len__(self) -> int:
        """Requests that hold a place or several."""
        return len(self._held)

    @contextmanager
    def take(self, ticket: Ticket) -> Iterator[None]:
        """Hold a place, or several for a large request, until the block ends or is revoked.

        The request that gives way has its ticket revoked: its place is free at once.

        Raises:
            QueueFullError: all are taken, and nobody else has more than this client.
        """
        mine = _Held(ticket, self._capacity + 1)
        if self._free < mine.weight:
            for loser in self._who_give_way(mine):
                self._leave(loser)
                loser.ticket.revoke(self._full("; a client with fewer came, or one who waits"))
        self._held[mine] = None
        self._loads.add(mine)
        self._free -= mine.weight
        try:
            yield
        finally:
            self._leave(mine)

    def check(self, ticket: Ticket) -> None:
        """Return where `take` would find a place just now.

        Raises:
            QueueFullError: see `take`.
        """
        mine = _Held(ticket, self._capacity + 1)
        if self._free < mine.weight:
            self._who_give_way(mine)

    def note_free_after(self, seconds: float) -> None:
        """Say how long it lately took until a place became free."""
        self._retry_after_s = max(seconds, _LEAST_RETRY_S)

    def _who_give_way(self, mine: _Held) -> list[_Held]:
        """Others, until there is room; nobody where it would not be enough.

        Raises:
            QueueFullError: there is not.
        """
        losers: list[_Held] = []
        free = self._free
        self._loads.add(mine)
        try:
            while free < mine.weight:
                loser = self._next_to_give_way(mine, losers)
                self._loads.remove(loser)
                losers.append(loser)
                free += loser.weight
        finally:
            self._loads.remove(mine)
            for loser in losers:
                self._loads.add(loser)
        return losers

    def _next_to_give_way(self, mine: _Held, losers: Sequence[_Held]) -> _Held:
        """The newest of whoever has more than this client would have.

        Raises:
            QueueFullError: nobody has.
        """
        claim, loads = mine.claim, self._loads
        host = _largest(loads.hosts, claim.host)
        connections = loads.connections[host]
        own = host == claim.host
        connection = _largest(connections, claim.connection if own else "")
        own = own and connection == claim.connection
        # Most are refused here in a flood: nothing before it looks at all who hold a place.
        if own and (claim.batch or not loads.batch[host]):
            raise self._full()
        newest = [
            one
            for one in reversed(self._held)
            if one.claim.host == host
            and (own or one.claim.connection == connection)
            and one not in losers
        ]
        return next((one for one in newest if one.claim.batch), newest[0])

    def _full(self, why: str = "") -> QueueFullError:
        return QueueFullError(
            f"queue: {self._capacity} {self._kind} wait already, which is its capacity{why}",
            self._retry_after_s,
        )

    def _leave(self, held: _Held) -> None:
        if held in self._held:
            del self._held[held]
            self._loads.remove(held)
            self._free += held.weight


class _Loads:
    """Places by whoever has them."""

    def __init__(self) -> None:
        self.hosts: dict[str, int] = {}
        #: By host.
        self.connections: dict[str, dict[str, int]] = {}
        #: Requests that may wait, by host.
        self.batch: Counter[str] = Counter()

    def add(self, held: _Held) -> None:
        """Count what has come."""
        host, connection, _, batch = held.claim
        connections = self.connections.setdefault(host, {})
        self.hosts[host] = self.hosts.get(host, 0) + held.weight
        connections[connection] = connections.get(connection, 0) + held.weight
        if batch:
            self.batch[host] += 1

    def remove(self, held: _Held) -> None:
        """Count no more what was added; nothing is kept of who has none."""
        host, connection, _, batch = held.claim
        connections = self.connections[host]
        self.hosts[host] -= held.weight
        connections[connection] -= held.weight
        if batch:
            self.batch[host] -= 1
        if not connections[connection]:
            del connections[connection]
        if not connections:
            del self.hosts[host], self.connections[host], self.batch[host]


def _largest(loads: Mapping[str, int], mine: str) -> str:
    """Whoever has most; of equals this client itself, where it is one of them."""
    largest = max(loads, key=loads.__getitem__)
    return mine if loads.get(mine) == loads[largest] else largest
