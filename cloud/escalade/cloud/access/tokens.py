"""A file of tokens: one line a client, with the hash of its token; knows no request, no gRPC.

    phone-7 = { sha256 = "9f86d0...", expires = 2026-12-24T07:00:00Z, requests_per_minute = 60 }

A token is 256 random bits, so nobody finds it by guessing, and a hash that is slow on purpose
(bcrypt, Argon2: for what people choose, and guessers try) would only make each request cost the
server what it should cost a thief. What is left of a stolen file is SHA-256 of such numbers.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import stat
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec

from escalade.cloud.access.limits import Limits
from escalade.cloud.errors import TokensError, UnauthenticatedError

#: Some 6,000 clients; reading them takes a quarter of a second, in which nobody is answered.
MAX_TOKENS_BYTES = 1 << 20

# What is found in a log or a repository by mistake says what it is.
_PREFIX = "esc_"
_TOKEN_BYTES = 32
# Keys that TOML takes without quotes.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
# Of a hash: enough to look it up by, too little to say anything of the rest by the time it takes.
_LOOKED_UP_BY = 4

Count = Annotated[int, msgspec.Meta(ge=1, le=1 << 53)]


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a line says of a client."""

    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    #: From then on it is refused; None never.
    expires: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    requests_per_minute: Count | None = None
    tokens_per_day: Count | None = None

    @property
    def limits(self) -> Limits:
        """What it may ask for; None where the server's own stand."""
        return Limits(self.requests_per_minute, self.tokens_per_day)


class Tokens:
    """The entries of a file, looked up by token."""

    def __init__(self, entries: Mapping[str, Entry]) -> None:
        self._by_beginning: dict[bytes, list[tuple[bytes, str, Entry]]] = {}
        for name, entry in entries.items():
            digest = bytes.fromhex(entry.sha256)
            self._by_beginning.setdefault(digest[:_LOOKED_UP_BY], []).append((digest, name, entry))

    def whose(self, token: str, now: datetime) -> tuple[str, Limits]:
        """The name of the client that holds a token, and what it may ask for.

        Raises:
            UnauthenticatedError: nobody's, or it has expired.
        """
        asked = _digest(token)
        for digest, name, entry in self._by_beginning.get(asked[:_LOOKED_UP_BY], ()):
            if hmac.compare_digest(digest, asked):
                if entry.expires is not None and now >= entry.expires:
                    raise UnauthenticatedError(
                        f"token of {name}: expired at {entry.expires.isoformat()}"
                    )
                return name, entry.limits
        raise UnauthenticatedError("token: is not known here, or was revoked")


def make_token() -> str:
    """A new token; `entry_of` has its hash."""
    return _PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)


def entry_of(token: str, limits: Limits, expires: datetime | None = None) -> Entry:
    """What a file says of a new token's holder."""
    return Entry(
        sha256=_digest(token).hex(),
        expires=expires,
        requests_per_minute=limits.requests_per_minute,
        tokens_per_day=limits.tokens_per_day,
    )


def read_tokens(path: Path) -> dict[str, Entry]:
    """The entries of a file, by the client's name.

    Raises:
        TokensError: it cannot be read, anybody may write it, or it says what cannot be.
    """
    try:
        with path.open("rb") as stream:
            # Pipes and devices are as their owners made them.
            mode = path.stat().st_mode
            raw = stream.read(MAX_TOKENS_BYTES + 1)
    except OSError as error:
        raise TokensError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:  # a NUL in the path
        raise TokensError(f"{str(path)!r}: cannot be read: {error}") from error
    if stat.S_ISREG(mode) and mode & stat.S_IWOTH:
        raise TokensError(f"{path}: anybody may write it, and so let himself in; chmod o-w {path}")
    if len(raw) > MAX_TOKENS_BYTES:
        raise TokensError(f"{path}: must be at most {MAX_TOKENS_BYTES} bytes")
    try:
        return parse_tokens(raw.decode())
    except ValueError as error:
        raise TokensError(f"{path}: {error}") from error


def parse_tokens(text: str) -> dict[str, Entry]:
    """The entries of a file's text.

    Raises:
        ValueError: it is no TOML, or says what cannot be; names the client.
    """
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid TOML: {error}") from error
    entries: dict[str, Entry] = {}
    owners: dict[str, str] = {}
    for name, table in tables.items():
        if not _NAME.fullmatch(name):
            raise ValueError(_wrong_name(name))
        try:
            entry = msgspec.convert(table, Entry)
        except msgspec.ValidationError as error:
            raise ValueError(f"{name}: {error}") from error
        if (other := owners.setdefault(entry.sha256, name)) != name:
            raise ValueError(f"{name}: has the token of {other}; each client has one of its own")
        entries[name] = entry
    return entries


def with_entry(text: str, name: str, entry: Entry) -> str:
    """A file's text with one more line.

    Raises:
        ValueError: the text is malformed, or the name is, or is another client's.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(_wrong_name(name))
    entries = parse_tokens(text)
    if name in entries:
        raise ValueError(f"{name}: has a token already; revoke it first, or take another name")
    values = {
        "sha256": f'"{entry.sha256}"',
        "expires": entry.expires and entry.expires.astimezone(UTC).isoformat(timespec="seconds"),
        "requests_per_minute": entry.requests_per_minute,
        "tokens_per_day": entry.tokens_per_day,
    }
    said = ", ".join(f"{key} = {value}" for key, value in values.items() if value is not None)
    before = text if not text or text.endswith("\n") else f"{text}\n"
    return _changed(f"{before}{name} = {{ {said} }}\n", {*entries, name})


def without_entry(text: str, name: str) -> str:
    """A file's text without a client's line.

    Raises:
        ValueError: the text is malformed, there is no such client, or it takes more than a line.
    """
    entries = parse_tokens(text)
    if name not in entries:
        raise ValueError(f"{name}: no such client")
    line = re.compile(rf"[ \t]*{re.escape(name)}[ \t]*=")
    kept = [one for one in text.splitlines(keepends=True) if not line.match(one)]
    return _changed("".join(kept), {*entries} - {name})


def _changed(text: str, names: set[str]) -> str:
    """The text, if its clients are those; else somebody has written it in another way than ours."""
    try:
        fits = set(parse_tokens(text)) == names
    except ValueError:
        fits = False
    if not fits:
        raise ValueError("clients are not one line each; change it by hand")
    return text


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


def _wrong_name(name: str) -> str:
    return f"a client's name must be 1..64 of A-Z a-z 0-9 _ -, got {name[:80]!r}"
