"""Measures the kernel's network and the live proxy at the same profiles; judges nothing.

Runs where the kernel has netem: in the machine that `uml.py` boots, or by hand. Writes JSON.
"""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from escalade.simulator.network import CLOUD, KernelNetwork, Profile, get_profile, profiles_with
from escalade.simulator.timing.echo import proxy_before
from escalade.v1.address import Address

HERE = Path(__file__).resolve().parent
BULK = [sys.executable, "-S", str(HERE / "bulk.py")]

#: Round trips and bandwidth; each is of the package.
STEADY = ("free", "coe-10ms", "coe-100ms", "coe-1s", "cable", "lte", "3g", "geo", "leo")
#: What varies, and what is lost: of networks.toml.
VARYING = ("wandering", "stepping", "leaving")
LOSING = ("lossy", "bursty")

_SMALL = 100
_CALLS, _CALLS_S = 100, 6.0
_VARYING_S = 12.0
#: So much of a second's bandwidth is sent in a run, after as much that warms TCP up.
_BULK_S = 1.5
_LOST_OF = 8_000_000

Ask = Callable[[int, int, int], list[float]]


class Found(msgspec.Struct, kw_only=True):
    """What one network did; seconds, Mb/s of payload."""

    driver: str
    profile: str
    connect_s: float
    calls_s: list[float] = []
    #: Beside the calls, when each began.
    at_s: list[float] = []
    up_mbps: float | None = None
    down_mbps: float | None = None
    #: Of the device's queue: packets taken in, bytes of them, packets dropped.
    packets: int = 0
    nbytes: int = 0
    dropped: int = 0


def main() -> None:
    """Measure, and write what was found into the file that is named."""
    known = profiles_with(HERE / "networks.toml")
    port = _free_port()
    with _running([*BULK, "serve", str(port)]):
        found: list[Found] = []
        for name in (*STEADY, *VARYING, *LOSING):
            profile = get_profile(name, known)
            found.append(by_kernel(profile, port))
            if name in STEADY:
                found.append(by_proxy(profile, port))
    Path(sys.argv[1]).write_bytes(msgspec.json.encode(found))


def by_kernel(profile: Profile, port: int) -> Found:
    """Over the kernel's network."""
    with KernelNetwork(profile, Address("127.0.0.1", port)) as network:
        client = network.start(
            [*BULK, "ask", CLOUD, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        found = _asked("kernel", profile, client)
        if profile.name in LOSING:
            shown = network.start(
                ["tc", "-s", "qdisc", "show", "dev", "device"], stdout=subprocess.PIPE
            )
            said = shown.communicate()[0].decode()
            counts = re.search(r"Sent (\d+) bytes (\d+) pkt \(dropped (\d+)", said)
            assert counts is not None, said
            found.nbytes, found.packets, found.dropped = map(int, counts.groups())
        _end(client)
    return found


def by_proxy(profile: Profile, port: int) -> Found:
    """Through the live proxy."""
    with proxy_before(port, profile) as at:
        client = subprocess.Popen(
            [*BULK, "ask", "127.0.0.1", str(at)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        found = _asked("proxy", profile, client)
        _end(client)
    return found


def _asked(driver: str, profile: Profile, client: subprocess.Popen[bytes]) -> Found:
    stdin, stdout = client.stdin, client.stdout
    assert stdin is not None
    assert stdout is not None

    def ask(up: int, down: int, count: int) -> list[float]:
        stdin.write(f"{up} {down} {count}\n".encode())
        stdin.flush()
        return list(map(float, json.loads(stdout.readline())))

    found = Found(driver=driver, profile=profile.name, connect_s=json.loads(stdout.readline())[0])
    if profile.name in LOSING:
        ask(_LOST_OF, _SMALL, 1)
    elif profile.name in VARYING:
        began_s = time.monotonic()
        while (at_s := time.monotonic() - began_s) < _VARYING_S:
            found.calls_s += ask(_SMALL, _SMALL, 1)
            found.at_s.append(at_s)
    else:
        fit = int(_CALLS_S / max(1e-3 * profile.rtt_ms, 1e-3))
        found.calls_s = ask(_SMALL, _SMALL, min(_CALLS, fit))
        rtt_s = min(found.calls_s)
        for way, mbps in (("up", profile.up_mbps), ("down", profile.down_mbps)):
            if mbps is not None:
                setattr(found, f"{way}_mbps", _bulk(ask, way, mbps, rtt_s))
    return found


def _bulk(ask: Ask, way: str, mbps: float, rtt_s: float) -> float:
    """Megabits of payload a second: of one message, but for its round trip."""
    nbytes = int(_BULK_S * mbps * 1e6 / 8)
    sizes = (nbytes, _SMALL) if way == "up" else (_SMALL, nbytes)
    ask(*sizes, 1)
    (took_s,) = ask(*sizes, 1)
    return nbytes * 8 / 1e6 / (took_s - rtt_s)


@contextmanager
def _running(command: Sequence[str]) -> Iterator[None]:
    """A program that prints a line once it is ready."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield
    finally:
        process.terminate()
        process.communicate()


def _end(client: subprocess.Popen[bytes]) -> None:
    client.communicate()  # its stdin closes


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


if __name__ == "__main__":
    main()
