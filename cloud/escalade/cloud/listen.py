"""Binds a gRPC server to an address, in the clear on loopback, else with TLS; knows no service."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NamedTuple

import grpc
import grpc.aio

from escalade.cloud.errors import ListenError, TlsError
from escalade.v1.address import Address, is_loopback, parse_address


class TlsFiles(NamedTuple):
    """A certificate chain and its private key, both PEM."""

    cert: Path
    key: Path


def tls_files(cert: Path | None, key: Path | None) -> TlsFiles | None:
    """Pair what a command line gives.

    Raises:
        TlsError: one without the other.
    """
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        missing = "certificate" if cert is None else "key"
        raise TlsError(f"TLS needs a certificate and its key; the {missing} is missing")
    return TlsFiles(cert, key)


def bind(server: grpc.aio.Server, listen: str, tls: TlsFiles | None) -> str:
    """Bind a server that has not started yet.

    Args:
        server: not started.
        listen: `HOST:PORT`, `[IPV6]:PORT`; port 0 takes a free one.
        tls: None serves in the clear, which only loopback addresses may.

    Returns:
        The address with its real port.

    Raises:
        ListenError: malformed, not loopback without TLS, or cannot be bound.
        TlsError: the certificate or the key does not load.
    """
    try:
        address = parse_address(listen, least_port=0)
    except ValueError as error:
        raise ListenError(f"listen {error}") from error
    check_exposure("listen", listen, address, tls)
    credentials = None if tls is None else _credentials(tls)
    try:
        if credentials is None:
            port = server.add_insecure_port(str(address))
        else:
            port = server.add_secure_port(str(address), credentials)
    except RuntimeError as error:
        raise ListenError(
            f"listen {listen}: cannot be bound; another process has the port,"
            " or the address is not this machine's"
        ) from error
    return str(Address(address.host, port))


def check_exposure(what: str, listen: str, address: Address, tls: TlsFiles | None) -> None:
    """Return where an address may be served as it is.

    Raises:
        ListenError: it is not loopback, and there is no TLS.
    """
    if tls is None and not is_loopback(address.host):
        raise ListenError(
            f"{what} {listen}: without TLS only a loopback address (127.0.0.1, ::1, localhost)"
            " is served; give a certificate and a key"
        )


def _credentials(tls: TlsFiles) -> grpc.ServerCredentials:
    def asked_for_a_passphrase() -> str:
        # Without this OpenSSL asks on the terminal, where nobody may sit.
        raise TlsError(
            f"key {tls.key}: is encrypted, and a server asks nobody for its passphrase; give one"
            " that is not: `openssl pkey -in KEY -out PLAIN_KEY`"
        )

    try:
        # gRPC reports a bad file or a wrong pair as a port that cannot be bound.
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(
            tls.cert, tls.key, asked_for_a_passphrase
        )
        pair = (tls.key.read_bytes(), tls.cert.read_bytes())
    except (OSError, ssl.SSLError) as error:
        raise TlsError(f"certificate {tls.cert}, key {tls.key}: do not load: {error}") from error
    return grpc.ssl_server_credentials([pair])
