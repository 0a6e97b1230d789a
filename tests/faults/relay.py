"""A stretch of network that can be made to fail, on real sockets; knows no gRPC."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress

# With SO_LINGER of no seconds a close is a reset.
_RESET = struct.pack("ii", 1, 0)
_CHUNK = 1 << 16


class Relay:
    """Carries connections to an upstream, from a thread of its own.

    Args:
        port: of the upstream, on 127.0.0.1.
    """

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._loop = asyncio.new_event_loop()
        self._open: set[_Carried] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._run, args=(listener,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End every connection."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def reset(self) -> None:
        """Reset every open connection, at both ends."""
        self._soon(lambda one: one.reset())

    def forget(self) -> None:
        """Carry nothing more over the open connections; tell nobody."""
        self._soon(lambda one: one.forget())

    def corrupt(self) -> None:
        """Turn a bit of what each open connection carries next."""
        self._soon(lambda one: one.corrupt())

    def stall(self) -> None:
        """Carry nothing until `resume`, over new connections either; nothing is lost."""
        self._loop.call_soon_threadsafe(self._flows.clear)

    def resume(self) -> None:
        """End a stall."""
        self._loop.call_soon_threadsafe(self._flows.set)

    def _soon(self, act: Callable[[_Carried], None]) -> None:
        self._loop.call_soon_threadsafe(lambda: [act(one) for one in list(self._open)])

    def _run(self, listener: socket.socket) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(asyncio.start_server(self._carry, sock=listener))
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        listener.close()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far = await asyncio.open_connection("127.0.0.1", self._upstream)
        except OSError:
            writer.close()
            return
        carried = _Carried(self._flows, (reader, writer), far)
        self._open.add(carried)
        try:
            await carried.run()
        finally:
            self._open.discard(carried)


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Carried:
    """One connection."""

    def __init__(self, flows: asyncio.Event, near: Ends, far: Ends) -> None:
        self._flows, self._near, self._far = flows, near, far
        self._forgotten = self._spoil = False

    async def run(self) -> None:
        """Carry until both ends have closed."""
        pumps = (
            self._pump(self._near[0], self._far[1]),
            self._pump(self._far[0], self._near[1]),
        )
        try:
            await asyncio.gather(*pumps)
        finally:
            for _, writer in (self._near, self._far):
                writer.close()

    def reset(self) -> None:
        for _, writer in (self._near, self._far):
            with suppress(OSError):
                writer.get_extra_info("socket").setsockopt(
                    socket.SOL_SOCKET, socket.SO_LINGER, _RESET
                )
            writer.transport.abort()

    def forget(self) -> None:
        self._forgotten = True

    def corrupt(self) -> None:
        self._spoil = True

    async def _pump(self, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(_CHUNK):
                await self._flows.wait()
                if self._spoil:
                    self._spoil = False
                    data = bytes((data[0] ^ 1,)) + data[1:]
                if not self._forgotten:
                    to.write(data)
                    await to.drain()
            if not self._forgotten and to.can_write_eof():
                to.write_eof()
