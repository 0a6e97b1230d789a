"""Certificates of a server, taken anew when their files change; knows no port, no service.

gRPC asks for them before each handshake: connections that are there go on as they are.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import grpc

from escalade.cloud.backends import Clock
from escalade.cloud.errors import TlsError
from escalade.cloud.rereading import Reread
from escalade.v1.certificate import load_certificate


class TlsFiles(NamedTuple):
    """A certificate chain and its private key, and whose clients may connect; all PEM."""

    cert: Path
    key: Path
    #: Roots of clients' certificates; None asks clients for none.
    client_ca: Path | None = None


def tls_files(
    cert: Path | None, key: Path | None, client_ca: Path | None = None
) -> TlsFiles | None:
    """Put together what a command line gives.

    Raises:
        TlsError: one without the other.
    """
    if cert is None and key is None:
        if client_ca is not None:
            raise TlsError(
                f"client CA {client_ca}: clients show certificates over TLS alone, which needs a"
                " certificate and its key; both are missing"
            )
        return None
    if cert is None or key is None:
        missing = "certificate" if cert is None else "key"
        raise TlsError(f"TLS needs a certificate and its key; the {missing} is missing")
    return TlsFiles(cert, key, client_ca)


def rotating_credentials(tls: TlsFiles, clock: Clock) -> grpc.ServerCredentials:
    """Credentials that follow their files.

    Args:
        tls: files that load now.
        clock: seconds, monotonic.

    Raises:
        TlsError: they do not load.
    """
    paths = [path for path in tls if path is not None]
    files = Reread(paths, lambda: _read(tls), clock)
    given = files.current()

    def newer() -> grpc.ServerCertificateConfiguration | None:
        """What gRPC is to take from now on; None for what it has. Any thread may call."""
        nonlocal given
        now = files.current()
        if now is given:
            return None
        given = now
        return now

    return grpc.dynamic_ssl_server_credentials(
        given,
        newer,  # type: ignore[arg-type] # it may give None, says grpc's own documentation
        require_client_authentication=tls.client_ca is not None,
    )


def follow(context: ssl.SSLContext, tls: TlsFiles, clock: Clock) -> Callable[[], None]:
    """Have a context of Python's own `ssl` show a server's certificate.

    Args:
        context: of a server.
        tls: files that load now.
        clock: seconds, monotonic.

    Returns:
        What is to be called before a handshake: it takes the files anew where they have changed.

    Raises:
        TlsError: they do not load.
    """

    def load() -> None:
        _check(tls)
        context.load_cert_chain(tls.cert, tls.key)

    return Reread([tls.cert, tls.key], load, clock).current


def _read(tls: TlsFiles) -> grpc.ServerCertificateConfiguration:
    """What the files hold, once it is known to fit together.

    Raises:
        TlsError: it does not, or it changes meanwhile.
    """
    before = _contents(tls)
    _check(tls)
    # gRPC is given bytes, and OpenSSL has looked at files.
    if _contents(tls) != before:
        raise TlsError(f"certificate {tls.cert}, key {tls.key}: change while they are read")
    cert, key, *roots = before
    return grpc.ssl_server_certificate_configuration([(key, cert)], roots[0] if roots else None)


def _contents(tls: TlsFiles) -> list[bytes]:
    try:
        return [path.read_bytes() for path in tls if path is not None]
    except OSError as error:
        raise TlsError(
            f"certificate {tls.cert}, key {tls.key}: do not load: {error.filename}:"
            f" {error.strerror}"
        ) from error


def _check(tls: TlsFiles) -> None:
    """Refuse what gRPC would report as a port that cannot be bound."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        load_certificate(context, tls.cert, tls.key)
    except ValueError as error:
        raise TlsError(str(error)) from error
    if tls.client_ca is None:
        return
    try:
        context.load_verify_locations(tls.client_ca)
    except OSError as error:
        raise TlsError(
            f"client CA {tls.client_ca}: holds no certificates (PEM): {error}"
        ) from error
