"""Where an OpenAI-compatible server is, and the key to it; knows no request."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from escalade.cloud.errors import ModelError
from escalade.v1.address import is_loopback
from escalade.v1.quoting import quoted

#: Before its URL, where a model is named.
SCHEME = "openai:"
# A JSON Web Token that carries groups has some; no key that is pasted has more.
_MOST_KEY_BYTES = 8 << 10


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's API, e.g. `http://127.0.0.1:8000/v1`."""

    #: Without a slash at its end.
    url: str
    #: Sent as a bearer token; shown nowhere.
    key: str | None = field(default=None, repr=False)

    @property
    def root(self) -> str:
        """Where what is not of OpenAI's API stands, e.g. `/tokenize`."""
        return self.url.removesuffix("/v1")

    @property
    def on_this_machine(self) -> bool:
        """Whether no proxy has any business with it."""
        return is_loopback(urlsplit(self.url).hostname or "")


def endpoint_of(url: str, key_file: Path | None) -> Endpoint:
    """Read what an operator names.

    Args:
        url: `https://HOST[:PORT]/PATH`, or `http://` of this machine.
        key_file: holds the key alone; readable by its owner, and at most by a group.

    Raises:
        ModelError: the URL is none, or would carry prompts and key in the clear; the key cannot be
            read, or everybody can.
    """
    form = "must be https://HOST[:PORT]/PATH, or http:// with a loopback host"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ModelError(f"{SCHEME}{quoted(url)}: {form}: {error}") from None
    if parts.username is not None or parts.password is not None:
        # Not quoted: it has a secret in it.
        raise ModelError(f"{SCHEME} a user or a password in the URL; a key is read from a file")
    if parts.query or parts.fragment:
        raise ModelError(f"{SCHEME} a query or a fragment in the URL, which {form}")
    if parts.scheme not in {"http", "https"} or not host:
        raise ModelError(f"{SCHEME}{quoted(url)}: {form}")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ModelError(f"{SCHEME}{quoted(url)}: {form}, in plain ASCII")
    if parts.scheme == "http" and not is_loopback(host):
        raise ModelError(f"{SCHEME}{quoted(url)}: off loopback it must be https://")
    return Endpoint(url.rstrip("/"), None if key_file is None else _key_in(key_file))


def _key_in(path: Path) -> str:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(_MOST_KEY_BYTES + 1)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror}") from error
    if stat.S_ISREG(mode) and mode & stat.S_IROTH:
        raise ModelError(
            f"{path}: a key that everybody may read (mode {stat.S_IMODE(mode):04o}): chmod o-r it"
        )
    try:
        key = content.decode("ascii").strip()
    except UnicodeDecodeError:
        key = ""
    # A blank or a line's end within it would be another header.
    if len(content) > _MOST_KEY_BYTES or not key.isprintable() or not key or " " in key:
        raise ModelError(
            f"{path}: must hold a key alone, 1..{_MOST_KEY_BYTES} printable ASCII characters"
            " without blanks"
        )
    return key
