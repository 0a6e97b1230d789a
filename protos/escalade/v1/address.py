"""Reads HOST:PORT, and says which hosts are this machine's own; opens no socket, asks no DNS."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

_MOST_PORT = 65535
_LOCALHOST = "localhost"
# The longest name of DNS has 253 characters.
_MOST_NAME_BYTES = 253
_SHOWN = 300

# No host has these; a scheme, a path, a password or a slip of the pen would.
_NOT_IN_HOST = re.compile(r"[\s\x00-\x1f\x7f/@?#\\\[\]]")


class Address(NamedTuple):
    """Where to listen, or whom to call; `str` gives what `parse_address` reads."""

    #: A name or an IP address; an IPv6 address without its brackets.
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, *, least_port: int = 1, default_host: str | None = None) -> Address:
    """Read `HOST:PORT` or `[IPV6]:PORT`.

    Args:
        text: what a user wrote.
        least_port: 1, or 0 where a free port may be taken.
        default_host: what `:PORT` means; None refuses it.

    Raises:
        ValueError: it is none, or the port is out of range; gives form, range and value.
    """
    host, colon, port = text.rpartition(":")
    good_port = re.fullmatch("[0-9]{1,5}", port) and least_port <= int(port) <= _MOST_PORT
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        good_host = _is_ipv6(host)
    else:
        host = host or default_host or ""
        good_host = bool(host) and ":" not in host
    good_name = _is_name(host)
    if not (colon and good_port and good_host and good_name) or _NOT_IN_HOST.search(host):
        form = "HOST:PORT" if default_host is None else "HOST:PORT or :PORT"
        hint = _brackets(text)
        if host and not good_name:
            hint = f" and labels of 1-63 bytes in its host, {_MOST_NAME_BYTES} together"
        raise ValueError(
            f"must be {form} with a port in {least_port}-{_MOST_PORT}{hint}, got {text[:_SHOWN]!r}"
        )
    # To some resolvers, `localhost.` is a name that a DNS server may know.
    return Address(_LOCALHOST if _is_localhost(host) else host, int(port))


def is_loopback(host: str) -> bool:
    """Whether a host is this machine to itself: `localhost`, 127.0.0.0/8 or ::1.

    No name is looked up, so every other name is taken to be somewhere else.
    """
    if _is_localhost(host):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped.is_loopback
    return address.is_loopback


def _is_localhost(host: str) -> bool:
    """Whether it is that name, in any case, with or without the root's dot."""
    return host.lower().removesuffix(".") == _LOCALHOST


def _brackets(text: str) -> str:
    """A word on brackets where an IPv6 host seems to lack them, with the form that is meant."""
    if text.count(":") < 2:  # noqa: PLR2004 - one is before the port
        return ""
    host, _, port = text.rpartition(":")
    if _is_ipv6(host) and re.fullmatch("[0-9]{1,5}", port):
        return f" (an IPv6 host in brackets: {Address(host, int(port))})"
    if _is_ipv6(text):
        return f" (an IPv6 host in brackets: [{text}]:PORT)"
    return " (an IPv6 host in brackets)"


def _is_name(host: str) -> bool:
    """Whether a host has labels of 1 to 63 bytes, 253 in all (RFC 1035), as sockets ask of it."""
    try:
        return len(host.encode("idna")) <= _MOST_NAME_BYTES
    except UnicodeError:
        return False


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True
