"""What an operator may set of a server, and how gRPC is told; starts nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

from escalade.cloud.access import AccessOptions
from escalade.cloud.certificates import TlsFiles
from escalade.cloud.errors import StartError
from escalade.cloud.watching import WatchOptions
from escalade.cloud.web import WebOptions
from escalade.v1.channel import DIAL_WITHIN_S, server_options

_UNWATCHED = WatchOptions()

# Streams of one connection, by default without a bound: RFC 9113 asks for 100 at least, and a
# client should hear that the queue is full, not wait for a stream.
_LEAST_STREAMS, _STREAMS_FOR_A_PLACE = 100, 4

# The longest time that gRPC knows: it is for ever.
_MOST_MS = (1 << 31) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeOptions:
    """What an operator may set.

    Attributes:
        listen: `HOST:PORT`; port 0 takes a free one.
        tls: certificate and key, needed off loopback; and whose clients may connect.
        access: who may ask, and how much.
        queue_capacity: queries that may wait for their turn, at least 1; and as many streams
            of scores.
        answers_kept: answers remembered for repeated request ids, at least 1.
        grace_s: how long a drain waits for requests before it stops them, at least 0.
        unread_s: after how long a stream that its client does not read is ended, above 0. So much
            has a link of 70 kbit/s for the largest message, 256 KiB.
        idle_s: after how long a connection without requests is closed, above 0: each takes a
            descriptor and 14 KiB. Whoever comes back dials anew.
        watch: who is told of requests.
        web: a port for browsers beside; None opens none.
    """

    listen: str = "127.0.0.1:50051"
    tls: TlsFiles | None = None
    access: AccessOptions = field(default_factory=AccessOptions)
    queue_capacity: int = 64
    answers_kept: int = 1024
    grace_s: float = 30.0
    unread_s: float = 30.0
    idle_s: float = 300.0
    watch: WatchOptions = _UNWATCHED
    web: WebOptions | None = None

    def __post_init__(self) -> None:
        for name, least in (("queue_capacity", 1), ("answers_kept", 1), ("grace_s", 0)):
            value = getattr(self, name)
            if not value >= least:
                raise StartError(f"{name}: must be at least {least}, got {value}")
        for name in ("unread_s", "idle_s"):
            value = getattr(self, name)
            if not value > 0:
                raise StartError(f"{name}: must be above 0, got {value}")


def channel_options(options: ServeOptions) -> list[tuple[str, int]]:
    """The options of a gRPC server."""
    streams = max(_LEAST_STREAMS, _STREAMS_FOR_A_PLACE * (options.queue_capacity + 1))
    return [
        # By default Linux lets a second server share the port in silence.
        ("grpc.so_reuseport", 0),
        ("grpc.max_concurrent_streams", streams),
        ("grpc.max_connection_idle_ms", round(min(options.idle_s * 1e3, _MOST_MS))),
        # Who dials and says nothing; by default two minutes.
        ("grpc.server_handshake_timeout_ms", round(min(options.idle_s, DIAL_WITHIN_S) * 1e3)),
        *server_options(),
    ]
