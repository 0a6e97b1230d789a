"""Holds a namespace of networks for a process outside, and hands it a socket that listens inside.

A program by itself, of the standard library alone:

    python holding.py DESCRIPTOR PORT    # of one end of a pair of Unix sockets

Sends the listening socket over the pair, and lives until the other end closes.
"""

import socket
import sys


def main() -> None:
    """Listen, hand over, wait."""
    descriptor, port = map(int, sys.argv[1:])
    with socket.socket(fileno=descriptor) as pair:
        # Any address: the link has none yet.
        with socket.create_server(("0.0.0.0", port)) as listening:  # noqa: S104
            socket.send_fds(pair, [b"."], [listening.fileno()])
        pair.recv(1)


if __name__ == "__main__":
    main()
