"""A bounded queue in front of whatever computes, shared between clients; knows no backend.

Who has a place keeps it, and who is refused is told so as he asks. For those who have few, places
are left: whoever has `k` takes another only where `k / 16` stay free after it. Thresholds that move
with what is free are those of switches (Choudhury and Hahne, "Dynamic queue length thresholds for
shared-memory packet switches", IEEE/ACM Transactions on Networking 6:2, 1998). Hosts are held to
it among all places, and the connections of a host among those that it may still take. Why that is
fair:

- One alone has all that it is promised: what stays free then is there beside.
- Who has none is refused only where nothing is left, and the next place is his, or another's who
  has none: who has any must leave one. So it is for a connection with the next place that its host
  may take: one that comes free lets a host take one more at most.
- Where `k` were refused while `f` were free, `k > 16 (f - 1)`. When one more is free, whoever has
  `k + 16` is refused still. So nobody gets further ahead than 16 of one who always asks.

What may wait must leave as many free as its host has: so it takes half, and is refused first. A
large request needs several places at once, and no more is promised than that it fits alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from escalade.cloud.backends.ticket import Ticket
from escalade.cloud.errors import QueueFullError

#: Bytes of a request that one place holds; a larger one takes several. gRPC takes 4 MiB at most,
#: and a request in memory has up to 8 times the bytes that it had on the wire (ids of one byte
#: become 4, in an array that doubles as it grows).
PLACE_BYTES = 256 << 10

#: Of a backend whose front end has the queue: more than that ever lets through.
NO_QUEUE = 1 << 16
# Places that one may have for each that is left. Beside 128 that one alone may have, 8 are there
# for other connections of its host and 9 for other hosts: so many newcomers at once wait for
# nobody. Fewer for each would be nearer to equal shares, and the queue longer.
_FOR_EACH_LEFT = 16
_FOR_EACH_LEFT_BATCH = 1

# Said to a refused client before any answer has been timed.
_FIRST_RETRY_S = 0.1
_LEAST_RETRY_S = 1e-3


class Places:
    """The bounded queue: one may have its turn, and so many may wait.

    Args:
        capacity: how many of one client may wait, at least 1; of all together about an eighth more.
        kind: what they are, for messages.
    """

    def __init__(self, capacity: int, kind: str) -> None:
        self._capacity = capacity
        self._kind = kind
        #: That all clients have together at most.
        self.most = _kept_beside(_kept_beside(capacity + 1))
        self._free = self.most
        self._requests = 0
        self._hosts: Counter[str] = Counter()
        self._connections: Counter[tuple[str, str]] = Counter()
        self._retry_after_s = _FIRST_RETRY_S

    def __len__(self) -> int:
        """Requests that hold a place or several."""
        return self._requests

    @contextmanager
    def take(self, ticket: Ticket) -> Iterator[None]:
        """Hold a place, or several for a large request, until the block ends.

        Raises:
            QueueFullError: what is left is for clients with fewer.
        """
        self.check(ticket)
        self._count(ticket, 1)
        try:
            yield
        finally:
            self._count(ticket, -1)

    def check(self, ticket: Ticket) -> None:
        """Return where `take` would find a place just now.

        Raises:
            QueueFullError: see `take`.
        """
        claim = ticket.claim
        each = _FOR_EACH_LEFT_BATCH if claim.batch else _FOR_EACH_LEFT
        room = _room(self._free, self._hosts[claim.host], each)
        room = _room(room, self._connections[claim.host, claim.connection])
        if room < self._weight(claim.size_bytes):
            raise QueueFullError(
                f"queue: {self._capacity} {self._kind} of a client may wait, and what is left is"
                " for clients with fewer",
                self._retry_after_s,
            )

    def note_free_after(self, seconds: float) -> None:
        """Say how long it lately took until a place became free."""
        self._retry_after_s = max(seconds, _LEAST_RETRY_S)

    def _count(self, ticket: Ticket, change: int) -> None:
        """Add a request, or take it away; nothing is kept of who has none."""
        claim = ticket.claim
        places = change * self._weight(claim.size_bytes)
        connection = claim.host, claim.connection
        self._requests += change
        self._free -= places
        self._hosts[claim.host] += places
        self._connections[connection] += places
        if not self._connections[connection]:
            del self._connections[connection]
        if not self._hosts[claim.host]:
            del self._hosts[claim.host]

    def _weight(self, size_bytes: int) -> int:
        """Places for a request; the largest has all that one client may have."""
        return min(max(1, -(-size_bytes // PLACE_BYTES)), self._capacity + 1)


def _room(free: int, held: int, for_each_left: int = _FOR_EACH_LEFT) -> int:
    """How many more one may take, one after another, who has `held` while so many are free."""
    return (for_each_left * free - held + 1) // (for_each_left + 1)


def _kept_beside(places: int) -> int:
    """As many as one alone may take, and those that are left then."""
    return places + -(-places // _FOR_EACH_LEFT)
