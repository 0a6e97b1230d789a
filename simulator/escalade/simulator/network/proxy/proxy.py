"""A TCP proxy that puts a profile between a device and a cloud; knows no gRPC, no trace.

Delayed: every chunk of bytes, every half-close and every reset, each way, by the same
delay line as in virtual time; and TCP's handshake. The kernel completes that on this machine
before the proxy hears of it, so what either end says sooner than it could have is taken as said
then (`opening`). An upstream that refuses resets the device at once.

Each connection has a line of its own: a device keeps one gRPC connection, and the
profile's bandwidth is that of one device. What a profile does by the clock begins with the proxy,
or when the profile is changed to, and is the same for all. A chunk is what one read gives (at most
256 KiB), and it leaves whole.

Where the process runs out of descriptors, new connections wait or are reset, which is said once;
those that there are go on.
"""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import os
import socket
from collections.abc import Callable, Coroutine
from types import TracebackType

from escalade.simulator.errors import ProxyError
from escalade.simulator.network.clock import Clock, LiveClock
from escalade.simulator.network.delay_lines import Laying, Lines, shake_hands
from escalade.simulator.network.profiles import Profile
from escalade.simulator.network.proxy.connection import End, Lane, carry
from escalade.v1.address import Address

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
        listening: socket.socket | None = None,
    ) -> None:
        """Take the addresses; nothing is opened before the proxy is entered.

        Args:
            profile: the network.
            listen: port 0 takes a free one.
            upstream: where the cloud listens.
            seed: of jitter and loss.
            clock: the machine's, if None.
            on_trouble: told in one line, once, that descriptors have run out.
            listening: a socket that listens already, elsewhere, in place of `listen`; the proxy
                closes it.
        """
        self._listening = listening
        self._on_trouble: Callable[[str], None] | None = on_trouble
        self._listen = listen
        self._upstream = upstream
        #: What waits for moments here; seconds.
        self.clock: Clock = LiveClock() if clock is None else clock
        self._laying = Laying(profile, seed, self.clock.now)
        self._paused = False
        #: Set while it is not.
        self._going = asyncio.Event()
        self._going.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        #: Of open connections, by their number.
        self._lanes: dict[int, tuple[Lane, Lane]] = {}
        #: Of those that came in a pause: their handshake waits for its end too.
        self._knocking: set[int] = set()
        self._counters = Counters()

    @property
    def counters(self) -> Counters:
        """A snapshot."""
        return self._counters

    @property
    def open(self) -> int:
        """How many connections there are now."""
        return len(self._lanes)

    @property
    def profile(self) -> Profile:
        """The network as it is now."""
        return self._laying.profile

    @property
    def paused(self) -> bool:
        """Whether nothing is let in."""
        return self._paused

    def change(self, profile: Profile) -> None:
        """Put another network in the path of what comes from now on, on all connections.

        What is in flight keeps its times, and nothing overtakes it.
        """
        self._laying.change(profile)
        for number, (up, down) in self._lanes.items():
            up.line, down.line = self._laying.lay(number, Lines(up.line, down.line))

    def pause(self) -> None:
        """An outage: what comes waits at the entrance until `resume`."""
        self._paused = True
        self._going.clear()
        for lanes in self._lanes.values():
            for lane in lanes:
                lane.pause()

    def resume(self) -> None:
        """End the outage: what waits comes in now."""
        self._paused = False
        self._going.set()
        for number, (up, down) in self._lanes.items():
            if number in self._knocking:
                self._shake_hands(up, down)
            up.resume()
            down.resume()
        self._knocking.clear()

    def reset(self) -> int:
        """Reset every open connection, both ends; what is in flight is lost. How many there were.

        New ones are accepted as before.
        """
        going = [task for task in self._tasks if not task.cancelling()]
        for task in going:
            task.cancel()
        return len(going)

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
            if self._listening is not None:
                self._server = await loop.create_server(self._accept, sock=self._listening)
            else:
                self._server = await loop.create_server(self._accept, *self._listen)
        except OSError as error:
            # asyncio says the address once more, before a colon and the reason.
            reason = str(error.strerror).rpartition(": ")[2]
            raise ProxyError(f"cannot listen on {self._listen}: {reason}") from error
        # Of a thousand that come at once the kernel keeps asyncio's 100, and the others try again
        # after a second. As its own backlog asyncio would try so often where no descriptor is left.
        for sock in self._server.sockets:
            with sock.dup() as same:
                same.listen(socket.SOMAXCONN)
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
        number = self._counters.connections
        lines = self._laying.lay(number)
        up = Lane(lines.up, self.clock, lambda nbytes: self._add(bytes_up=nbytes))
        down = Lane(lines.down, self.clock, lambda nbytes: self._add(bytes_down=nbytes))
        self._lanes[number] = up, down
        if self._paused:
            self._knocking.add(number)
            up.pause()
            down.pause()
        else:
            self._shake_hands(up, down)

        def on_open(device: End) -> None:
            def on_close(task: asyncio.Task[None]) -> None:
                self._tasks.discard(task)
                self._knocking.discard(number)
                del self._lanes[number]
                device.reset()  # a task that ends before its first step has not

            task = asyncio.get_running_loop().create_task(self._serve(device, up, down))
            self._tasks.add(task)
            task.add_done_callback(on_close)

        return End(up, on_open)

    def _shake_hands(self, up: Lane, down: Lane) -> None:
        up.opens_s, down.opens_s = shake_hands(up.line, down.line, self.clock.now())

    async def _serve(self, device: End, up: Lane, down: Lane) -> None:
        loop = asyncio.get_running_loop()
        try:
            # Nobody hears in an outage that somebody knocks.
            if self._paused and not await _unless_lost(device, self._going.wait()):
                return
            _, cloud = await loop.create_connection(lambda: End(down), *self._upstream)
        except OSError as error:
            # The device sees what it would see of a cloud that is down: a connection that is closed
            # in place of being opened, a round trip after it asked.
            if not self._note_exhausted(error):
                await _unless_lost(device, self.clock.wait_until(up.opens_s))
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

    def _add(self, *, connections: int = 0, bytes_up: int = 0, bytes_down: int = 0) -> None:
        now = self._counters
        self._counters = Counters(
            now.connections + connections, now.bytes_up + bytes_up, now.bytes_down + bytes_down
        )


async def _unless_lost(device: End, what: Coroutine[object, object, object]) -> bool:
    """Wait for something; False where the device goes first."""
    tasks = [asyncio.ensure_future(what), asyncio.ensure_future(device.lost.wait())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return not device.lost.is_set()
    finally:
        for task in tasks:
            task.cancel()
