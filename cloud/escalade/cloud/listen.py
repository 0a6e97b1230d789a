"""Binds a gRPC server to an address, in the clear on loopback, else with TLS; knows no service."""

from __future__ import annotations

import grpc.aio

from escalade.cloud.backends import Clock
from escalade.cloud.certificates import TlsFiles, rotating_credentials
from escalade.cloud.errors import ListenError
from escalade.v1.address import Address, is_loopback, parse_address


def bind(server: grpc.aio.Server, listen: str, tls: TlsFiles | None, clock: Clock) -> str:
    """Bind a server that has not started yet.

    Args:
        server: not started.
        listen: `HOST:PORT`, `[IPV6]:PORT`; port 0 takes a free one.
        tls: None serves in the clear, which only loopback addresses may.
        clock: seconds, monotonic; by it the certificates are looked after.

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
    credentials = None if tls is None else rotating_credentials(tls, clock)
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
