"""A stretch of network that forgets its connections, on real sockets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from escalade.v1.address import parse_address


class Relay:
    """Carries bytes to an upstream; connections can be cut, spoilt, or die in silence.

    With `idle_s` each does that carries nothing for so long, as a middlebox makes them.
    """

    def __init__(self, upstream: str, idle_s: float | None = None) -> None:
        self._idle_s = idle_s
        self._upstream = parse_address(upstream)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._forgotten = threading.Event()
        self.dialled = 0
        #: Bytes that came from either side.
        self.carried = 0
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def forget(self) -> None:
        """From now on the open connections carry nothing, and nobody is told; new ones work."""
        self._forgotten.set()
        self._forgotten = threading.Event()

    def lead_to(self, upstream: str) -> None:
        """Carry new connections elsewhere."""
        self._upstream = parse_address(upstream)

    def cut(self) -> None:
        """End the open connections, as a middlebox does; new ones work."""
        cut, self._sockets = self._sockets, []
        for one in cut:
            with suppress(OSError):  # it has ended by itself
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def spoil(self) -> None:
        """Say to whoever has dialled what is no HTTP/2: a PING of 65544 bytes; new ones work."""
        for near in self._sockets[::2]:
            with suppress(OSError):  # it has ended by itself
                near.sendall(b"\x01\x00\x08\x06\x01\x00\x00\x00\x00")

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()  # or one that is being carried on to the upstream would stay open
        for one in [self._listener, *self._sockets]:
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(self._upstream)
                except OSError:
                    near.close()
                    raise
                self.dialled += 1
                self._sockets += [near, far]
                dead = self._forgotten if self._idle_s is None else threading.Event()
                # Either way: what goes up keeps the way down alive.
                last_s = [time.monotonic()]
                for pair in ((near, far), (far, near)):
                    threading.Thread(
                        target=self._carry, args=(*pair, dead, last_s), daemon=True
                    ).start()

    def _carry(
        self, source: socket.socket, to: socket.socket, dead: threading.Event, last_s: list[float]
    ) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self.carried += len(data)
                now_s = time.monotonic()
                if self._idle_s is not None and now_s - last_s[0] > self._idle_s:
                    dead.set()
                last_s[0] = now_s
                if not dead.is_set():
                    to.sendall(data)
            if not dead.is_set():
                to.shutdown(socket.SHUT_WR)


@contextmanager
def relay_to(upstream: str, idle_s: float | None = None) -> Iterator[Relay]:
    relay = Relay(upstream, idle_s)
    try:
        yield relay
    finally:
        relay.close()
