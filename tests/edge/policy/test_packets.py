"""A capture of packets: a query that stays puts none on the wire, one that leaves does.

`test_policy.py` in the folder above has every way out against every rule, by a relay.
"""

from __future__ import annotations

import ctypes
import itertools
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from scripted import ScriptedCloud

from escalade.edge import Artifact, EdgeClient, OpenOptions
from escalade.edge.policy import Providers

# linux/if_ether.h, asm-generic/socket.h
_ETH_P_ALL, _ETH_P_IP, _ETHERNET_BYTES = 0x0003, 0x0800, 14
_SO_ATTACH_FILTER = 26

KEEPS = {
    "POLICY_NEVER": ('send = "never"', Providers()),
    "POLICY_CONSENT": ('send = "ask"', Providers(consent=lambda question: False)),
    "POLICY_LINK": ("unmetered_only = true", Providers(link=lambda: "metered")),
    "POLICY_BATTERY": ("min_battery = 0.5", Providers(battery=lambda: None)),
    "POLICY_PATTERN": ("stay_patterns = ['cascade']", Providers()),
    "POLICY_TASK": ("stay_tasks = ['g2p']", Providers()),
    "POLICY_BUDGET": ("daily = { calls = 0 }", Providers()),
    "POLICY_REDACTION": ("", Providers(redaction=lambda text: [(0, 10**6)])),
}


class Capture:
    """Every IPv4 packet from or to a port, on all links of this machine, since it began."""

    def __init__(self, every: socket.socket, port: int) -> None:
        self._every = every
        self._every.settimeout(10)
        # Bound, so that no other program's packets go there; nobody reads them.
        self._marked = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._marked.bind(("127.0.0.1", 0))
        self._mark_port = self._marked.getsockname()[1]
        self._marks = itertools.count()
        attach(every, port, self._mark_port)

    def close(self) -> None:
        self._marked.close()

    def sizes(self) -> list[int]:
        """Bytes of each packet up to now, on loopback going and coming; they are then forgotten."""
        mark = b"mark %d" % next(self._marks)
        self._marked.sendto(mark, ("127.0.0.1", self._mark_port))
        found = []
        while not (packet := self._every.recv(1 << 17)).endswith(mark):
            if b"mark " not in packet[-12:]:  # one of before, coming
                found.append(len(packet) - _ETHERNET_BYTES)
        return found


def attach(every: socket.socket, *ports: int) -> None:
    """Have the kernel pass on these ports alone, or others' traffic would fill the socket.

    Linux's Documentation/networking/filter.rst; codes of linux/bpf_common.h.
    """
    tests = [(load, port) for load in (14, 16) for port in ports]  # source, destination
    program = [
        (0x28, 0, 0, 12),  # A = the packet's kind
        (0x15, 0, 2 * len(tests) + 1, _ETH_P_IP),  # another: to the end
        (0xB1, 0, 0, _ETHERNET_BYTES),  # X = the IP header's length
    ]
    for number, (load, port) in enumerate(tests):
        program += [(0x48, 0, 0, load), (0x15, 2 * (len(tests) - number) - 1, 0, port)]
    program += [(0x06, 0, 0, 0), (0x06, 0, 0, 1 << 18)]  # drop, or keep
    code = b"".join(struct.pack("HBBI", *each) for each in program)
    held = ctypes.create_string_buffer(code)
    every.setsockopt(
        socket.SOL_SOCKET,
        _SO_ATTACH_FILTER,
        struct.pack("HP", len(program), ctypes.addressof(held)),
    )


@pytest.fixture
def capture(scripted_cloud: ScriptedCloud) -> Iterator[Capture]:
    try:
        every = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
    except (PermissionError, AttributeError) as error:
        pytest.skip(f"capturing packets takes Linux and CAP_NET_RAW: {error}")
    with every:
        one = Capture(every, int(scripted_cloud.address.rpartition(":")[2]))
        yield one
        one.close()


@contextmanager
def opened(
    folder: Path, small: Artifact, cloud: str, policy: str, by: Providers
) -> Iterator[EdgeClient]:
    path = folder / "cascade.toml"
    path.write_text(
        f'[policy]\nbudget_file = "budget.sqlite"\n{policy}\n'
        f'[[tiers]]\nmembers = ["{small.folder}"]\ngate = {{ threshold = -1.0 }}\n'
        f'[[tiers]]\naddress = "{cloud}"\ndeadline_s = 5\n'
    )
    with EdgeClient.open(path, OpenOptions(policy=by)) as client:
        yield client


@pytest.mark.parametrize("reason", KEEPS)
def test_what_stays_puts_no_packet_on_the_wire(
    reason: str, capture: Capture, artifact: Artifact, scripted_cloud: ScriptedCloud, tmp_path: Path
) -> None:
    cloud = scripted_cloud.address
    capture.sizes()  # the cloud's own beginning
    with opened(tmp_path, artifact, cloud, *KEEPS[reason]) as client:
        for _ in range(3):
            assert client.ask("g2p: cascade").blocked == reason
        run = client.stream("g2p: cascade")
        assert [delta.text for delta in run]
        assert run.answer is not None
        assert run.answer.blocked == reason
        assert capture.sizes() == []
    assert capture.sizes() == []
    with opened(tmp_path, artifact, cloud, "", Providers()) as client:
        assert client.ask("g2p: cascade").outcome == "deferred"
        sent = capture.sizes()
    assert len(sent) > 5
    assert sum(sent) > 500
