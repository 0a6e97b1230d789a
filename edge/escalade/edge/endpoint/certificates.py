"""The endpoint's certificate, taken anew when its files change, as `serve` does; knows no port.

Connections that are there go on as they are; the next handshake has the new one.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from pathlib import Path

from escalade.edge.errors import EndpointError
from escalade.v1.certificate import load_certificate
from escalade.v1.watched_files import WatchedFiles

_LOG = logging.getLogger(__name__)


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
        self._cert, self._key = cert, key
        self._files = WatchedFiles([cert, key], now_s)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._load(self.context)

    def follow(self) -> None:
        """Take the files anew where they have changed, if it is time to look."""
        if not (self._files.are_due() and self._files.changed()):
            return
        try:
            # Not the one that is shown: a certificate without its key would stay in it.
            self._load(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH))
            self._load(self.context)
        except EndpointError as error:
            _LOG.warning("%s; what was read before stands", error)
        else:
            _LOG.info("%s, %s: read again", self._cert, self._key)

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            load_certificate(context, self._cert, self._key)
        except ValueError as error:
            raise EndpointError(str(error)) from error
