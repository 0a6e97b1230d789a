"""Who a client is, and how long it may leave a stream unread; knows no request, no backend."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Protocol, TypeVar
from urllib.parse import unquote

import grpc
import grpc.aio

from escalade.cloud.backends import Claim
from escalade.cloud.errors import DeadlineError
from escalade.cloud.rpcs.status import Send

# One owner has at least so much of IPv6 (RFC 6177), and may write any address within it.
_IPV6_PREFIX = 64

# A Unix socket, which only `escalade.cloud.web` opens.
_OWN = "unix:"
#: In the metadata of a request that comes through the bridge: whose it is.
PEER_KEY = "escalade-web-peer"

#: Whose request this task answers, where something has made sure of it; else empty.
OWNER = ContextVar("OWNER", default="")

Req = TypeVar("Req")
Resp = TypeVar("Resp")


def claim_of(peer: str, size_bytes: int, *, batch: bool = False) -> Claim:
    """What a request of a client asks for; its owner is `OWNER`, or else the peer's host.

    Args:
        peer: as gRPC names it: `ipv4:10.0.0.7:50123`, `ipv6:[::1]:50123`, `unix:`.
        size_bytes: of the request.
        batch: whether it lets the same host's others go first.
    """
    return Claim(OWNER.get() or host_of(peer), peer, size_bytes, batch)


class Peer(Protocol):
    """What gRPC knows of a client."""

    def peer(self) -> str:
        """Its address, as gRPC writes it."""
        ...

    def invocation_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """Its metadata, in pairs."""
        ...


def peer_of(context: Peer) -> str:
    """Who has sent a request, as gRPC names it; of a browser's what the bridge says.

    The bridge comes by a socket of this process's own: nobody else can say so.
    """
    peer = context.peer()
    if peer.startswith(_OWN):
        for key, value in context.invocation_metadata() or ():
            if key == PEER_KEY and isinstance(value, str):
                return value
    return peer


@lru_cache(maxsize=1024)
def host_of(peer: str) -> str:
    """The machine of a peer, or as much of its address as one owner has."""
    kind, _, address = unquote(peer).partition(":")
    host = address.rpartition(":")[0]
    if kind != "ipv6":
        return host or kind
    try:
        literal = ipaddress.IPv6Address(host.strip("[]").partition("%")[0])
    except ValueError:
        return host
    if literal.ipv4_mapped is not None:
        return str(literal.ipv4_mapped)
    return str(ipaddress.IPv6Network((literal, _IPV6_PREFIX), strict=False))


@asynccontextmanager
async def writer(
    context: grpc.aio.ServicerContext[Req, Resp], unread_s: float
) -> AsyncIterator[Send[Resp]]:
    """Sends messages of a stream while the block runs; each returns when the transport has it.

    One timer looks after all messages: one for each is a third of what a message costs.

    Args:
        context: of the RPC.
        unread_s: seconds in which the client must make room for a message.

    Raises:
        DeadlineError: there was no room in time; it ends the block.
        CancelledError: the client has gone.
    """
    loop = asyncio.get_running_loop()
    since_s: float | None = None
    timer: asyncio.TimerHandle

    async def send(message: Resp) -> None:
        nonlocal since_s
        since_s = loop.time()
        try:
            await context.write(message)
        except grpc.aio.InternalError as error:
            # The client has gone, and word of it has not come through yet.
            raise asyncio.CancelledError from error
        finally:
            since_s = None

    def look() -> None:
        nonlocal timer
        now_s = loop.time()
        due_s = (now_s if since_s is None else since_s) + unread_s
        if now_s < due_s:
            timer = loop.call_at(due_s, look)
        else:
            limit.reschedule(now_s)

    timer = loop.call_later(unread_s, look)
    try:
        async with asyncio.timeout(None) as limit:
            yield send
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise DeadlineError(
            f"stream: not read for {unread_s:g} s, after which its place goes to another"
        ) from error
    finally:
        timer.cancel()
