"""A server and a client of messages over plain TCP, each a program; knows no network but sockets.

    python bulk.py serve PORT          # on loopback, until it is ended
    python bulk.py ask HOST PORT       # a line `UP DOWN COUNT` on stdin: so many calls

A call sends UP bytes and reads DOWN. For each line the client prints a JSON list of what its calls
took, in seconds; the first one what connecting took.
"""

from __future__ import annotations

import json
import socket
import struct
import sys
import threading
import time
from contextlib import suppress

_HEAD = struct.Struct("!QQ")
_BLOCK = bytes(1 << 16)


def serve(port: int) -> None:
    """Answer whoever connects."""
    with socket.create_server(("127.0.0.1", port)) as listening:
        _say(None)
        while True:
            there, _ = listening.accept()
            threading.Thread(target=_answer, args=(there,), daemon=True).start()


def ask(host: str, port: int) -> None:
    """Call as lines on stdin say."""
    began_s = time.perf_counter()
    with socket.create_connection((host, port)) as there:
        there.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _say([time.perf_counter() - began_s])
        for line in sys.stdin:
            up, down, count = map(int, line.split())
            _say([_call(there, up, down) for _ in range(count)])


def _say(value: list[float] | None) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def _call(there: socket.socket, up: int, down: int) -> float:
    began_s = time.perf_counter()
    there.sendall(_HEAD.pack(up, down) + bytes(min(up, len(_BLOCK))))
    _send(there, up - min(up, len(_BLOCK)))
    _read(there, down)
    return time.perf_counter() - began_s


def _answer(there: socket.socket) -> None:
    there.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with there, suppress(ConnectionError):  # the relay resets what its client has left
        while head := there.recv(_HEAD.size, socket.MSG_WAITALL):
            up, down = _HEAD.unpack(head)
            _read(there, up)
            _send(there, down)


def _send(there: socket.socket, nbytes: int) -> None:
    while nbytes:
        nbytes -= there.send(_BLOCK[: min(nbytes, len(_BLOCK))])


def _read(there: socket.socket, nbytes: int) -> None:
    while nbytes:
        read = len(there.recv(min(nbytes, 1 << 20)))
        if not read:
            sys.exit("the connection was closed")
        nbytes -= read


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        ask(sys.argv[2], int(sys.argv[3]))
