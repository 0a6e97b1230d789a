"""A TCP proxy that puts a profile between a device and a cloud; knows no gRPC, no trace.

Delayed: every chunk of bytes, every half-close and every reset, each way, by the same
delay line as in virtual time; and TCP's handshake. The kernel completes that on this machine
before the proxy hears of it, so what either end says sooner than it could have is taken as said
then (`opening`). An upstream that refuses resets the device at once.

Each connection has a line of its own: a device keeps one gRPC connection, and the
profile's bandwidth is that of one device. What a profile does by the clock begins with the proxy,
and is the same for all. A chunk is what one read gives (at most
256 KiB), and it leaves whole.

Where the process runs out of descriptors, new connections wait or are reset, which is said once;
those that there are go on.
"""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import os
import random
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import msgspec

from escalade.edge.base import atomic_write
from escalade.edge.errors import DataError
from escalade.simulator.errors import ProxyError
from escalade.simulator.network.clock import Clock, LiveClock
from escalade.simulator.network.connection import End, Lane, carry
from escalade.simulator.network.delay_line import DelayLine, Direction
from escalade.simulator.network.opening import shake_hands
from escalade.simulator.network.profiles import Profile
from escalade.simulator.network.stages import Conditions
from escalade.v1.address import Address, parse_address

_STATS_EVERY_S = 0.2

# As asyncio has it, of which it accepts again after a second.
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


@dataclasses.dataclass(frozen=True)
class Counters:
    """What went through so far."""

    #: Connections accepted from devices.
    connections: int = 0
    #: TCP payload delivered to the cloud: gRPC and HTTP/2 framing in, TCP and IP out.
    bytes_up: int = 0
    #: TCP payload delivered to the devices.
    bytes_down: int = 0


class Proxy:
    """The proxy, as an async context manager: listens from entry to exit.

    Leaving resets every open connection, as when a network goes away.
    """

    def __init__(
        self,
        profile: Profile,
        listen: Address,
        upstream: Address,
        *,
        seed: int = 0,
        clock: Clock | None = None,
        on_trouble: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Take the addresses; nothing is opened before the proxy is entered.

        Args:
            profile: the network.
            listen: port 0 takes a free one.
            upstream: where the cloud listens.
            seed: of jitter and loss.
            clock: the machine's, if None.
            on_trouble: told in one line, once, that descriptors have run out.
        """
        self._profile = profile
        self._on_trouble: Callable[[str], None] | None = on_trouble
        self._listen = listen
        self._upstream = upstream
        self._seed = seed
        self._clock = LiveClock() if clock is None else clock
        self._begins_s = self._clock.now() if profile.period_s else 0.0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._counters = Counters()

    @property
    def counters(self) -> Counters:
        """A snapshot."""
        return self._counters

    @property
    def address(self) -> Address:
        """Where it really listens, once entered: the port that 0 stood for."""
        if self._server is None:
            return self._listen
        host, port = self._server.sockets[0].getsockname()[:2]
        return Address(host, port)

    async def __aenter__(self) -> Proxy:
        """Start to listen.

        Raises:
            ProxyError: the address is in use or not of this machine.
        """
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_loop_error)
        try:
            self._server = await loop.create_server(self._accept, *self._listen)
        except OSError as error:
            # asyncio says the address once more, before a colon and the reason.
            reason = str(error.strerror).rpartition(": ")[2]
            raise ProxyError(f"cannot listen on {self._listen}: {reason}") from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop to listen, reset every connection, wait until all are gone."""
        if self._server is not None:
            self._server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            await self._server.wait_closed()
            self._server = None
        asyncio.get_running_loop().set_exception_handler(None)

    def _accept(self) -> End:
        self._add(connections=1)
        shared = Conditions(self._profile, self._rng("both"), begins_s=self._begins_s)
        lines = self._line("up", shared), self._line("down", shared)
        opened = shake_hands(*lines, self._clock.now())
        up = Lane(lines[0], self._clock, lambda nbytes: self._add(bytes_up=nbytes), opened.client_s)
        down = Lane(
            lines[1], self._clock, lambda nbytes: self._add(bytes_down=nbytes), opened.server_s
        )

        def on_open(device: End) -> None:
            task = asyncio.get_running_loop().create_task(self._serve(device, up, down))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return End(up, on_open)

    async def _serve(self, device: End, up: Lane, down: Lane) -> None:
        loop = asyncio.get_running_loop()
        try:
            _, cloud = await loop.create_connection(lambda: End(down), *self._upstream)
        except OSError as error:
            # The device sees what it would see of a cloud that is down: a closed connection.
            self._note_exhausted(error)
        else:
            await carry(device, cloud, up, down)
        finally:
            device.reset()
            await device.lost.wait()

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        """What asyncio cannot raise anywhere: it accepts again after a second."""
        error = context.get("exception")
        if not (isinstance(error, OSError) and self._note_exhausted(error)):
            loop.default_exception_handler(context)

    def _note_exhausted(self, error: OSError) -> bool:
        """Whether a resource of this machine has run out; the first time it is said."""
        if error.errno not in _EXHAUSTED:
            return False
        if self._on_trouble is not None:
            self._on_trouble(
                f"proxy: no new connections for now: {os.strerror(error.errno)}"
                f" ({len(self._tasks)} are open; `ulimit -n` sets how many files may be)"
            )
            self._on_trouble = None
        return True

    def _line(self, direction: Direction, shared: Conditions) -> DelayLine:
        return DelayLine(self._profile, direction, self._rng(direction), shared)

    def _rng(self, whose: str) -> random.Random:
        # Keyed, so that what one connection draws does not depend on the others.
        key = f"{self._seed}/{self._counters.connections}/{whose}"
        return random.Random(key)  # noqa: S311 - a simulation, no secret

    def _add(self, *, connections: int = 0, bytes_up: int = 0, bytes_down: int = 0) -> None:
        now = self._counters
        self._counters = Counters(
            now.connections + connections, now.bytes_up + bytes_up, now.bytes_down + bytes_down
        )


def run_proxy(
    profile: Profile,
    listen: str,
    upstream: str,
    *,
    seed: int,
    on_ready: Callable[[str, int], None],
    on_trouble: Callable[[str], None] = lambda line: None,
    stats_path: Path | None = None,
) -> None:
    """Run a proxy until SIGTERM or SIGINT; for the main thread.

    Args:
        profile: the network.
        listen: `HOST:PORT` or `:PORT` (loopback); port 0 takes a free one.
        upstream: where the cloud listens.
        seed: of jitter and loss.
        on_ready: called with the real host and port once it listens.
        on_trouble: told in one line, once, what goes wrong while it goes on.
        stats_path: kept up to date with the counters as one JSON object, renamed whole:
            at the start, at most every 0.2 s on a change, and at the end. Between start and end
            one that cannot be written is left out.

    Raises:
        ProxyError: an address is bad, or the port is in use.
        DataError: the stats cannot be written.
    """
    proxy = Proxy(
        profile,
        _address("listen", listen, 0),
        _address("upstream", upstream, 1),
        seed=seed,
        on_trouble=on_trouble,
    )
    asyncio.run(_run(proxy, on_ready, stats_path))


def _address(which: str, text: str, least_port: int) -> Address:
    try:
        return parse_address(text, least_port=least_port, default_host="127.0.0.1")
    except ValueError as error:
        raise ProxyError(f"{which} address {error}") from error


async def _run(proxy: Proxy, on_ready: Callable[[str, int], None], stats_path: Path | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with proxy:
        written = await _write_stats(stats_path, proxy.counters)
        on_ready(*proxy.address)
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _STATS_EVERY_S if stats_path else None)
            if proxy.counters != written:
                # Without descriptors there is no file either; the traffic goes on.
                with suppress(DataError):
                    written = await _write_stats(stats_path, proxy.counters)
    if proxy.counters != written:
        await _write_stats(stats_path, proxy.counters)


async def _write_stats(path: Path | None, counters: Counters) -> Counters:
    if path is not None:
        # In a thread: a slow disk must not hold up the traffic.
        await asyncio.to_thread(_write_json, path, counters)
    return counters


def _write_json(path: Path, counters: Counters) -> None:
    with atomic_write(path) as stream:
        stream.write(msgspec.json.encode(counters) + b"\n")
