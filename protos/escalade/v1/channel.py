"""How both ends of a connection hold it: pings, proxies, TLS or not; opens none, needs no gRPC.

The options are gRPC's own (`grpc_types.h`, gRFC A8 for keepalive).
"""

from __future__ import annotations

from pathlib import Path

from escalade.v1.address import Address, is_loopback

# A client that waits for an answer and has heard nothing for the first pings, and dials anew where
# no answer comes within the second. Together they are less than the default deadline of a query,
# less what a gateway keeps of it: the query that meets a dead connection is still answered. A ping
# waits behind data on a slow link, a window of 64 KiB for 2.6 s on the slowest profile (edge).
PING_AFTER_S = 3.0
PONG_WITHIN_S = 5.0
# TCP and TLS take 4 round trips, of 1 s on the slowest profile; a packet that is lost comes again
# after 1, 3 and 7 s (RFC 6298).
DIAL_WITHIN_S = 10.0
# gRPC waits a second before it dials again, and more each time: a client's attempts in between
# would all meet the old failure. It must not be the slower of the two.
_REDIAL_AFTER_S, _REDIAL_AT_MOST_S = 0.1, 1.0

Options = tuple[tuple[str, int], ...]
ClientOptions = tuple[tuple[str, int | str], ...]


def _ms(seconds: float) -> int:
    return round(seconds * 1e3)


def server_options() -> Options:
    """What a server tells gRPC: it takes the pings of `client_options`.

    With and without calls, for a call may end while its ping is under way. Unless told so, a server
    takes a ping in 5 minutes and hangs up on who sends more.
    """
    return (
        # Half, for these are timers of two machines.
        ("grpc.http2.min_ping_interval_without_data_ms", _ms(PING_AFTER_S / 2)),
        ("grpc.keepalive_permit_without_calls", 1),
    )


def client_options(address: Address) -> ClientOptions:
    """What a client tells gRPC. It pings only while it waits: a phone may sleep in between.

    Loopback is never reached through a proxy. Other hosts are, where the environment says so: gRPC
    reads `grpc_proxy`, `https_proxy` and `http_proxy`, and `no_grpc_proxy` or `no_proxy`.
    """
    return (
        ("grpc.keepalive_time_ms", _ms(PING_AFTER_S)),
        ("grpc.keepalive_timeout_ms", _ms(PONG_WITHIN_S)),
        # Whatever ping is under way, of a minute otherwise: grpcio 1.85 lets it decide alone.
        ("grpc.http2.ping_timeout_ms", _ms(PONG_WITHIN_S)),
        # A client that reads a long stream sends no data, and would cease to ping.
        ("grpc.http2.max_pings_without_data", 0),
        # The connection of another channel to the address may be the dead one.
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.initial_reconnect_backoff_ms", _ms(_REDIAL_AFTER_S)),
        ("grpc.max_reconnect_backoff_ms", _ms(_REDIAL_AT_MOST_S)),
        # To gRPC this is also how long an attempt to connect may take.
        ("grpc.min_reconnect_backoff_ms", _ms(DIAL_WITHIN_S)),
        # Where a name has several addresses, of replicas, calls go round between those that answer.
        ("grpc.lb_policy_name", "round_robin"),
        # Who asks counts the attempts; gRPC's own would hide them.
        ("grpc.enable_retries", 0),
        ("grpc.enable_http_proxy", 0 if is_loopback(address.host) else 1),
    )


def target_of(address: Address) -> str:
    """How gRPC is told whom to dial: always host and port, whatever the host is called.

    To gRPC, `unix:80` alone is a file.
    """
    return f"dns:///{address}"


def plaintext_of(*, tls: bool | None, plaintext: bool | None) -> bool | None:
    """Two words for one choice, as `speaks_tls` takes it; None of neither.

    Raises:
        ValueError: they contradict each other.
    """
    if tls is None or plaintext is None:
        return plaintext if tls is None else not tls
    if tls == plaintext:
        state = str(tls).lower()
        raise ValueError(f"tls and plaintext exclude each other, got {state} for both")
    return plaintext


def speaks_tls(host: str, *, plaintext: bool | None, ca_cert: Path | str | None) -> bool:
    """Whether a connection to a host speaks TLS.

    Args:
        host: see `Address`.
        plaintext: True does not; False does, on loopback too; None leaves it to the others.
        ca_cert: whoever names a certificate, to trust or to show, wants TLS.

    Returns:
        Without a word for either, whether the host is not loopback.

    Raises:
        ValueError: certificates are given, and no TLS is to be spoken.
    """
    if plaintext and ca_cert is not None:
        raise ValueError(
            f"plaintext and certificates ({str(ca_cert)!r}) exclude each other: certificates"
            " are for TLS"
        )
    if plaintext is None:
        return ca_cert is not None or not is_loopback(host)
    return not plaintext
