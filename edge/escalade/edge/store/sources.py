"""Where an artifact's files come from: a folder or an HTTP(S) address; knows no manifest.

Plain HTTP is for loopback alone, redirections included, and no redirection leads to it from
HTTPS: what is fetched without a signature is only as good as the line it came over.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

from escalade.edge.artifact import open_plain
from escalade.edge.errors import StoreError
from escalade.v1.address import is_loopback

# For a connection, and for each read from it. A device on a slow link waits longer for a first
# byte than a browser would; a server that says nothing for this long has gone.
_SILENCE_S = 30.0
_PARTIAL_CONTENT = 206
_NOT_FOUND = 404
_RANGE_NOT_SATISFIABLE = 416


class Source(Protocol):
    """Where the files of an artifact can be read."""

    def __str__(self) -> str:
        """The place, as messages name it."""
        ...

    def open(
        self, name: str, offset: int
    ) -> contextlib.AbstractContextManager[tuple[IO[bytes], int]]:
        """Open a file at `offset`, or at its beginning where the place cannot do better.

        Gives the stream and where in the file it begins.

        Raises:
            FileNotFoundError: the place has no such file.
            ArtifactError: it is no regular file.
            StoreError: it cannot be read.
        """
        ...


def source_at(place: str) -> Source:
    """The source that a user means: a folder, or a `file://`, `https://` or `http://` address.

    Raises:
        StoreError: another scheme, or plain HTTP to a host that is not loopback.
    """
    if "://" not in place:
        return FolderSource(Path(place))
    parts = _split(place)
    if parts.scheme != "file":
        return HttpSource(place)
    if parts.netloc not in {"", "localhost"} or not parts.path:
        raise StoreError(f"{place}: must be file:///PATH, a folder of this machine")
    return FolderSource(Path(urllib.request.url2pathname(parts.path)))


class FolderSource:
    """A folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __str__(self) -> str:
        return str(self._folder)

    @contextlib.contextmanager
    def open(self, name: str, offset: int) -> Iterator[tuple[IO[bytes], int]]:
        """See `Source.open`."""
        path = self._folder / name
        if not os.path.lexists(path):
            raise FileNotFoundError(path)
        with open_plain(path) as stream:
            yield stream, stream.seek(offset)


class HttpSource:
    """A folder behind an address: `manifest.json` is at ADDRESS/manifest.json.

    A query in the address (a signed URL's) goes with every request and into no message.
    Proxies and root certificates are those of the environment (`https_proxy`,
    `SSL_CERT_FILE`); loopback is reached through none.
    """

    def __init__(self, address: str) -> None:
        """Check the address; nothing is asked yet.

        Raises:
            StoreError: no HTTP(S) address, or plain HTTP to a host that is not loopback.
        """
        _check_address(address)
        self._parts = _split(address)
        self._opener = urllib.request.OpenerDirector()
        for handler in (
            _Proxies(),
            urllib.request.HTTPHandler(),
            urllib.request.HTTPSHandler(),
            urllib.request.HTTPDefaultErrorHandler(),
            urllib.request.HTTPErrorProcessor(),
            _CheckedRedirects(),
        ):
            self._opener.add_handler(handler)

    def __str__(self) -> str:
        return _shown(self._parts.geturl())

    @contextlib.contextmanager
    def open(self, name: str, offset: int) -> Iterator[tuple[IO[bytes], int]]:
        """See `Source.open`."""
        path = f"{self._parts.path.rstrip('/')}/{urllib.parse.quote(name)}"
        url = self._parts._replace(path=path).geturl()
        try:
            response, begins = self._ask(url, offset)
        except urllib.error.HTTPError as error:
            with error:
                if error.code == _NOT_FOUND:
                    raise FileNotFoundError(f"{self}/{name}") from error
                reason = " ".join(str(error.reason).split())
                raise StoreError(f"{self}/{name}: HTTP {error.code} {reason}") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            cause = error.reason if isinstance(error, urllib.error.URLError) else error
            said = getattr(cause, "strerror", None) or cause
            raise StoreError(f"{self}/{name}: cannot be fetched: {said}") from error
        with response:
            yield response, begins

    def _ask(self, url: str, offset: int) -> tuple[IO[bytes], int]:
        request = urllib.request.Request(url)  # noqa: S310 - the scheme has been checked
        if offset:
            request.add_header("Range", f"bytes={offset}-")
        try:
            response: http.client.HTTPResponse = self._opener.open(request, timeout=_SILENCE_S)
        except urllib.error.HTTPError as error:
            if not offset or error.code != _RANGE_NOT_SATISFIABLE:
                raise
            error.close()
            return self._ask(url, 0)
        partial = response.status == _PARTIAL_CONTENT
        if partial and not response.headers.get("Content-Range", "").startswith(f"bytes {offset}-"):
            response.close()
            return self._ask(url, 0)
        return response, offset if partial else 0


class _Proxies(urllib.request.ProxyHandler):
    """Those of the environment, but for what is this machine."""

    def proxy_open(
        self, req: urllib.request.Request, proxy: str, type: str
    ) -> http.client.HTTPResponse | None:
        if is_loopback(_split(req.full_url).hostname or ""):
            return None  # to the next handler, which goes there directly
        return super().proxy_open(req, proxy, type)


class _CheckedRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirection only where the user could have asked directly."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        _check_address(newurl)
        if req.type == "https" and _split(newurl).scheme != "https":
            raise StoreError(f"{_shown(newurl)}: a redirection from https must lead to https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _split(address: str) -> urllib.parse.SplitResult:
    try:
        parts = urllib.parse.urlsplit(address)
        _ = parts.port  # a property that checks
    except ValueError as error:
        raise StoreError(f"{address!r}: not an address: {error}") from error
    return parts


def _check_address(address: str) -> None:
    parts = _split(address)
    host = parts.hostname or ""
    if parts.scheme not in {"http", "https"} or not host:
        raise StoreError(f"{_shown(address)}: must be a folder, or begin with https:// or file://")
    if parts.username is not None:
        raise StoreError(f"{_shown(address)}: a name and password in an address are not sent")
    if parts.scheme == "http" and not is_loopback(host):
        raise StoreError(
            f"{_shown(address)}: must be https; plain http is only for loopback addresses"
        )


def _shown(address: str) -> str:
    """The address without what may be secret in it: a password, a query."""
    parts = urllib.parse.urlsplit(address)
    host = parts.netloc.rpartition("@")[2]
    return parts._replace(netloc=host, query="", fragment="").geturl().rstrip("/")
