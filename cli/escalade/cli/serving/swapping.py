"""Which version of a cascade answers the next query; knows no backend and no wire.

A new one is opened aside while the old one answers, and takes over for the queries that come then.
A query that has begun goes on with what it began with, and the old one is closed when the last of
these has ended.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from escalade.cli.serving.opening import GatewayCascade, open_beside, open_gateway_cascade
from escalade.cloud.backends import Gauge
from escalade.edge import OpenOptions
from escalade.edge.cascade_file import look
from escalade.v1.watched_files import LOOK_EVERY_S

_LOG = logging.getLogger(__name__)


def _nothing(made: int) -> None:
    pass


class Swapping:
    """The versions of one cascade's file, the current one among them; for any thread."""

    def __init__(self, path: Path, options: OpenOptions, *, queue_capacity: int) -> None:
        """Open the first.

        Args:
            path: the `cascade.toml`.
            options: how it is opened, each time.
            queue_capacity: see `GatewayBackend`.

        Raises:
            EdgeError: it cannot be opened.
            StartError: it cannot be served.
        """
        self._path, self._options = path, options
        # Before it is opened: what changes meanwhile is then a change.
        self._seen = look(path)
        self._lock = Lock()
        self._version = _Version(open_gateway_cascade(path, options, queue_capacity=queue_capacity))
        self._closed = False
        # Whether what lies there could not take over.
        self._differs = False
        #: Times that another version took over, and that one could not.
        self.swaps = self.refused = 0

    @property
    def current(self) -> GatewayCascade:
        """What the next query is answered by."""
        return self._version.served

    @contextmanager
    def using(self) -> Iterator[GatewayCascade]:
        """What one query is answered by, open until the block ends."""
        with self._lock:
            version = self._version
            version.users += 1
        try:
            yield version.served
        finally:
            with self._lock:
                version.users -= 1
                ended = version.retired and not version.users
            if ended:
                version.served.cascade.close()

    def watch(
        self,
        pause: Callable[[float], bool],
        *,
        published: Callable[[], int] = int,
        serves: Callable[[int], None] = _nothing,
    ) -> None:
        """Look after the files until told to end.

        Args:
            pause: waits so many seconds; True where this is to end.
            published: how far who makes the versions is, asked before each look.
            serves: told what it said, once what lay there then is what answers.
        """
        while not pause(LOOK_EVERY_S):
            made = published()
            if self.look():
                serves(made)

    def look(self) -> bool:
        """Swap, where a file has changed since the last look; never raises.

        Returns:
            Whether what answers now is what lay there when this began, or newer.
        """
        seen = look(self._path)
        if seen == self._seen:
            return not self._differs
        self._seen, self._differs = seen, True
        try:
            new = open_beside(self.current, self._path, self._options)
        except Exception as error:  # whatever it is, what is served goes on
            self.refused += 1
            _LOG.warning("%s; what was served before goes on", error)
            return False
        before, after = (one.info.model.revision[:12] for one in (self.current, new))
        self._switch(_Version(new))
        self._differs = False
        self.swaps += 1
        _LOG.info("%s: serves revision %s, before %s", self._path, after, before)
        return True

    def gauges(self) -> Iterable[Gauge]:
        """How often the version has changed, and could not."""
        yield Gauge("versions_swapped", "Times that another version took over.", self.swaps)
        yield Gauge("versions_refused", "Versions that could not take over.", self.refused)

    def close(self) -> None:
        """Close what is served now."""
        with self._lock:
            self._closed = True
        self.current.cascade.close()

    def _switch(self, new: _Version) -> None:
        with self._lock:
            old = new
            if not self._closed:
                old, self._version = self._version, new
            old.retired = True
            idle = not old.users
        if idle:
            old.served.cascade.close()


class _Version:
    def __init__(self, served: GatewayCascade) -> None:
        self.served = served
        #: Queries that it answers.
        self.users = 0
        #: Whether no further query comes.
        self.retired = False
