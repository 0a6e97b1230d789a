"""Asks the echo for a program outside its network; a program itself, and reduces nothing.

    python -m escalade.simulator.timing.asking HOST PORT BYTES

For each line on stdin one call, and what it took, in seconds, in a line on stdout.
"""

from __future__ import annotations

import sys
import time

import grpc

from escalade.simulator.timing.echo import METHOD, channel_to


def main() -> None:
    """Ask until stdin closes."""
    host, port, nbytes = sys.argv[1:]
    payload = bytes(int(nbytes))
    with channel_to(f"{host}:{port}") as channel:
        ask: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        for _ in sys.stdin:
            began_s = time.perf_counter()
            ask(payload)
            sys.stdout.write(f"{time.perf_counter() - began_s!r}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
