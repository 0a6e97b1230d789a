"""What the demo counts while it measures live: bytes of a network, steps of its own."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from escalade.cli.demo.live import Live, _bytes
from escalade.cli.demo.processes import started
from escalade.edge.base import Record
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


@pytest.mark.slow
@pytest.mark.parametrize("side_by_side", [False, True])
def test_a_bar_of_its_steps_comes_to_its_end(
    shelf: Path, scripted_cloud: Any, tmp_path: Path, side_by_side: bool
) -> None:
    ticks: list[int] = []
    live = Live(
        device=shelf / "small",
        gateway=shelf / "small",
        server=scripted_cloud.address,
        out=tmp_path,
        tick=lambda: ticks.append(1),
    )
    records = [
        Record(id=str(k), task="g2p", prompt="g2p: cat", references=["large answer"])
        for k in range(3)
    ]
    rows = live.measure("coe-10ms", records, 10.0, side_by_side=side_by_side)
    assert [row.queries for row in rows] == [3, 3, 3]
    assert len(ticks) == Live.steps(3)
