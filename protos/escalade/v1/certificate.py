"""Loads a certificate and its private key, whoever shows them; knows no port and asks nobody."""

from __future__ import annotations

import ssl
from pathlib import Path


def load_certificate(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    """Have a context show a certificate.

    Args:
        context: of a server or a client.
        cert: the chain (PEM).
        key: its private key (PEM).

    Raises:
        ValueError: they do not load, or the key is encrypted; the context may have the chain alone.
    """

    def asked_for_a_passphrase() -> str:
        # Without this OpenSSL asks on the terminal, where nobody may sit.
        raise ValueError(
            f"key {key}: is encrypted, and nobody is asked for its passphrase; give one that is"
            " not: `openssl pkey -in KEY -out PLAIN_KEY`"
        )

    try:
        context.load_cert_chain(cert, key, asked_for_a_passphrase)
    except OSError as error:  # `ssl.SSLError` is one
        said = error if isinstance(error, ssl.SSLError) else error.strerror
        raise ValueError(f"certificate {cert}, key {key}: do not load: {said}") from error
