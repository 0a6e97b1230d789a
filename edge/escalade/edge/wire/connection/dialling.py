"""How a server is reached: whom gRPC dials, TLS or not, what it is shown; knows no question."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import grpc

from escalade.edge.errors import CloudError
from escalade.edge.wire.connection.client_files import (
    NO_FILES,
    Bearer,
    ClientFiles,
    read_pair,
    read_token,
)
from escalade.v1.address import Address, is_loopback, parse_address
from escalade.v1.channel import ClientOptions, client_options, speaks_tls, target_of

#: Given an address and a channel to it, the channel that is asked in its place; closing it closes
#: both.
Through = Callable[[str, grpc.Channel], grpc.Channel]


class Dialled(NamedTuple):
    """What a channel to a server is made of."""

    to: Address
    #: None in the clear.
    credentials: grpc.ChannelCredentials | None
    #: Goes with every call; a secret.
    token: str | None

    @property
    def target(self) -> str:
        """As gRPC takes it."""
        return target_of(self.to)

    @property
    def options(self) -> ClientOptions:
        """See `client_options`."""
        return client_options(self.to)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """For who makes his own channel."""
        return () if self.token is None else (("authorization", f"Bearer {self.token}"),)

    def channel(self) -> grpc.Channel:
        """A channel; nothing is sent before the first call."""
        if self.credentials is None:
            channel = grpc.insecure_channel(self.target, self.options)
        else:
            channel = grpc.secure_channel(self.target, self.credentials, self.options)
        return grpc.intercept_channel(channel, Bearer(self.metadata)) if self.token else channel


def dial_to(
    address: str,
    *,
    ca_cert: Path | None = None,
    plaintext: bool | None = None,
    files: ClientFiles = NO_FILES,
) -> Dialled:
    """How to reach a server.

    Args:
        address: `HOST:PORT`.
        ca_cert: root certificates (PEM) to trust, over TLS; the system's own if None.
        plaintext: True is without TLS, False with it; if None, TLS is spoken where `ca_cert` is
            given, a certificate is shown, or the host is no loopback address.
        files: what is shown; a token over TLS alone, or to this machine itself.

    Raises:
        CloudError: an argument is malformed, or a file does not load.
    """
    try:
        to = parse_address(address)
    except ValueError as error:
        raise CloudError("BAD_ADDRESS", f"cloud address {error}") from error
    try:
        tls = speaks_tls(to.host, plaintext=plaintext, ca_cert=ca_cert or files.client_cert)
    except ValueError as error:
        raise CloudError("BAD_OPTION", f"cloud {address}: {error}") from error
    if files.token_file is not None and not tls and not is_loopback(to.host):
        raise CloudError(
            "BAD_OPTION",
            f"cloud {address}: a token is sent over TLS or to this machine itself, not in the"
            " clear",
        )
    pair = read_pair(files)
    token = None if files.token_file is None else read_token(files.token_file)
    credentials = grpc.ssl_channel_credentials(_roots(ca_cert), *pair) if tls else None
    return Dialled(to, credentials, token)


def _roots(ca_cert: Path | None) -> bytes | None:
    """Root certificates: a file's, else OpenSSL's (`SSL_CERT_FILE`), else None: those gRPC brings.

    Raises:
        CloudError: they cannot be read, or are none: gRPC would say so as a host that is not there.
    """
    import ssl  # loopback needs none

    if ca_cert is None:
        file = ssl.get_default_verify_paths().cafile
        return None if file is None else Path(file).read_bytes()
    try:
        content = ca_cert.read_bytes()
    except OSError as error:
        raise CloudError("BAD_OPTION", f"{ca_cert}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # a NUL in the path
        raise CloudError("BAD_OPTION", f"{str(ca_cert)!r}: cannot be read: {error}") from error
    try:
        # Comments between certificates may be in any language.
        data = content.decode("ascii", "ignore")
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=data)
    except (ssl.SSLError, ValueError) as error:
        raise CloudError("BAD_OPTION", f"{ca_cert}: holds no certificates (PEM)") from error
    return content
