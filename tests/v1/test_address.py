"""HOST:PORT is read the same way by everybody, and what is written is read back."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from escalade.v1.address import Address, is_loopback, parse_address

NAMES = st.from_regex(r"[a-zA-Z0-9_-]{1,20}(\.[a-zA-Z0-9-]{1,20}){0,3}", fullmatch=True)
HOSTS = NAMES | st.ip_addresses().map(str) | st.just("fe80::1%eth0")
PORTS = st.integers(0, 65535)


@given(HOSTS, PORTS)
def test_what_is_written_is_read_back(host: str, port: int) -> None:
    address = Address(host, port)
    assert parse_address(str(address), least_port=0) == address


@given(st.text() | st.from_regex(r"\[?[^\n]{0,20}\]?:[0-9]{0,6}", fullmatch=True))
@example("a:1\n")
@example("[::1]:1 ")
def test_whatever_is_read_is_written_as_something_that_is_the_same(text: str) -> None:
    try:
        address = parse_address(text, default_host="here")
    except ValueError as error:
        message = str(error)
    else:
        assert parse_address(str(address)) == address
        assert 1 <= address.port <= 65535
        return
    assert message.endswith(f"got {text!r}")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":50051", ("127.0.0.1", 50051)),
        ("0.0.0.0:0", ("0.0.0.0", 0)),  # noqa: S104
        ("cloud.example:65535", ("cloud.example", 65535)),
        ("[::1]:80", ("::1", 80)),
        ("LocalHost.:80", ("localhost", 80)),
        ("[::]:0", ("::", 0)),
    ],
)
def test_addresses(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text, least_port=0, default_host="127.0.0.1") == address


BAD = [
    *["", "50051", "host:", ":65536", ":-1", ":1e3", "::1:80", ":٣", "127.0.0.1:x", "a@b:1", "[:1"],
    *["[]:1", "[host]:1", "[127.0.0.1]:1", "http://host:1", "host :1", "h\0:1", "[::1%a/b]:1"],
]


@pytest.mark.parametrize("text", BAD)
def test_bad_addresses_are_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT or :PORT with a port in 0-65535.*, got") as e:
        parse_address(text, least_port=0, default_host="127.0.0.1")
    assert str(e.value).endswith(repr(text))


@pytest.mark.parametrize("text", [":50051", "host:0"])
def test_what_only_some_callers_take(text: str) -> None:
    parse_address(text, least_port=0, default_host="127.0.0.1")
    with pytest.raises(ValueError, match="must be HOST:PORT with a port in 1-65535, got"):
        parse_address(text)


def test_an_ipv6_host_without_brackets_is_told_of_them() -> None:
    with pytest.raises(ValueError, match=r"\(an IPv6 host in brackets: \[::1\]:80\), got '::1:80'"):
        parse_address("::1:80")
    with pytest.raises(ValueError, match=r"\(an IPv6 host in brackets: \[::1\]:PORT\), got '::1'"):
        parse_address("::1")
    assert parse_address("[::1]:80") == Address("::1", 80)


@given(st.ip_addresses(network="127.0.0.0/8"))
def test_loopback(address: ipaddress.IPv4Address) -> None:
    assert is_loopback(str(address))


@pytest.mark.parametrize(
    "host", ["localhost", "LocalHost", "LOCALHOST.", "localhost.", "::1", "::ffff:127.0.0.1"]
)
def test_loopback_by_name(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        *["", "0.1.2.3", "::", "192.0.2.1", "localhost.example.org", "127.1", "127.0.0.1.nip.io"],
        *["localhost..", "a.localhost", "::ffff:192.0.2.1"],
    ],
)
def test_everything_else_is_somewhere_else(host: str) -> None:
    assert not is_loopback(host)
