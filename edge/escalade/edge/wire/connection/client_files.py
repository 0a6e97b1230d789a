"""What a client shows a server: a token, a certificate; knows no channel, no question."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar, cast

import grpc

from escalade.edge.errors import CloudError

# As a server reads it (RFC 6750, section 2.1). Anything else would be another header.
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,512}=*", re.ASCII)
_MOST_BYTES = 1 << 16

Call = TypeVar("Call")
Req = TypeVar("Req")


class ClientFiles(NamedTuple):
    """Files that say who asks; each may be missing."""

    #: Holds a token, and nobody but its owner and group may read it.
    token_file: Path | None = None
    #: The certificate (PEM) that is shown, over TLS, and its private key.
    client_cert: Path | None = None
    client_key: Path | None = None


NO_FILES = ClientFiles()


def read_token(path: Path) -> str:
    """The token in a file.

    Raises:
        CloudError: it cannot be read, anybody may read it, or it holds something else.
    """
    content = _read(path)
    mode = path.stat().st_mode
    # Its group may be how it comes to us: secrets that Kubernetes mounts have one.
    if stat.S_ISREG(mode) and mode & stat.S_IRWXO:
        raise CloudError(
            "BAD_OPTION",
            f"{path}: anybody on this machine may read the token in it; chmod o= {path}",
        )
    token = content.strip().decode("ascii", "replace")
    if not _TOKEN.fullmatch(token):
        raise CloudError("BAD_OPTION", f"{path}: must hold one token, and holds something else")
    return token


def read_pair(files: ClientFiles) -> tuple[bytes | None, bytes | None]:
    """Key and certificate as gRPC takes them; None of both where none is shown.

    Raises:
        CloudError: one without the other, or they do not load.
    """
    import ssl  # loopback needs none

    from escalade.v1.certificate import load_certificate

    cert, key = files.client_cert, files.client_key
    if cert is None and key is None:
        return None, None
    if cert is None or key is None:
        missing = "certificate" if cert is None else "key"
        raise CloudError(
            "BAD_OPTION", f"a client shows a certificate with its key; the {missing} is missing"
        )
    pair = _read(key), _read(cert)

    try:
        # gRPC would say so as a host that is not there.
        load_certificate(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), cert, key)
    except ValueError as error:
        raise CloudError("BAD_OPTION", f"client {error}") from error
    return pair


class _Replaceable(Protocol):
    """What gRPC's own call details are besides: named tuples."""

    def _replace(
        self, *, metadata: Sequence[tuple[str, str | bytes]]
    ) -> grpc.ClientCallDetails: ...


class Bearer(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Sends a token with every call."""

    def __init__(self, headers: Sequence[tuple[str, str]]) -> None:
        self._headers = tuple(headers)

    def intercept_unary_unary(
        self,
        continuation: Callable[[grpc.ClientCallDetails, Req], Call],
        client_call_details: grpc.ClientCallDetails,
        request: Req,
    ) -> Call:
        """See `grpc.UnaryUnaryClientInterceptor`."""
        metadata = (*(client_call_details.metadata or ()), *self._headers)
        details = cast("_Replaceable", client_call_details)._replace(metadata=metadata)
        return continuation(details, request)

    intercept_unary_stream = intercept_unary_unary


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(_MOST_BYTES)
    except OSError as error:
        raise CloudError("BAD_OPTION", f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # a NUL in the path
        raise CloudError("BAD_OPTION", f"{str(path)!r}: cannot be read: {error}") from error
