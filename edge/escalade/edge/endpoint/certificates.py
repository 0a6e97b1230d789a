"""The endpoint's certificate, taken anew when its files change, as `serve` does; knows no port.

Connections that are there go on as they are; the next handshake has the new one.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from pathlib import Path

from escalade.edge.errors import EndpointError

_LOG = logging.getLogger(__name__)

#: How often the files are looked at, at most, in seconds: one `stat` for each of them.
LOOK_EVERY_S = 1.0

# Inode and time of the last change of it say that a file was replaced, though its own time and
# size may be as before; None is a file that is not there.
_Seen = list[tuple[int, int, int, int] | None]


class Certificate:
    """A certificate chain and its private key (PEM), shown by one context.

    What does not load (half a file, a certificate without its key yet) leaves what was loaded
    before, and is said once in the log.
    """

    def __init__(self, cert: Path, key: Path, now_s: Callable[[], float]) -> None:
        """Load them.

        Args:
            cert: the chain.
            key: its private key.
            now_s: seconds, monotonic.

        Raises:
            EndpointError: they do not load.
        """
        self._cert, self._key, self._now_s = cert, key, now_s
        # Before they are read: what changes meanwhile is then a change.
        self._seen, self._due_s = self._look(), now_s() + LOOK_EVERY_S
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._load(self.context)

    def follow(self) -> None:
        """Take the files anew where they have changed, if it is time to look."""
        if self._now_s() < self._due_s:
            return
        self._due_s = self._now_s() + LOOK_EVERY_S
        seen = self._look()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            # Not the one that is shown: a certificate without its key would stay in it.
            self._load(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))
            self._load(self.context)
        except EndpointError as error:
            _LOG.warning("%s; what was read before stands", error)
        else:
            _LOG.info("%s, %s: read again", self._cert, self._key)

    def _load(self, context: ssl.SSLContext) -> None:
        def asked_for_a_passphrase() -> str:
            # Without this OpenSSL asks on the terminal, where nobody may sit.
            raise EndpointError(
                f"key {self._key}: is encrypted, and an endpoint asks nobody for its passphrase;"
                " give one that is not: `openssl pkey -in KEY -out PLAIN_KEY`"
            )

        try:
            context.load_cert_chain(self._cert, self._key, asked_for_a_passphrase)
        except (OSError, ssl.SSLError) as error:
            raise EndpointError(
                f"certificate {self._cert}, key {self._key}: do not load: {error}"
            ) from error

    def _look(self) -> _Seen:
        return [_signature(path) for path in (self._cert, self._key)]


def _signature(path: Path) -> tuple[int, int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_ctime_ns, status.st_mtime_ns, status.st_size
