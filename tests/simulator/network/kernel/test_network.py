"""The kernel's network for real: as far as this machine's kernel goes, and refused beyond.

`make test-netns` measures it on a kernel that has all of it.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from escalade.simulator.errors import KernelError
from escalade.simulator.network import CLOUD, KernelNetwork, get_profile, probe_kernel
from escalade.simulator.network.kernel.namespaces import ADDRESSES, Namespaces
from escalade.v1.address import Address

ECHO = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 5) as there:
    there.sendall(b"question")
    there.shutdown(socket.SHUT_WR)
    print(there.makefile("rb").read().decode(), end="")
"""


@pytest.fixture
def lacking() -> dict[str, str]:
    return {part.name: part.lacking for part in probe_kernel()}


@pytest.fixture
def server() -> Iterator[Address]:
    """Says once more what it is told, in capitals; ends with the test."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            try:
                there, _ = listening.accept()
            except OSError:
                return
            with there:
                there.sendall(there.makefile("rb").read().upper())

        threading.Thread(target=serve, daemon=True).start()
        yield Address(*listening.getsockname()[:2])
        listening.shutdown(socket.SHUT_RDWR)


def test_two_namespaces_reach_each_other_and_nothing_else(lacking: dict[str, str]) -> None:
    if why := lacking["veth"]:
        pytest.skip(why)
    with Namespaces(4321) as made:
        listening = made.listening
        with listening:
            asking = [*made.entering("device"), sys.executable, "-c", ECHO, ADDRESSES["cloud"]]
            asked = subprocess.Popen([*asking, "4321"], stdout=subprocess.PIPE)
            listening.settimeout(10)
            there, address = listening.accept()
            assert address[0] == ADDRESSES["device"]
            with there:
                assert there.makefile("rb").read() == b"question"
                there.sendall(b"answer")
            assert asked.communicate(timeout=10)[0] == b"answer"
        routes = [*made.entering("device"), "ip", "route"]
        found = subprocess.run(routes, capture_output=True, text=True, check=True).stdout
        assert found.splitlines() == [
            "10.9.0.0/30 dev device proto kernel scope link src 10.9.0.1 "
        ]
    # The holders have gone, and their namespaces with them.
    assert subprocess.run([*asking, "4321"], capture_output=True, check=False).returncode


def test_ip_is_quoted_where_it_refuses(lacking: dict[str, str]) -> None:
    if why := lacking["veth"]:
        pytest.skip(why)
    with Namespaces(0) as made:
        made.listening.close()
        with pytest.raises(KernelError, match="ip refuses .*no-such-link"):
            made.tell("device", "ip", ["link set dev no-such-link up"])


def test_a_program_asks_the_server_over_the_network_or_is_told_what_is_missing(
    lacking: dict[str, str], server: Address
) -> None:
    network = KernelNetwork(get_profile("fios"), server)
    if missing := {name: why for name, why in lacking.items() if why}:
        name, why = next(iter(missing.items()))
        with pytest.raises(KernelError) as raised, network:
            pytest.fail("it has been made")
        assert str(raised.value).startswith("no network of the kernel's on this machine: ")
        assert name in str(raised.value)
        assert why in str(raised.value)
        return
    with network:
        command = [sys.executable, "-c", ECHO, CLOUD, str(server.port)]
        asked = network.start(command, stdout=subprocess.PIPE)
        assert asked.communicate(timeout=30)[0] == b"QUESTION"


def test_a_second_one_stands_beside_the_first(lacking: dict[str, str]) -> None:
    if why := lacking["veth"]:
        pytest.skip(why)
    with Namespaces(4321) as one, Namespaces(4321) as other, one.listening, other.listening:
        assert one.listening.getsockname() == other.listening.getsockname()
