"""One proxied connection: two sockets, a delay line each way; knows no server, no address.

Each `End` stamps what it receives and puts it on its `Lane`; the lane's pump gives each
chunk to the far end at its release time. The pump waits for moments, it never sleeps for
a delay: delays of chunks in flight overlap, as on a wire.

A reset overtakes what cannot be delivered, as on a wire, where the bytes for which a receiver has
no room are still the sender's and die with it.

While the network is paused what comes waits at the entrance, as in an outage of a profile's; what
is in flight goes through.
"""

from __future__ import annotations

import asyncio
import enum
import math
import select
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import cast

from escalade.simulator.network.clock import Clock
from escalade.simulator.network.delay_lines import DelayLine

#: Bytes in flight each way before the sender is held back, give or take one read: the
#: largest send buffer of Linux (tcp_wmem[2], 4 MiB), and so about the widest TCP window.
IN_FLIGHT_BYTES = 4 << 20

# asyncio does not look at a socket that it does not read, so that nobody hears of its reset.
_LOOK_EVERY_S = 2e-3

#: SO_LINGER on, 0 s: closing sends RST instead of FIN (man 7 socket).
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class _Mark(enum.Enum):
    """What travels on a lane besides bytes."""

    END = "the sender has closed its half"
    RESET = "the sender's socket is gone"


class Lane:
    """One direction: chunks in flight, in order, each with its release time."""

    def __init__(self, line: DelayLine, clock: Clock, count: Callable[[int], None]) -> None:
        self.source: End | None = None
        #: What came sooner was not sent before: TCP's handshake.
        self.opens_s = -math.inf
        self.ended = asyncio.Event()
        #: On which chunks travel from now on; those in flight keep their times.
        self.line = line
        self._clock = clock
        self._count = count
        self._paused = False
        self._entrance: list[bytes | _Mark] = []
        self._queue: deque[tuple[float, bytes | _Mark]] = deque()
        self._held_bytes = 0
        self._more = asyncio.Event()
        self._reset = asyncio.Event()
        self._reset_release_s = 0.0

    def push(self, item: bytes | _Mark) -> None:
        """Send what was received on its way; holds the source back when full."""
        self._held_bytes += _size(item)
        if self._paused:
            self._entrance.append(item)
        else:
            self._enter(item)
        full = self._held_bytes > IN_FLIGHT_BYTES
        if full and item is not _Mark.RESET and self.source is not None:
            self.source.hold_back()

    def pause(self) -> None:
        """Let nothing in from now on."""
        self._paused = True

    def resume(self) -> None:
        """Let in what waits, and what comes."""
        self._paused = False
        waiting, self._entrance = self._entrance, []
        for item in waiting:
            self._enter(item)

    def _enter(self, item: bytes | _Mark) -> None:
        sent_s = max(self.opens_s, self._clock.now())
        release_s = self.line.release_s(sent_s, _size(item))
        self._queue.append((release_s, item))
        self._more.set()
        if item is _Mark.RESET:
            self._reset_release_s = release_s
            self._reset.set()

    async def pump(self, sink: End) -> None:
        """Deliver to `sink` what is released; returns after a reset, else when cancelled."""
        while True:
            while not self._queue:
                self._more.clear()
                await self._more.wait()
            release_s, item = self._queue.popleft()
            await self._clock.wait_until(release_s)
            if item is _Mark.RESET:
                return
            if item is _Mark.END:
                sink.end()
                self.ended.set()
            elif await self._has_room(sink):
                self._deliver(item, sink)
            else:
                return

    async def _has_room(self, sink: End) -> bool:
        """Wait until the sink takes more; False where a reset of the source reaches it first."""
        if sink.writable.is_set():
            return True
        room = asyncio.create_task(sink.writable.wait())
        reset = asyncio.create_task(self._reset_arrives())
        try:
            await asyncio.wait({room, reset}, return_when=asyncio.FIRST_COMPLETED)
            return sink.writable.is_set()
        finally:
            room.cancel()
            reset.cancel()

    async def _reset_arrives(self) -> None:
        await self._reset.wait()
        await self._clock.wait_until(self._reset_release_s)

    def _deliver(self, chunk: bytes, sink: End) -> None:
        # What arrives at a socket that is gone is dropped, and the line drains.
        if not sink.transport.is_closing():
            sink.transport.write(chunk)
            self._count(len(chunk))
        self._held_bytes -= len(chunk)
        if self._held_bytes <= IN_FLIGHT_BYTES and self.source is not None:
            self.source.go_on()


class End(asyncio.Protocol):
    """One socket of a connection; asyncio has set TCP_NODELAY on it."""

    transport: asyncio.Transport

    def __init__(self, lane: Lane, on_open: Callable[[End], None] | None = None) -> None:
        lane.source = self
        self._lane = lane
        self._on_open = on_open
        self.writable = asyncio.Event()
        self.writable.set()
        self.lost = asyncio.Event()
        self._look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, tell who waits for it."""
        self.transport = cast(asyncio.Transport, transport)
        if self._on_open is not None:
            self._on_open(self)

    def data_received(self, data: bytes) -> None:
        """Put a chunk on the lane."""
        self._lane.push(data)

    def eof_received(self) -> bool:
        """Put the half-close on the lane; True keeps the other half open."""
        self._lane.push(_Mark.END)
        self._look_for_reset()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Put a reset on the lane, unless it was this side that closed."""
        self._stop_looking()
        if exc is not None:
            self._lane.push(_Mark.RESET)
        self.writable.set()
        self.lost.set()

    def pause_writing(self) -> None:
        """The socket's buffer is full."""
        self.writable.clear()

    def resume_writing(self) -> None:
        """The socket's buffer has room."""
        self.writable.set()

    def hold_back(self) -> None:
        """Read no more for now."""
        self.transport.pause_reading()
        self._look_for_reset()

    def go_on(self) -> None:
        """Read again."""
        self._stop_looking()
        self.transport.resume_reading()

    def _look_for_reset(self) -> None:
        """Whether the peer has reset a socket that is not read; again and again."""
        self._stop_looking()
        if self.transport.is_closing():
            return
        poll = select.poll()
        # Errors are told whatever is asked for.
        poll.register(self.transport.get_extra_info("socket"), 0)
        if any(what & select.POLLERR for _, what in poll.poll(0)):
            self._lane.push(_Mark.RESET)
        else:
            loop = asyncio.get_running_loop()
            self._look = loop.call_later(_LOOK_EVERY_S, self._look_for_reset)

    def _stop_looking(self) -> None:
        if self._look is not None:
            self._look.cancel()
            self._look = None

    def end(self) -> None:
        """Close this half, after what was written."""
        if not self.transport.is_closing():
            try:
                self.transport.write_eof()
            except OSError:  # the peer's reset came first
                self.reset()

    def reset(self) -> None:
        """Drop what was not yet sent and close with RST."""
        if not self.transport.is_closing():
            sock = self.transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()


def _size(item: bytes | _Mark) -> int:
    return len(item) if isinstance(item, bytes) else 0


async def carry(device: End, cloud: End, up: Lane, down: Lane) -> None:
    """Carry both ways until both halves are closed, or one end is reset (then both are).

    Cancelling resets both ends.
    """
    tasks = {
        asyncio.create_task(up.pump(cloud)),
        asyncio.create_task(down.pump(device)),
        asyncio.create_task(_closed(device, cloud, up, down)),
    }
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        # Both before the first wait, in which a proxy that ends may cancel once more.
        for end in (device, cloud):
            end.reset()
        for end in (device, cloud):
            await end.lost.wait()


async def _closed(device: End, cloud: End, up: Lane, down: Lane) -> None:
    """Return once both halves were closed and all bytes left the sockets' buffers."""
    await up.ended.wait()
    await down.ended.wait()
    for end in (device, cloud):
        end.transport.close()
    for end in (device, cloud):
        await end.lost.wait()
