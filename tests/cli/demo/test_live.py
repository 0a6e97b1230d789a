"""Bytes of a network between live processes, as the demo counts them."""

from __future__ import annotations

import socket
import threading

from escalade.cli.demo.live import _bytes
from escalade.cli.demo.processes import started
from escalade.simulator.network import ControlClient


def test_bytes_are_counted_the_moment_they_have_come() -> None:
    """A count that lags says less of whoever asks last."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def echo() -> None:
            connection, _ = listening.accept()
            with connection:
                while said := connection.recv(1 << 16):
                    connection.sendall(said)

        threading.Thread(target=echo, daemon=True).start()
        host, port = listening.getsockname()
        upstream = f"{host}:{port}"
        proxy = ("proxy", "--profile", "free", "--upstream", upstream, "--control", ":0")
        with started("the proxy", *proxy) as process:
            network = ControlClient(process.control)
            at, _, number = process.address.rpartition(":")
            with socket.create_connection((at, int(number))) as device:
                for asked in range(1, 51):
                    device.sendall(bytes(100))
                    heard = 0
                    while heard < 100:
                        heard += len(device.recv(1 << 16))
                    assert _bytes(network) == 200 * asked
