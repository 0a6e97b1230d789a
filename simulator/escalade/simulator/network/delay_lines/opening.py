"""How a connection begins: what crosses before its first request; knows no socket and no clock.

TCP takes a round trip before a client may speak, and its server may half a round trip later. TLS
1.3 takes one more (RFC 8446, figure 1). gRPC sends no request before the server's SETTINGS have
come (to C-core a subchannel is not connected until then), half a round trip after the server may
speak: a first call takes three round trips in the clear and four over TLS, a later one takes one.
HTTP/2's windows add none: grpcio 1.85 opens them wide enough for 3 MB in one round trip, and by
default takes no message of more than 4 MiB. `benchmarks.sim_vs_live.first_calls` measures it over
the kernel's own TCP. What that adds where a message is of more than ten packets is left out.
"""

from __future__ import annotations

from typing import NamedTuple

from escalade.simulator.network.delay_lines.delay_line import DelayLine

#: Bytes of the messages, as the proxy before a server with one certificate of P-256 counted them:
#: grpcio 1.85, BoringSSL's ClientHello with a key share of ML-KEM among them. A packet of TCP that
#: carries nothing has none.
_HELLO_UP, _HELLO_DOWN, _FINISHED_UP, _SETTINGS_DOWN = 1500, 2200, 80, 60


class Open(NamedTuple):
    """When a connection is open at either end, on the lines' clock."""

    client_s: float
    server_s: float


def shake_hands(up: DelayLine, down: DelayLine, at_s: float) -> Open:
    """TCP: SYN, SYN-ACK, and the ACK without which no server hears of its client."""
    client_s = down.release_s(up.release_s(at_s, 0), 0)
    return Open(client_s, up.release_s(client_s, 0))


def ready_s(up: DelayLine, down: DelayLine, at_s: float, *, tls: bool) -> float:
    """When gRPC, having dialled at `at_s`, sends its first request.

    Args:
        up: an idle line to the server.
        down: the one back.
        at_s: on their clock.
        tls: TLS 1.3, without a session to resume, which gRPC keeps none of.
    """
    opened = shake_hands(up, down, at_s)
    server_s = opened.server_s
    if tls:
        heard_s = up.release_s(opened.client_s, _HELLO_UP)
        server_s = up.release_s(down.release_s(heard_s, _HELLO_DOWN), _FINISHED_UP)
    return down.release_s(server_s, _SETTINGS_DOWN)
